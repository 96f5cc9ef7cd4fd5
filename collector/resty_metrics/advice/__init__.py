"""Advice to an operator when something is wrong: one list, for the live page and for ``top``."""
