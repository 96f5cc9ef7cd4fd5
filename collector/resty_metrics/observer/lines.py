"""The troubles as lines of text, for ``/-/ready`` and the service manager."""

from collections.abc import Iterable
from pathlib import Path

from resty_metrics.health.troubles import Trouble
from resty_metrics.process.command_line import command


def lines(troubles: Iterable[Trouble], socket_path: Path | str) -> list[str]:
    """Return a line for each trouble: title, evidence, remedy, and a command for the socket at this path."""
    return [f"degraded: {sentence(trouble, socket_path)}" for trouble in troubles]


def sentence(trouble: Trouble, socket_path: Path | str) -> str:
    """Return title, evidence, remedy, and a command for the socket at this path."""
    words = {"doctor": "doctor", "watch": "doctor --watch"}.get(trouble.kind.command or "")
    run = "" if words is None else f" Run: sudo {command(words, socket_path)}"
    title = trouble.title
    return f"{title[:1].lower()}{title[1:]}: {trouble.evidence}. {trouble.remedy}{run}"
