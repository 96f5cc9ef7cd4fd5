"""The socket: bound, kept ours, probed."""
