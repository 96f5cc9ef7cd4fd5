"""Label values as they may stand on the page: never empty, printable, of bounded length.

Rules:
- Empty becomes ``_``: a Prometheus label with an empty value is no label, and two rows would become one series.
- Control characters other than newline and tab (C0, DEL and C1) are written as the text ``\\xHH``; line and paragraph
  separators and lone surrogates as ``\\uHHHH``. Parsers reject NUL, UTF-8 has no lone surrogates, programs that read
  the page line by line break at some of the others, and people cannot read the rest.
- Longer than 256 bytes of UTF-8: cut at a character and marked with an ellipsis, 256 bytes in all.
- Cleaning twice changes nothing.
"""

MAX_LABEL_BYTES = 256
ABSENT = "_"
OTHER = "other"
_MARK = "…"
_CONTROLS = [code for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"]
_SEPARATORS = (0x2028, 0x2029)
_SURROGATES = range(0xD800, 0xE000)
_ESCAPES = {
    **{code: f"\\x{code:02x}" for code in _CONTROLS},
    **{code: f"\\u{code:04x}" for code in (*_SEPARATORS, *_SURROGATES)},
}


def printable(text: str) -> str:
    """Return the text with every character that the page may not hold written as an escape."""
    return text if text.isprintable() else text.translate(_ESCAPES)


def clean(value: str) -> str:
    """Make a label value fit for the page, wherever it comes from."""
    if not value:
        return ABSENT
    value = printable(value)
    if len(value) * 4 <= MAX_LABEL_BYTES:
        return value
    encoded = value.encode()
    if len(encoded) <= MAX_LABEL_BYTES:
        return value
    return encoded[: MAX_LABEL_BYTES - len(_MARK.encode())].decode(errors="ignore") + _MARK
