"""``resty-metrics install`` and ``uninstall``: our files and our line in nginx, tried, proven, or taken back.

From what was observed a plan is made (pure), which is shown; then it is applied, ``nginx -t`` is asked, nginx reloads,
one request is sent, and the page must have counted it. Whatever fails, every file is put back to the byte.
"""
