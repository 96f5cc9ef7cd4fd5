"""resty-metrics: the collector.

The tree is the data flow: ``ingest`` (datagrams to batches), ``table`` (all rows), ``sources`` (stub_status, vts),
``page`` (one exposition), ``web`` (HTTP). ``app`` wires them, ``cli`` starts them.
"""

__version__ = "0.1.0"
