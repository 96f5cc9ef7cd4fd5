"""HTTP: the page, health, and a landing page."""
