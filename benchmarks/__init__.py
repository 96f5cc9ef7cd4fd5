"""The benchmarks: the cost of requests, flushes, merges and pages, each beside a reference of the same run.

Run them with ``scripts/bench``.
"""
