"""The keys of the configuration file, and how the text of each is read.

The vocabulary is Prometheus's (``tls_config``, ``basic_auth``, ``authorization``) and exporter-toolkit's (``web``).
A key that is not given keeps its default; ``model_fields_set`` tells the two apart.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationInfo

from resty_metrics.config import values
from resty_metrics.config.text import by_text, one
from resty_metrics.config.values import ListenAddress
from resty_metrics.process.command_line import DEFAULT_SOCKET
from resty_metrics.sources import source
from resty_metrics.sources.source import Kind


@dataclass(frozen=True, slots=True)
class Readers:
    """What reads the text of a value that depends on the machine. Each raises ValueError, with what to do."""

    uid: Callable[[str], int]
    state_dir: Callable[[str], Path | None]
    file: Callable[[str], Path]


def _by(reader: str) -> PlainValidator:
    """A value that is read by one of the ``Readers``, which are the context of the validation."""

    def validate(value: object, info: ValidationInfo) -> Any:
        return getattr(info.context, reader)(one(value))

    return PlainValidator(validate)


_Several = BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
_File = Annotated[Path | None, _by("file")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Socket(_Section):
    path: Annotated[Path, by_text(values.read_socket_path)] = Path(DEFAULT_SOCKET)
    mode: Annotated[int, by_text(values.read_mode)] = 0o666
    allow_uid: Annotated[list[Annotated[int, _by("uid")]], _Several] = []


class State(_Section):
    dir: Annotated[Path | None, _by("state_dir")] = Path(values.DEFAULT_STATE_DIR)


class Web(_Section):
    listen_address: Annotated[
        list[Annotated[ListenAddress, by_text(values.read_listen_address)]], _Several, Field(min_length=1)
    ] = [values.read_listen_address(values.DEFAULT_LISTEN)]
    telemetry_path: Annotated[str, by_text(values.read_telemetry_path)] = values.DEFAULT_TELEMETRY_PATH
    config_file: _File = None
    enable_lifecycle: Annotated[bool, by_text(values.read_switch)] = False
    max_connections: Annotated[int, by_text(values.read_limit)] = values.DEFAULT_MAX_CONNECTIONS
    max_requests: Annotated[int, by_text(values.read_limit)] = values.DEFAULT_MAX_REQUESTS


class Log(_Section):
    level: Annotated[str, by_text(values.read_log_level)] = "info"
    format: Annotated[str, by_text(values.read_log_format)] = "logfmt"


class TlsConfig(_Section):
    ca_file: _File = None
    cert_file: _File = None
    key_file: _File = None
    server_name: Annotated[str | None, by_text(source.read_server_name)] = None
    insecure_skip_verify: Annotated[bool, by_text(values.read_switch)] = False


class BasicAuth(_Section):
    username: Annotated[str, by_text(source.read_username)]
    password_file: Annotated[Path, _by("file")]


class Authorization(_Section):
    type: Annotated[str, by_text(source.read_scheme)] = "Bearer"
    credentials_file: Annotated[Path, _by("file")]


class SourceConfig(_Section):
    kind: Annotated[Kind, by_text(source.read_kind)]
    name: Annotated[str | None, by_text(source.read_name)] = None
    url: Annotated[tuple[str, str | None], by_text(source.read_url)]
    timeout: Annotated[float, by_text(values.read_duration)] = source.DEFAULT_TIMEOUT
    host: Annotated[str | None, by_text(source.read_host)] = None
    derived: Annotated[bool, by_text(values.read_switch)] = True
    tls_config: TlsConfig = TlsConfig()
    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None


class Configuration(_Section):
    """The whole file."""

    socket: Socket = Socket()
    state: State = State()
    web: Web = Web()
    log: Log = Log()
    sources: list[SourceConfig] = []
