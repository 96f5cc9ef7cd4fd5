"""``resty-metrics doctor``: one command that checks everything from nginx to the page, and changes nothing.

``observe`` looks (files, /proc, sockets, HTTP). The room ``nginx_config`` reads configurations. The other modules judge
the facts, each by pure functions from facts to findings; ``examination`` puts them together, ``report`` prints.
``watch`` is ``doctor --watch``.
"""
