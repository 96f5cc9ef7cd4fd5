"""Messages of our module in nginx's error logs while a proof is under way."""

import re
from collections.abc import Iterable
from pathlib import Path

from resty_metrics.commands.install.nginx import Nginx
from resty_metrics.nginx_config import command, hooks

MOST_BYTES = 1024 * 1024
MOST_LINES = 3
_NO_FILE = ("stderr", "syslog:", "memory:")


class ErrorLogs:
    """All of a configuration, read from where they ended when this was made."""

    def __init__(self, nginx: Nginx) -> None:
        paths = (Path(nginx.configured.prefix) / name for name in dict.fromkeys(_names(nginx)))
        self._ends = {path: path.stat().st_size for path in paths if path.is_file()}

    def complaints(self) -> list[str]:
        """Return the last lines in which our module reports an error."""
        lines = [f"{path}: {line}" for path, end in self._ends.items() for line in _lines(path, end) if _is_ours(line)]
        return lines[-MOST_LINES:]


def _names(nginx: Nginx) -> Iterable[str]:
    for directive in hooks.directives(nginx.configuration.directives):
        if directive.name == "error_log" and directive.args and not directive.args[0].startswith(_NO_FILE):
            yield directive.args[0]
    built = re.search(r"--error-log-path=(\S+)", nginx.configured.build)
    yield command.value_of(nginx.command.words, "-e") or ("logs/error.log" if built is None else built[1])


def _lines(path: Path, start: int) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(MOST_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:  # rotated in the meantime
        return []


def _is_ours(line: str) -> bool:
    return "resty-metrics" in line and "[error]" in line
