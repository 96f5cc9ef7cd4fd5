"""Sources that are fetched at scrape time: stub_status and vts."""
