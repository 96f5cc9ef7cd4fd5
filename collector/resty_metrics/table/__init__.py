"""The table: all rows of all families, the running totals of every batch."""
