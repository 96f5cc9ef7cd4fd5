"""What is fetched at scrape time: stub_status and vts."""
