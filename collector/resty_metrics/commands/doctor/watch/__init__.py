"""``doctor --watch``: names the process that touches the socket while it acts, since later it may have ended."""

from resty_metrics.commands.doctor.watch.session import run

__all__ = ["run"]
