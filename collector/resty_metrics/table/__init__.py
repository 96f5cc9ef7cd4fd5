"""All rows of all families: what the batches add up to."""
