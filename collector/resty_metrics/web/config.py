"""The web configuration file of Prometheus and its exporters, as values.

Source of the format: docs/web-configuration.md and web/tls_config.go of prometheus/exporter-toolkit.

Rules:
- The server gives all the protection that the file asks for, or the file is refused.
- An unknown key is an error. No error message contains a value, which may be a secret.
- Relative paths are relative to the file's own directory.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from resty_metrics.config.document import Document, name_of, parse
from resty_metrics.config.problem import ConfigError, Problem
from resty_metrics.config.read import single
from resty_metrics.config.values import read_switch
from resty_metrics.web.tls_names import CIPHERS, CURVES, TLS13_CIPHERS, VERSIONS

CLIENT_AUTH = {"NoClientCert": "none", "VerifyClientCertIfGiven": "optional", "RequireAndVerifyClientCert": "required"}
_UNVERIFIED = frozenset({"RequestClientCert", "RequireClientCert", "RequireAnyClientCert"})
HEADERS: dict[str, tuple[str, ...]] = {
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
    "Content-Security-Policy": (),
}
Key = tuple[str | int, ...]

_HASH = re.compile(r"\$2[abxy]?\$(?:0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")
_DURATION = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_MOST_BURST = 1_000_000


def _client_auth(text: str) -> str:
    if text in _UNVERIFIED:
        raise ValueError("give RequireAndVerifyClientCert: this server always verifies the client's certificate")
    if text not in CLIENT_AUTH:
        raise ValueError(f"give one of {', '.join(CLIENT_AUTH)}")
    return CLIENT_AUTH[text]


def _version(text: str) -> str:
    if text in ("TLS10", "TLS11"):
        raise ValueError("this server supports only TLS12 and TLS13")
    if text not in VERSIONS:
        raise ValueError(f"give one of {', '.join(VERSIONS)}")
    return text


def _cipher(text: str) -> str:
    if text not in CIPHERS and text not in TLS13_CIPHERS:
        raise ValueError("unknown cipher suite; give a name from Go's crypto/tls.CipherSuites")
    return text


def _curve(text: str) -> str:
    if text not in CURVES:
        raise ValueError(f"give one of {', '.join(CURVES)}")
    return text


def _hash(text: str) -> bytes:
    if not _HASH.fullmatch(text):
        raise ValueError("not a bcrypt hash; create one with htpasswd -nBC 10 USER")
    return text.encode()


def _interval(text: str) -> float:
    """Return the seconds of a Go duration, such as 1m30s; 0 needs no unit. Raises ValueError."""
    parts = list(_DURATION.finditer(text))
    if text != "0" and (not parts or "".join(part[0] for part in parts) != text):
        raise ValueError("give a duration, as in 1s or 500ms; 0: no limit")
    return sum(float(part["number"]) * _UNITS[part["unit"]] for part in parts)


def _burst(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 7 or int(text) > _MOST_BURST:
        raise ValueError(f"give a number up to {_MOST_BURST}")
    return int(text)


def _line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("give one line of text")
    return text


def _by_text(read: Callable[[str], Any]) -> PlainValidator:
    return PlainValidator(lambda value: read(single(value)))


Words = Annotated[str | None, _by_text(str)]
File = Annotated[Path | None, _by_text(Path)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TlsServer(_Section):
    """The section ``tls_server_config``. ``client_auth_type``: none, optional or required."""

    cert: Words = None
    key: Words = None
    client_ca: Words = None
    cert_file: File = None
    key_file: File = None
    client_auth_type: Annotated[str, _by_text(_client_auth)] = "none"
    client_ca_file: File = None
    client_allowed_sans: list[Annotated[str, _by_text(str)]] | None = None
    cipher_suites: list[Annotated[str, _by_text(_cipher)]] = []
    curve_preferences: Annotated[list[Annotated[str, _by_text(_curve)]], Field(max_length=1)] = []
    min_version: Annotated[str, _by_text(_version)] = "TLS12"
    max_version: Annotated[str, _by_text(_version)] = "TLS13"
    prefer_server_cipher_suites: Annotated[bool, _by_text(read_switch)] = True

    @property
    def files(self) -> list[Path]:
        return [path for path in (self.cert_file, self.key_file, self.client_ca_file) if path is not None]


class HttpServer(_Section):
    """The section ``http_server_config``. ``http2`` is accepted without effect: this server speaks HTTP/1.1."""

    http2: Annotated[bool, _by_text(read_switch)] = True
    headers: dict[str, Annotated[str, _by_text(_line)]] = {}


class RateLimit(_Section):
    """The section ``rate_limit``. ``interval``: seconds between two requests; 0: no limit."""

    interval: Annotated[float, _by_text(_interval)] = 0.0
    burst: Annotated[int, _by_text(_burst)] = 0


class WebConfig(_Section):
    """The whole file. ``tls_server_config`` None: plain HTTP; empty ``basic_auth_users``: no authentication."""

    tls_server_config: TlsServer | None = None
    http_server_config: HttpServer = HttpServer()
    basic_auth_users: dict[str, Annotated[bytes, _by_text(_hash)]] = {}
    rate_limit: RateLimit = RateLimit()


def read(text: str, path: Path) -> tuple[WebConfig, Document]:
    """Return the configuration in a file's text, and the document, which has the lines of its keys.

    Raises ConfigError with all problems.
    """
    document = parse(text)
    tree = _whole(document)
    config = WebConfig()
    if isinstance(tree, dict):
        try:
            config = WebConfig.model_validate(tree)
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
            document.problems += [
                Problem(document.line(detail["loc"]), name_of(detail["loc"]), _words(detail)) for detail in details
            ]
        else:
            document.problems += [
                Problem(document.line(key), name_of(key), words)
                for key, words in (*_wrong_headers(config.http_server_config), *_between(config))
            ]
    if document.problems:
        raise ConfigError(str(path), document.problems)
    return config, document


def _whole(document: Document) -> Any:
    """Return the document's tree; add a problem and return None if it is not a mapping.

    An empty section counts as absent. A user without a hash is a problem: else that user would silently be missing.
    """
    tree = document.tree
    if tree is not None and not isinstance(tree, dict):
        document.problems.append(Problem(1, "", f"give keys and values: {', '.join(WebConfig.model_fields)}"))
        return None
    users = {} if tree is None else tree.get("basic_auth_users", {})
    for key in document.lines:
        if isinstance(users, dict) and key[:1] == ("basic_auth_users",) and len(key) == 2 and key[1] not in users:
            document.problems.append(Problem(document.line(key), name_of(key), "give a bcrypt hash"))
    if tree is not None and not tree.get("tls_server_config", True):
        del tree["tls_server_config"]
    return {} if tree is None else tree


def _words(detail: Any) -> str:
    match detail["type"]:
        case "extra_forbidden":
            section = _section(detail["loc"])
            return f"unknown key. Known keys: {', '.join(section.model_fields)}"
        case "too_long":
            return "give one curve: this server does not support several"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "give keys and values"
        case "list_type":
            return "give a list"
        case "value_error":
            return str(detail["ctx"]["error"])
    return str(detail["msg"])


def _section(path: tuple[str | int, ...]) -> type[BaseModel]:
    sections: dict[object, type[BaseModel]] = {
        "tls_server_config": TlsServer, "http_server_config": HttpServer, "rate_limit": RateLimit
    }  # fmt: skip
    return sections[path[0]] if len(path) > 1 else WebConfig


def _wrong_headers(http: HttpServer) -> Iterator[tuple[Key, str]]:
    for name, text in http.headers.items():
        key = ("http_server_config", "headers", name)
        if name not in HEADERS:
            yield key, f"this header cannot be set; these can: {', '.join(HEADERS)}"
        elif HEADERS[name] and text not in HEADERS[name]:
            yield key, f"give {' or '.join(HEADERS[name])}"


def _between(config: WebConfig) -> Iterator[tuple[Key, str]]:
    """Yield the problems that lie between keys: the key to correct, and the words."""
    rate, tls = config.rate_limit, config.tls_server_config
    if rate.interval > 0 and rate.burst == 0:
        yield ("rate_limit", "burst"), "with 0 no request would ever be served; give 1 or more"
    if tls is None:
        return
    section = "tls_server_config"
    for inline, file in (("cert", "cert_file"), ("key", "key_file"), ("client_ca", "client_ca_file")):
        if getattr(tls, inline) is not None and getattr(tls, file) is not None:
            yield (section, inline), f"give {inline} or {file}, not both"
    for inline, file in (("cert", "cert_file"), ("key", "key_file")):
        if getattr(tls, inline) is None and getattr(tls, file) is None:
            yield (section,), f"requires {file} (or {inline})"
    if tls.client_auth_type == "none":
        for name in ("client_ca", "client_ca_file", "client_allowed_sans"):
            if getattr(tls, name) is not None:
                yield (section, name), "does nothing without client_auth_type: RequireAndVerifyClientCert"
    if tls.min_version > tls.max_version:
        yield (section, "min_version"), "above max_version"
    if tls.cipher_suites and tls.max_version == "TLS12" and not set(tls.cipher_suites) & set(CIPHERS):
        yield (section, "cipher_suites"), "none of them is for TLS12"
