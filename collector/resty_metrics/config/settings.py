"""The settings of the collector: the checked values of flags, environment and file together.

A layer holds the values of one of these by setting, and only those that were given.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resty_metrics.config import values
from resty_metrics.config.values import ListenAddress
from resty_metrics.process.command_line import DEFAULT_SOCKET
from resty_metrics.sources.source import Source

Layer = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings. ``state_dir`` None: nothing is kept. ``rows_expire``: seconds; None: no row expires.

    ``web_config_file``: a file in the format of exporter-toolkit; None: plain HTTP.
    """

    socket_path: Path = Path(DEFAULT_SOCKET)
    socket_mode: int = 0o666
    socket_allow_uid: tuple[int, ...] = ()
    state_dir: Path | None = Path(values.DEFAULT_STATE_DIR)
    rows_expire: float | None = None
    sources: tuple[Source, ...] = ()
    web_listen_address: tuple[ListenAddress, ...] = (values.read_listen_address(values.DEFAULT_LISTEN),)
    web_telemetry_path: str = values.DEFAULT_TELEMETRY_PATH
    web_config_file: Path | None = None
    log_level: str = "info"
    log_format: str = "logfmt"
    web_enable_lifecycle: bool = False
    web_max_connections: int = values.DEFAULT_MAX_CONNECTIONS
    web_max_requests: int = values.DEFAULT_MAX_REQUESTS


def merged(*layers: Layer) -> Settings:
    """Return the settings: each value whole, even a list, from the first layer that has it; else the default."""
    return Settings(**over(*layers))


def over(*layers: Layer) -> dict[str, Any]:
    """Return the layers as one: each value from the first layer that has it."""
    return {name: value for layer in reversed(layers) for name, value in layer.items()}
