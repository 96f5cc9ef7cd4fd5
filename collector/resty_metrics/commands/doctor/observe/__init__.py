"""The observations of doctor: files, processes, sockets, HTTP, ``nginx -T``. Nothing here writes, or waits for long."""
