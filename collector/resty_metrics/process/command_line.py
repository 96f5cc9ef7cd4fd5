"""The command line as a person types it, for messages that say what to run."""

import shlex
from pathlib import Path

DEFAULT_SOCKET = "/run/resty-metrics/collector.sock"


def command(words: str, socket_path: Path | str) -> str:
    """Return ``resty-metrics WORDS`` with the flag that leads to the collector at ``socket_path``, if it needs one."""
    flag = "" if str(socket_path) == DEFAULT_SOCKET else f" --socket.path={shlex.quote(str(socket_path))}"
    return f"resty-metrics {words}{flag}"
