"""``resty-metrics doctor``: the whole line from nginx to the page, explained by one command that changes nothing.

``observe`` looks (files, /proc, sockets, HTTP), ``nginx`` reads configurations, the other modules judge what was seen,
each a pure function from facts to findings; ``examination`` puts them together, ``report`` prints; ``watch``
is ``doctor --watch``.
"""
