"""The intake of datagrams: reading the socket, the senders' marks, heartbeats, and the answers to the workers."""
