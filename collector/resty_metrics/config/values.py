"""The values of settings: the functions that read them from text, and show them as text."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

DEFAULT_STATE_DIR = "/var/lib/resty-metrics"
NO_STATE_DIR = "none"
NO_EXPIRY = "off"
DEFAULT_LISTEN = ":19145"
DEFAULT_TELEMETRY_PATH = "/metrics"
DEFAULT_MAX_CONNECTIONS, DEFAULT_MAX_REQUESTS = 512, 256  # the first is also Prometheus's default
MOST_LIMIT = 1_000_000
# sun_path has 108 bytes, one of them for the final NUL. The socket is bound under a temporary name with this suffix.
MAX_SOCKET_PATH = 107
TEMPORARY_SUFFIX = len(".") + len(".4194304")

LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("logfmt", "json")
LEAST_DURATION, MOST_DURATION = 0.01, 300.0
LEAST_EXPIRY, MOST_EXPIRY = 3600.0, 366 * 86_400.0

_DURATION = re.compile(r"(?P<number>[0-9]{1,6}(?:\.[0-9]{1,6})?)(?P<unit>ms|s|m|)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "": 1.0}
_EXPIRY = re.compile(r"(?P<number>[0-9]{1,9}(?:\.[0-9]{1,6})?)(?P<unit>[smhd])")
_EXPIRY_UNITS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_SWITCH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_NOT_IN_A_PATH = frozenset("?#{}")  # the end of a path in a URL; a pattern to aiohttp
_HOST_PORT = re.compile(r"(?P<host>\[[0-9a-fA-F:.%]+\]|[^:\[\]]*):(?P<port>[0-9]{1,5})")


_LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A TCP address to listen on. ``host`` None: every address of the machine. ``port`` 0: any free port."""

    host: str | None
    port: int

    @property
    def near_host(self) -> str:
        """The host at which a client on this machine reaches the listener."""
        return _LOOPBACK.get(self.host or "", self.host or "")

    @property
    def near(self) -> str:
        """The host and port at which a client on this machine reaches the listener, as in a URL."""
        return f"[{self.near_host}]:{self.port}" if ":" in self.near_host else f"{self.near_host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    path: Path


ListenAddress = TcpAddress | UnixAddress


def read_listen_address(text: str) -> ListenAddress:
    """Read ``:19145``, ``127.0.0.1:19145``, ``[::1]:19145`` or ``unix:/path``. Raises ValueError, with what to do."""
    if text.startswith("unix:"):
        path = Path(text.removeprefix("unix:"))
        if not path.is_absolute():
            raise ValueError(
                f"{text!r}: give the absolute path of the unix socket, as in unix:/run/resty-metrics/web.sock"
            )
        _check_length(text, path, MAX_SOCKET_PATH)
        return UnixAddress(path)
    match = _HOST_PORT.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise ValueError(f"{text!r}: give HOST:PORT, :PORT, [IPV6]:PORT or unix:/path")
    return TcpAddress(match["host"].strip("[]") or None, int(match["port"]))


def show_listen_address(address: ListenAddress) -> str:
    """Return the text that reads back as the address."""
    if isinstance(address, UnixAddress):
        return f"unix:{address.path}"
    host = address.host or ""
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"


def read_mode(text: str) -> int:
    """Read file mode bits from octal text. Raises ValueError."""
    if re.fullmatch(r"0?[0-7]{3}", text) is None:
        raise ValueError(f"{text!r}: give the mode in octal, as in 0666 or 0660")
    return int(text, 8)


def show_mode(mode: int) -> str:
    """Return octal text."""
    return f"{mode:04o}"


def read_socket_path(text: str) -> Path:
    """Return the socket's path, short enough to be bound. Raises ValueError."""
    path = Path(text.removeprefix("unix:"))
    if not path.is_absolute() or not path.name:
        raise ValueError(f"{text!r}: give the absolute path of a file")
    _check_length(text, path, MAX_SOCKET_PATH - TEMPORARY_SUFFIX)
    return path


def read_state_dir(text: str) -> Path | None:
    """Return the directory of the journal; None where the text is ``none``. Raises ValueError."""
    if text == NO_STATE_DIR:
        return None
    if not Path(text).is_absolute():
        raise ValueError(f"{text!r}: give an absolute path, or {NO_STATE_DIR} for no journal")
    return Path(text)


def show_state_dir(path: Path | None) -> str:
    """Return the path; ``none`` where nothing is kept."""
    return NO_STATE_DIR if path is None else str(path)


def _check_length(text: str, path: Path, most: int) -> None:
    size = len(str(path).encode(errors="surrogateescape"))
    if size > most:
        raise ValueError(f"{text!r} is too long for a unix socket: it has {size} bytes, and {most} are allowed")


def read_telemetry_path(text: str) -> str:
    """Return the path of the page. Raises ValueError."""
    if not text.startswith("/") or text == "/" or text.startswith("/-/"):
        raise ValueError(f"{text!r}: give a path such as /metrics; / and /-/ are reserved")
    if not _NOT_IN_A_PATH.isdisjoint(text):
        raise ValueError(f"{text!r}: give a path without the characters {' '.join(sorted(_NOT_IN_A_PATH))}")
    return text


def read_command(text: str) -> str:
    """Return a command with its arguments, which a shell can split. Raises ValueError."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None
    if not words:
        raise ValueError(f"{text!r}: give a command with its arguments, as in 'nginx -c /etc/nginx/nginx.conf'")
    return text


def read_duration(text: str) -> float:
    """Read seconds from ``5``, ``5s``, ``500ms`` or ``1m``; from 10 ms to 5 minutes. Raises ValueError."""
    match = _DURATION.fullmatch(text)
    seconds = 0.0 if match is None else float(match["number"]) * _UNITS[match["unit"]]
    if not LEAST_DURATION <= seconds <= MOST_DURATION:
        raise ValueError(f"{text!r}: give a time between 10ms and 5m, as in 5s or 500ms")
    return seconds


def show_duration(seconds: float) -> str:
    """Return ``5s``."""
    return f"{seconds:g}s"


def read_expiry(text: str) -> float | None:
    """Read seconds from ``90m``, ``6h`` or ``30d``; None where the text is ``off``. Raises ValueError."""
    if text == NO_EXPIRY:
        return None
    match = _EXPIRY.fullmatch(text)
    seconds = 0.0 if match is None else float(match["number"]) * _EXPIRY_UNITS[match["unit"]]
    if not LEAST_EXPIRY <= seconds <= MOST_EXPIRY:
        raise ValueError(f"{text!r}: give a time between 1h and 366d, as in 6h or 30d, or {NO_EXPIRY} to keep all rows")
    return seconds


def show_expiry(seconds: float | None) -> str:
    """Return ``6h``; ``off`` where nothing expires."""
    if seconds is None:
        return NO_EXPIRY
    unit = next(unit for unit, length in _EXPIRY_UNITS.items() if seconds % length == 0 or unit == "s")
    return f"{seconds / _EXPIRY_UNITS[unit]:.10g}{unit}"


def read_limit(text: str) -> int:
    """Read how many there may be at once; 0: no limit. Raises ValueError."""
    if not text.isascii() or not text.isdigit() or len(text) > 7 or int(text) > MOST_LIMIT:
        raise ValueError(f"{text!r}: give a number up to {MOST_LIMIT}, or 0 for no limit")
    return int(text)


def read_switch(text: str) -> bool:
    """Read ``true`` or ``false``, and YAML's other words for them. Raises ValueError."""
    if text.lower() not in _SWITCH:
        raise ValueError(f"{text!r}: give true or false")
    return _SWITCH[text.lower()]


def read_file_path(text: str) -> Path:
    """Return the path of a file, absolute or not. Raises ValueError."""
    if not text or "\0" in text or text.endswith("/"):
        raise ValueError(f"{text!r}: give the path of a file")
    return Path(text)


def read_word(text: str, words: tuple[str, ...]) -> str:
    """Return one of ``words``. Raises ValueError."""
    if text not in words:
        raise ValueError(f"{text!r}: give one of {', '.join(words)}")
    return text
