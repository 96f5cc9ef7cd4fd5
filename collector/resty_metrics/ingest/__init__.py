"""From datagrams to batches: the wire, the senders' marks, and the socket they come through."""
