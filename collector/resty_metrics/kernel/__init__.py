"""Facts that Linux tells about sockets and processes: which process is behind a file, a datagram or an inode."""
