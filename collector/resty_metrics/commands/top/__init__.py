"""``resty-metrics top``: the page of a collector as an operator reads it in a terminal, again and again.

``page`` reads a page, ``change`` says what grew between two, ``meter`` keeps the last seconds of that; ``tables`` and
``health`` make of it rows and words, ``screen`` and ``once`` lines and JSON, ``keys`` what was typed into a state.
``looking`` (HTTP), ``terminal`` and ``session`` are the shell around them.
"""
