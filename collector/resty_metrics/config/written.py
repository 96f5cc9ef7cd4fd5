"""What a configuration file says, as a layer."""

from typing import Any

from resty_metrics.config import model
from resty_metrics.config.settings import Layer
from resty_metrics.sources.source import Authorization, BasicAuth, Connection, Source, Tls

_SECTIONS = ("socket", "state", "web", "log")


def layer(configuration: model.Configuration) -> Layer:
    """Only what was given."""
    found: dict[str, Any] = {}
    for section in _SECTIONS:
        part = getattr(configuration, section)
        found.update({f"{section}_{key}": _value(getattr(part, key)) for key in part.model_fields_set})
    if "sources" in configuration.model_fields_set:
        found["sources"] = tuple(map(_source, configuration.sources))
    return found


def _value(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _source(one: model.SourceConfig) -> Source:
    tls, basic, bearer = one.tls_config, one.basic_auth, one.authorization
    connection = Connection(
        timeout=one.timeout,
        host=one.host,
        tls=Tls(tls.ca_file, tls.cert_file, tls.key_file, tls.server_name, tls.insecure_skip_verify),
        basic_auth=None if basic is None else BasicAuth(basic.username, basic.password_file),
        authorization=None if bearer is None else Authorization(bearer.credentials_file, bearer.type),
    )
    return Source(one.kind, one.name, *one.url, connection, one.derived)
