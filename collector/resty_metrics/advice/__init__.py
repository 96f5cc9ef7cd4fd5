"""What an operator is told where something is wrong: one list, for the live page and for ``top``."""
