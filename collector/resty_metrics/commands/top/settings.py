"""What top was told: which page, how it is asked, what is shown."""

from dataclasses import dataclass
from pathlib import Path

from yarl import URL

from resty_metrics.commands.top.tables import COLUMNS
from resty_metrics.config.values import DEFAULT_TELEMETRY_PATH, ListenAddress, UnixAddress, read_duration
from resty_metrics.sources.source import Authorization, BasicAuth, Connection, Tls, read_url

LEAST_INTERVAL = 0.5
_OPEN = Connection()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A page. ``shown``: as an operator would write it; ``unix_path``: the socket, None: it is reached by TCP."""

    url: str
    unix_path: str | None
    shown: str
    connection: Connection


@dataclass(frozen=True, slots=True)
class Access:
    """How a page that is guarded is asked; None: that was not given."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str | None = None
    insecure_skip_verify: bool = False
    username: str | None = None
    password_file: Path | None = None
    bearer_token_file: Path | None = None

    @property
    def has_secret(self) -> bool:
        """Whether whoever is asked learns one."""
        return self.password_file is not None or self.bearer_token_file is not None


def read_page_url(text: str) -> Endpoint:
    """``http://HOST:PORT/metrics``, https, ``unix:/path`` or ``unix:/path:/metrics``; without a path the usual one.

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
    """The page of a collector on this machine. ``tls``: it is by https; on a unix socket that cannot be asked for."""
    scheme = "https" if tls else "http"
    if isinstance(address, UnixAddress):
        return Endpoint(f"http://localhost{path}", str(address.path), f"unix:{address.path}:{path}", _OPEN)
    url = f"{scheme}://{address.near}{path}"
    return Endpoint(url, None, url, _OPEN)


def read_interval(text: str) -> float:
    """Seconds. Raises ValueError."""
    seconds = read_duration(text)
    if seconds < LEAST_INTERVAL:
        raise ValueError(f"{text!r}: give {LEAST_INTERVAL:g}s or more, workers send once a second")
    return seconds


def connection(url: str, access: Access) -> Connection:
    """Raises ValueError where what was given does not fit together."""
    tls = Tls(
        ca_file=access.ca_file,
        cert_file=access.cert_file,
        key_file=access.key_file,
        server_name=access.server_name,
        insecure_skip_verify=access.insecure_skip_verify,
    )
    if tls != Tls() and not url.lower().startswith("https:"):
        raise ValueError("--tls.*: needs a --url that begins with https://")
    if (access.cert_file is None) != (access.key_file is None):
        raise ValueError("give --tls.cert-file and --tls.key-file together")
    if (access.username is None) != (access.password_file is None):
        raise ValueError("give --basic-auth.username and --basic-auth.password-file together")
    if access.username is not None and access.bearer_token_file is not None:
        raise ValueError("give --bearer-token-file or --basic-auth.username, not both")
    basic_auth = None
    if access.username is not None and access.password_file is not None:
        basic_auth = BasicAuth(access.username, access.password_file)
    token = None if access.bearer_token_file is None else Authorization(access.bearer_token_file)
    return Connection(tls=tls, basic_auth=basic_auth, authorization=token)


def check_sort(key: str | None, view: str) -> None:
    """Raises ValueError where the view has no such column."""
    keys = [one.key for one in COLUMNS[view]]
    if key is not None and key not in keys:
        raise ValueError(f"--sort={key}: {view} have {', '.join(keys)}")
