"""``resty-metrics cost``: what each label of a page costs in rows, series and bytes.

``reading`` turns a page into families of rows, ``counting`` merges rows as if they lacked a label, ``report`` writes
the result as a table or JSON. ``session`` fetches the page and prints; ``command`` is the command line.
"""
