"""nginx's configuration as nginx sees it: the dump of ``nginx -T``, parsed and judged."""
