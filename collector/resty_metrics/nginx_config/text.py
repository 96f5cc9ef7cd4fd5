"""The text of configuration files as crossplane takes it: any bytes, and only nginx's blanks are blanks. Pure.

nginx reads bytes, and takes blank, tab and line ends for blanks. Python's ``str.isspace``, by which crossplane cuts
words, knows more of them, in ASCII and beyond.
"""

_BASE = 0xDC00  # lone surrogates: those from 0xDC80 on are the bytes beyond ASCII
_NO_BLANKS = {code: _BASE + code for code in (0x0B, 0x0C, 0x1C, 0x1D, 0x1E, 0x1F)}
_BLANKS = {placed: code for code, placed in _NO_BLANKS.items()}


def narrow(text: str) -> str:
    """Return the text with a surrogate for each byte that Python might take for a blank, and nginx does not."""
    return text.encode("utf-8", "surrogateescape").decode("ascii", "surrogateescape").translate(_NO_BLANKS)


def wide(text: str) -> str:
    """Return what ``narrow`` was given."""
    return text.translate(_BLANKS).encode("ascii", "surrogateescape").decode("utf-8", "surrogateescape")
