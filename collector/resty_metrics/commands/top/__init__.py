"""``resty-metrics top``: the page of a collector, shown in a terminal and renewed every few seconds.

``page`` reads a page, ``change`` computes the growth between two, ``meter`` keeps the growth of the last seconds.
``tables`` and ``health`` turn that into rows and words, ``screen`` and ``once`` into lines and JSON; ``keys`` turns
typed keys into a state. ``looking`` (HTTP), ``terminal`` and ``session`` are the shell around them.
"""
