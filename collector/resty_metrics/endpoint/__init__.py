"""The socket: made, kept ours, probed."""
