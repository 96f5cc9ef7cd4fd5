"""A page and the way to reach it: its address, TLS and credentials."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yarl import URL

from resty_metrics.config.values import DEFAULT_TELEMETRY_PATH, ListenAddress, UnixAddress
from resty_metrics.sources.source import Connection, build_connection, read_url

# How a page that is guarded is asked: values by the key of a source, as in tls_config.ca_file; None: not given.
Access = Mapping[str, Any]
SECRETS = ("basic_auth.password_file", "authorization.credentials_file")
BUILD_INFO = "resty_metrics_build_info"  # on each page of ours
NOT_OURS = "is not a page of resty-metrics"
_OPEN = Connection()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A page.

    ``shown``: as an operator would write it; ``unix_path``: the socket, None: it is reached by TCP.
    ``socket_path``: that of a collector on this machine; None: the page was given by its URL.
    """

    url: str
    unix_path: str | None
    shown: str
    connection: Connection
    socket_path: str | None = None


def read_page_url(text: str) -> Endpoint:
    """Read ``http://HOST:PORT/metrics``, https, ``unix:/path`` or ``unix:/path:/metrics``. The path has a default.

    Raises ValueError, which says what to do.
    """
    if text.startswith("unix:") and ":" not in text.removeprefix("unix:"):
        text = f"{text}:{DEFAULT_TELEMETRY_PATH}"
    try:
        url, unix_path = read_url(text)
    except ValueError as error:
        raise ValueError(str(error).replace("; a NAME= before it may name it", "")) from None
    if unix_path is not None:
        return Endpoint(url, unix_path, text, _OPEN)
    if URL(url).path in ("", "/") and "?" not in url:
        url = str(URL(url).with_path(DEFAULT_TELEMETRY_PATH))
    return Endpoint(url, None, url, _OPEN)


def listening(address: ListenAddress, path: str, tls: bool) -> Endpoint:
    """Return the page of a collector on this machine.

    ``tls``: it is served by HTTPS, which a Unix socket does not support.
    """
    scheme = "https" if tls else "http"
    if isinstance(address, UnixAddress):
        return Endpoint(f"http://localhost{path}", str(address.path), f"unix:{address.path}:{path}", _OPEN)
    url = f"{scheme}://{address.near}{path}"
    return Endpoint(url, None, url, _OPEN)


def connection(url: str, access: Access) -> Connection:
    """Return how the page is asked. Raises ValueError where what was given does not fit together."""
    present = {key for key, value in access.items() if value}
    if not url.lower().startswith("https:") and any(key.startswith("tls_config.") for key in present):
        raise ValueError("--tls.* requires a --url that begins with https://")
    if len(present & {"tls_config.cert_file", "tls_config.key_file"}) == 1:
        raise ValueError("give --tls.cert-file and --tls.key-file together")
    if len(present & {"basic_auth.username", "basic_auth.password_file"}) == 1:
        raise ValueError("give --basic-auth.username and --basic-auth.password-file together")
    if {"basic_auth.username", "authorization.credentials_file"} <= present:
        raise ValueError("give --bearer-token-file or --basic-auth.username, not both")
    return build_connection({key: access[key] for key in present})
