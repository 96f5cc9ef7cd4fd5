"""The faults of a running collector."""
