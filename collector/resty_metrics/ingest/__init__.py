"""From datagrams to batches: the wire, the streams' marks, and the socket they come through."""
