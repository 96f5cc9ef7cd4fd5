"""What doctor was told, and what it takes from a running collector for what it was not told."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from collector.doctor import flags
from collector.ingest.credentials import read_uid
from collector.settings import ListenAddress, read_listen_address, read_socket_path, read_state_dir, read_telemetry_path
from collector.sources.fetch import Source, parse_source


@dataclass(frozen=True, slots=True)
class Settings:
    """The flags of ``doctor``, checked. ``given``: the names of those that were not left to their defaults."""

    socket_path: Path
    socket_allow_uid: tuple[int, ...]
    state_dir: Path | None
    source_stub_status: tuple[Source, ...]
    source_vts: tuple[Source, ...]
    web_listen_address: ListenAddress
    web_telemetry_path: str
    nginx_command: str | None
    given: frozenset[str]

    @property
    def sources(self) -> list[Source]:
        return [*self.source_stub_status, *self.source_vts]


def _value(flag: str, values: tuple[str, ...]) -> Any:
    match flag:
        case "--socket.path":
            return read_socket_path(values[-1])
        case "--socket.allow-uid":
            return tuple(map(read_uid, values))
        case "--source.stub-status":
            return tuple(parse_source(text, "stub_status") for text in values)
        case "--source.vts":
            return tuple(parse_source(text, "vts") for text in values)
        case "--web.listen-address":
            return read_listen_address(values[-1])
        case "--web.telemetry-path":
            return read_telemetry_path(values[-1])
        case "--state.dir":
            return read_state_dir(values[-1])
    raise ValueError(flag)


def merged(settings: Settings, found: Mapping[str, tuple[str, ...]]) -> tuple[Settings, dict[str, tuple[str, ...]]]:
    """The settings with what a running collector was given, and what of that was taken, by flag.

    A value that cannot be read here (a user that only the collector's container knows) is left out.
    """
    taken: dict[str, tuple[str, ...]] = {}
    values: dict[str, Any] = {}
    for flag, text in found.items():
        if flags.name(flag) in settings.given:
            continue
        try:
            values[flags.name(flag)] = _value(flag, text)
        except ValueError:
            continue
        taken[flag] = text
    return replace(settings, **values), taken
