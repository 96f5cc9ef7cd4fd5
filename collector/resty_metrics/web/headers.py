"""The formats and encodings that a client accepts, with their weights (RFC 9110, section 12).

Rules:
- A weight of 0 means never. If nothing that we offer is left, the choice is None: status 406.
- An entry whose weight cannot be read counts as missing.
- The most specific entry decides: a media type with our version, then one without a version, then a wildcard. Of two
  that are equally specific, the lower weight holds.
- Without a preference a client gets plain text, uncompressed: a wildcard alone asks for nothing in particular.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Format = Literal["text", "openmetrics"]
Encoding = Literal["identity", "gzip"]

_WEIGHT = re.compile(r"0?\.[0-9]+|0\.?|1(\.0*)?")  # Telegraf leaves the first 0 out
_TEXT, _OPENMETRICS = "text/plain", "application/openmetrics-text"
_RANKS = {
    "text": ((_TEXT, "0.0.4"), (_TEXT, ""), ("text/*", ""), ("*/*", "")),
    "openmetrics": (
        *((_OPENMETRICS, version) for version in ("1.0.0", "", "0.0.1")),
        *(("application/*", ""), ("*/*", "")),
    ),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of Accept or Accept-Encoding: name and version in lower case."""

    name: str
    version: str
    weight: float


def read(header: str) -> Iterator[Entry]:
    """Yield a header's entries, without those whose weight cannot be read."""
    for text in header.split(","):
        name, *parameters = (part.strip().lower() for part in text.split(";"))
        version, weight = "", "1"
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "version":
                version = value.strip().strip('"')
            elif key.strip() == "q":
                weight = value.strip()
        if name and _WEIGHT.fullmatch(weight):
            yield Entry(name, version, float(weight))


def choose_format(accept: str) -> Format | None:
    """Return the format for an Accept header; None if the client accepts neither."""
    entries = list(read(accept))
    text, openmetrics = _weight(entries, "text"), _weight(entries, "openmetrics")
    named = any(entry.name == _OPENMETRICS for entry in entries)
    if openmetrics and (openmetrics > (text or 0) or (named and openmetrics == text)):
        return "openmetrics"
    return None if text == 0 else "text"


def _weight(entries: Sequence[Entry], kind: Format) -> float | None:
    """Return the weight of a format by the most specific entry; None if no entry covers it."""
    for rank in _RANKS[kind]:
        weights = [entry.weight for entry in entries if (entry.name, entry.version) == rank]
        if weights:
            return min(weights)
    return None


def choose_encoding(accept_encoding: str) -> Encoding | None:
    """Return the encoding for an Accept-Encoding header; None if the client accepts neither."""
    weights: dict[str, float] = {}
    for entry in read(accept_encoding):
        weights[entry.name] = min(entry.weight, weights.get(entry.name, 1.0))
    fallback = weights.get("*")
    identity = weights.get("identity", fallback)
    gzip = weights.get("gzip", fallback if identity == 0 else None)
    if gzip and gzip >= weights.get("identity", 0.0):
        return "gzip"
    return None if identity == 0 else "identity"
