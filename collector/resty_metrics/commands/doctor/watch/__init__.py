"""``doctor --watch``: the culprit that is gone before anyone can look, named while it acts."""

from resty_metrics.commands.doctor.watch.session import run

__all__ = ["run"]
