"""The files of the live page: its template, and what a browser loads.

Rule: the page loads only its own files, which FILES names. Its policy allows nothing else, and nothing inline.
"""

from collections.abc import Mapping
from pathlib import Path

TEMPLATE = "live.html"
RUNBOOK = "runbook.md"
FILES: Mapping[str, str] = {
    "live.css": "text/css",
    "live.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_DIRECTORY = Path(__file__).parent / "files"


def read_files() -> Mapping[str, bytes]:
    """Return the files that the page loads, by name. Raises OSError."""
    return {name: (_DIRECTORY / name).read_bytes() for name in FILES}


def read_runbook() -> str:
    """Return the text of the runbook, a link to docs/runbook.md in a checkout. Raises OSError."""
    return (_DIRECTORY / RUNBOOK).read_text(encoding="utf-8")


def read_template() -> str:
    """Return the text of the template. Raises OSError."""
    return (_DIRECTORY / TEMPLATE).read_text(encoding="utf-8")
