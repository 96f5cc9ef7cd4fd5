"""What the kernel knows of sockets and processes: who is behind a file, a datagram, an inode."""
