"""The process: its log, its locks, its signals, its streams, how it ends."""
