"""Settings of top: the interval and the view."""

from resty_metrics.commands.top.tables import COLUMNS
from resty_metrics.config.values import read_duration

LEAST_INTERVAL = 0.5


def read_interval(text: str) -> float:
    """Read a duration in seconds. Raises ValueError."""
    seconds = read_duration(text)
    if seconds < LEAST_INTERVAL:
        raise ValueError(f"{text!r}: give {LEAST_INTERVAL:g}s or more, since workers send once a second")
    return seconds


def check_sort(key: str | None, view: str) -> None:
    """Raise ValueError where the view has no such column."""
    keys = [column.key for column in COLUMNS[view]]
    if key is not None and key not in keys:
        raise ValueError(f"--sort={key}: unknown column. The columns of {view} are {', '.join(keys)}")
