"""The page of a collector, as the commands that read it reach it: ``top`` and ``cost``.

``endpoint`` describes a page and the way to it, ``choice`` chooses the one that a command line means, ``fetch`` gets
its text.
"""
