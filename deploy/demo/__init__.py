"""The demo behind scripts/run: its own nginx with the include, a site, a little traffic, the collector.

Rules:
- All files are in one temporary directory, which nginx's workers can read wherever the project is. It is removed at the
  end.
- --check compares the page with nginx's own access_log, which is the truth.
- Every process that the demo starts it ends by pid. The system's nginx and its ports are not touched.
"""
