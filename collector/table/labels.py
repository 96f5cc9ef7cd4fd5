"""Label values as they may stand on the page: never empty, printable, of bounded length.

Rules:
- Empty becomes ``_``: a Prometheus label with an empty value is no label, and two rows would become one series.
- Control characters other than newline and tab are written as the text ``\\xHH``: parsers reject NUL, and people
  cannot read the rest.
- Longer than 256 bytes of UTF-8: cut at a character and marked with an ellipsis, 256 bytes in all.
- Cleaning twice changes nothing.
"""

MAX_LABEL_BYTES = 256
ABSENT = "_"
OTHER = "other"
_MARK = "…"
_CONTROLS = {code: f"\\x{code:02x}" for code in range(0x20) if chr(code) not in "\n\t"}


def clean(value: str) -> str:
    """A label value from anywhere, made fit for the page."""
    if not value:
        return ABSENT
    if not value.isprintable():
        value = value.translate(_CONTROLS)
    if len(value) * 4 <= MAX_LABEL_BYTES:
        return value
    encoded = value.encode()
    if len(encoded) <= MAX_LABEL_BYTES:
        return value
    return encoded[: MAX_LABEL_BYTES - len(_MARK.encode())].decode(errors="ignore") + _MARK
