"""The page: what the table, the sources and the pipeline know, as one Prometheus exposition."""
