"""``resty-metrics install`` and ``uninstall``: our files and our lines in nginx, tested.

A plan is made from the facts (pure) and shown. Then it is applied, ``nginx -t`` tests it, nginx reloads, one request is
sent, and the page must have counted it. If any of this fails, every file is restored to the byte.
"""
