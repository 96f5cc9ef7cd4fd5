"""The address of a source and the way to reach it, as values.

Rules:
- A password or a token is never a value here, only the file that holds it.
- An error about a URL does not quote the URL: a password may be in it.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

Kind = Literal["stub_status", "vts"]
KINDS: tuple[Kind, ...] = get_args(Kind)
DEFAULT_TIMEOUT = 5.0

# Sections of the file, and the fields of a connection that they are.
_SECTIONS = {"tls_config": "tls", "basic_auth": "basic_auth", "authorization": "authorization"}
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_NAMED = re.compile(rf"(?P<name>{_NAME.pattern})=(?P<url>(?:https?://|unix:).*)", re.DOTALL | re.IGNORECASE)
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")
_HOST_HEADER = re.compile(rf"(?:{_HOST.pattern})(?::[0-9]{{1,5}})?")
_MAX_HOST = 253  # RFC 1035
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_USERINFO = (
    "give the URL without user and password: they belong in basic_auth, the password in a file (an @ of a path is %40)"
)


@dataclass(frozen=True, slots=True)
class Tls:
    """Settings of an HTTPS connection that differ from the defaults, such as another certificate authority.

    ``server_name`` replaces the URL's host, in the handshake and in the certificate.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str | None = None
    insecure_skip_verify: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        """Return all files that these settings name."""
        return tuple(path for path in (self.ca_file, self.cert_file, self.key_file) if path is not None)


@dataclass(frozen=True, slots=True)
class BasicAuth:
    username: str
    password_file: Path


@dataclass(frozen=True, slots=True)
class Authorization:
    """The header ``Authorization: TYPE CREDENTIALS``."""

    credentials_file: Path
    type: str = "Bearer"


@dataclass(frozen=True, slots=True)
class Connection:
    """The settings of a connection. ``timeout``: seconds; ``host``: the Host header, None for the URL's host."""

    timeout: float = DEFAULT_TIMEOUT
    host: str | None = None
    tls: Tls = Tls()
    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Return all files that this connection names."""
        secrets = [] if self.basic_auth is None else [self.basic_auth.password_file]
        secrets += [] if self.authorization is None else [self.authorization.credentials_file]
        return (*self.tls.files, *secrets)


@dataclass(frozen=True, slots=True)
class Source:
    """The place of a document. ``name`` becomes the label ``nginx``; ``unix_path`` is the socket of a ``unix:`` URL.

    ``derived``: whether to show the series of vts that can be computed from others.
    """

    kind: Kind
    name: str | None
    url: str
    unix_path: str | None
    connection: Connection = Connection()
    derived: bool = True

    @property
    def labels(self) -> dict[str, str]:
        """Return the labels that every sample of this source carries."""
        return {} if self.name is None else {"nginx": self.name}

    @property
    def address(self) -> str:
        """Return the URL as it was given."""
        if self.unix_path is None:
            return self.url
        return f"unix:{self.unix_path}:{self.url.removeprefix('http://localhost')}"


def build(values: Mapping[str, Any]) -> Source:
    """Build a source from the values of its keys in the file: those that were given."""
    url, unix_path = values["url"]
    derived = values.get("derived", True)
    return Source(values["kind"], values.get("name"), url, unix_path, build_connection(values), derived)


def build_connection(values: Mapping[str, Any]) -> Connection:
    """Build a connection from such values, as of ``timeout`` and ``tls_config.ca_file``."""
    basic_auth, authorization = _below("basic_auth", values), _below("authorization", values)
    return Connection(
        **{field.name: values[field.name] for field in fields(Connection) if field.name in values},
        tls=Tls(**_below("tls_config", values)),
        basic_auth=BasicAuth(**basic_auth) if basic_auth else None,
        authorization=Authorization(**authorization) if authorization else None,
    )


def _below(section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    before = f"{section}."
    return {key.removeprefix(before): value for key, value in values.items() if key.startswith(before)}


def parts(source: Source) -> dict[str, Any]:
    """Return the values by key that ``build`` would take, the URL as text; None for what is not set."""
    connection = source.connection
    values: dict[str, Any] = {"kind": source.kind, "name": source.name, "url": source.address}
    values["derived"] = source.derived if source.kind == "vts" else None
    values |= {
        field.name: getattr(connection, field.name)
        for field in fields(connection)
        if field.name not in _SECTIONS.values()
    }
    for section, name in _SECTIONS.items():
        part = getattr(connection, name)
        if part is not None:
            values |= {f"{section}.{field.name}": getattr(part, field.name) for field in fields(part)}
    return values


def parse_source(text: str, kind: Kind) -> Source:
    """Read ``[NAME=]URL``, with http, https or ``unix:/path.sock:/uri``. Raises ValueError, which says what to do."""
    match = _NAMED.fullmatch(text)
    name, address = (match["name"], match["url"]) if match else (None, text)
    url, unix_path = read_url(address)
    return Source(kind, name, url, unix_path)


def read_url(text: str) -> tuple[str, str | None]:
    """Return the URL and the path of its unix socket, if any. Raises ValueError, which does not quote ``text``."""
    if text.startswith("unix:"):
        path, _, uri = text.removeprefix("unix:").partition(":")
        if not path.startswith("/") or not uri.startswith("/") or _CONTROL.search(uri):
            raise ValueError("give a unix socket as unix:/path/to.sock:/uri")
        return f"http://localhost{uri}", path
    if "@" in text.partition("//")[2].partition("?")[0].partition("#")[0]:
        raise ValueError(_USERINFO)
    from yarl import URL  # a command line without a URL needs none of it

    try:
        url = URL(text)
        host = (url.host and url.raw_host) or ""  # url.host decodes the name, and refuses it
    except ValueError:
        url, host = URL(), ""
    if url.scheme not in ("http", "https") or not _is_encodable(host) or _CONTROL.search(text):
        raise ValueError(
            "give http://HOST[:PORT]/PATH, https:// or unix:/path/to.sock:/uri; a NAME= before it may name it"
        )
    return text, None


def read_name(text: str) -> str:
    """Return the name of an nginx. Raises ValueError."""
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r}: give a name of letters, digits, '_', '.' and '-'")
    return text


def read_host(text: str) -> str:
    """Return a Host header. Raises ValueError."""
    if not _HOST_HEADER.fullmatch(text):
        raise ValueError(f"{text!r}: give HOST or HOST:PORT")
    return text


def read_server_name(text: str) -> str:
    """Return a name, or an address, that a certificate is made out to. Raises ValueError."""
    known = _is_address(text) if ":" in text else _HOST.fullmatch(text) and _is_encodable(text)
    if not known:
        raise ValueError(f"{text!r}: give the name in the certificate, without a port")
    return text


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_encodable(name: str) -> bool:
    """Tell whether the resolver and TLS would take it; they raise UnicodeError at every fetch."""
    try:
        return 0 < len(name.encode("idna")) <= _MAX_HOST
    except UnicodeError:
        return False


def read_username(text: str) -> str:
    """Return a user of basic authentication. Raises ValueError, which does not quote it: it may be user:password."""
    if not text or ":" in text or _CONTROL.search(text):
        raise ValueError("give a user name without colon and blanks; put the password into password_file")
    return text


def read_scheme(text: str) -> str:
    """Return the type of an Authorization header. Raises ValueError."""
    if text.lower() == "basic":
        raise ValueError("use basic_auth (username, password_file) for Basic")
    if not _NAME.fullmatch(text):
        raise ValueError("give one word, as in Bearer")
    return text
