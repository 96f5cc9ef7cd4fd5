"""The exposition formats."""
