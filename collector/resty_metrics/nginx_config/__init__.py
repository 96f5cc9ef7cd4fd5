"""The configuration of nginx, as nginx -T shows it."""
