"""HTTP: the page, health, and the live page."""
