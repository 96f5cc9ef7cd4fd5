"""The wire: the bytes of datagrams, read and written (docs/wire.md)."""
