"""The demo behind scripts/run: an nginx of its own with the include, a site, a little traffic, the collector.

Rules:
- Everything lives in one temporary directory that nginx's workers can read, wherever the project lies, and is removed.
- nginx's own access_log is the truth that --check compares the page with.
- What is started here is ended here, by pid; the system's nginx and its ports are not touched.
"""
