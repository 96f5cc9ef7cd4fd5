"""The settings, each declared once. Flags, variables, the file's keys, check-config, reload and doctor use this list.

Rules:
- To add a setting, add an entry here, its reader in values.py, and a field of ``Settings``.
- Rules between settings are elsewhere: those of flags in flags.py, those of the file in read.py.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

from resty_metrics.config import values
from resty_metrics.config.declaration import Listed, Setting, Type
from resty_metrics.process.command_line import DEFAULT_SOCKET
from resty_metrics.sources import source


def _words(*words: str) -> Type:
    return Type(words, partial(values.read_word, words=words))


_DOCTOR = ("doctor",)
_LOOKING = ("doctor", "install", "top")
_FILE, _UID = Type("path", "file"), Type("uid", "uid")
_SOCKET, _MODE = Type("path", values.read_socket_path), Type("mode", values.read_mode, values.show_mode)
_STATE_DIR = Type("path", "state_dir", values.show_state_dir)
_ADDRESS = Type("address", values.read_listen_address, values.show_listen_address)
_TELEMETRY_PATH = Type("path", values.read_telemetry_path)
_SWITCH, _LIMIT = Type("true|false", values.read_switch), Type("number", values.read_limit)
_DURATION = Type("duration", values.read_duration, values.show_duration)
_EXPIRY = Type("duration", values.read_expiry, values.show_expiry)


def _setting(key: str, form: Type, default: str | None, about: str, flag: str | None = None, **more: Any) -> Setting:
    """Declare a setting. ``flag``: only if it is not named like the key."""
    return Setting(key, flag or f"--{key.replace('_', '-')}", form, default, about, **more)


def _of_source(
    key: str, form: Type, default: str | None = None, about: str = "", flag: str | None = None, **more: Any
) -> Setting:
    """Declare a key of a source. ``flag``: below ``--source.``; None: there is none."""
    return Setting(key, flag and f"--source.{flag}", form, default, about, commands=_DOCTOR, **more)


_HELP = "YAML file with settings. Flags override variables, and variables override the file."
CONFIG_FILE = Setting("", "--config.file", _FILE, None, _HELP, commands=_LOOKING)
SETTINGS = (
    _setting(
        "socket.path",
        _SOCKET,
        DEFAULT_SOCKET,
        "Unix datagram socket on which nginx's workers send.",
        commands=_LOOKING,
    ),
    _setting("socket.mode", _MODE, "0666", "Mode of the socket, in octal."),
    _setting(
        "socket.allow_uid",
        _UID,
        None,
        "User (name or number) that may send, besides this one, root, nginx, www-data, nobody, openresty. Repeatable.",
        repeatable=True,
        reloadable=True,
        commands=_DOCTOR,
    ),
    _setting(
        "state.dir",
        _STATE_DIR,
        values.DEFAULT_STATE_DIR,
        "Directory of the journal, which keeps counters across restarts; none: counters begin at 0.",
        commands=_DOCTOR,
    ),
    _setting(
        "rows.expire",
        _EXPIRY,
        values.NO_EXPIRY,
        "Forget a row to which nothing was added for this long, at least 1h; off: keep every row.",
        reloadable=True,
    ),
    _setting(
        "web.listen_address",
        _ADDRESS,
        values.DEFAULT_LISTEN,
        "Address of the page: HOST:PORT, :PORT or unix:/path. Repeatable.",
        repeatable=True,
        commands=(*_LOOKING, "healthcheck"),
    ),
    _setting(
        "web.telemetry_path",
        _TELEMETRY_PATH,
        values.DEFAULT_TELEMETRY_PATH,
        "Path of the page for Prometheus.",
        commands=_LOOKING,
    ),
    _setting(
        "web.config_file",
        _FILE,
        None,
        "File with TLS and users of the page, in the format of Prometheus's exporters.",
        "--web.config.file",
        reloadable=True,
        commands=_LOOKING,
    ),
    _setting(
        "web.enable_lifecycle",
        _SWITCH,
        "false",
        "Allow POST /-/reload to reload the configuration. SIGHUP always does.",
    ),
    _setting(
        "web.max_connections",
        _LIMIT,
        str(values.DEFAULT_MAX_CONNECTIONS),
        "Highest number of open connections to the page; 0: no limit.",
        reloadable=True,
    ),
    _setting(
        "web.max_requests",
        _LIMIT,
        str(values.DEFAULT_MAX_REQUESTS),
        "Highest number of scrapes at the same time; 0: no limit.",
        reloadable=True,
    ),
    _setting("log.level", _words(*values.LOG_LEVELS), "info", "Lowest level to log.", reloadable=True),
    _setting("log.format", _words(*values.LOG_FORMATS), "logfmt", "Format of log lines.", reloadable=True),
)

# Flags of which each value is a source, with kind, name and URL.
SOURCE_FLAGS = (
    _of_source(
        "kind",
        Type("[name=]url", partial(source.parse_source, kind="stub_status")),
        None,
        "stub_status page to fetch: http://, https:// or unix:/path.sock:/uri. Repeatable.",
        "stub-status",
        repeatable=True,
    ),
    _of_source(
        "kind",
        Type("[name=]url", partial(source.parse_source, kind="vts")),
        None,
        "JSON page of the vts module to fetch. Repeatable.",
        "vts",
        repeatable=True,
    ),
)
# The keys of a source. A flag applies to all sources that are given by flags.
SOURCE = (
    _of_source("kind", _words(*source.KINDS), needed=True),
    _of_source("name", Type("name", source.read_name)),
    _of_source("url", Type("url", source.read_url), needed=True),
    _of_source(
        "timeout",
        _DURATION,
        "5s",
        "Longest time for a source. This and the following apply to sources given by flags.",
        "timeout",
    ),
    _of_source("host", Type("host", source.read_host), None, "Host header to send.", "host"),
    _of_source(
        "derived",
        _SWITCH,
        "true",
        "Show the series of vts that are sums or averages of others, such as its zone *.",
        "vts.derived",
    ),
    _of_source(
        "tls_config.ca_file",
        _FILE,
        None,
        "Certificate authorities (PEM) to use instead of the system's.",
        "tls.ca-file",
    ),
    _of_source("tls_config.cert_file", _FILE, None, "Client certificate (PEM).", "tls.cert-file"),
    _of_source("tls_config.key_file", _FILE, None, "Key of the client certificate (PEM).", "tls.key-file"),
    _of_source(
        "tls_config.server_name",
        Type("name", source.read_server_name),
        None,
        "Server name to expect in the certificate, instead of the URL's.",
        "tls.server-name",
    ),
    _of_source(
        "tls_config.insecure_skip_verify",
        _SWITCH,
        "false",
        "Accept any certificate. Insecure.",
        "tls.insecure-skip-verify",
    ),
    _of_source(
        "basic_auth.username",
        Type("name", source.read_username),
        None,
        "User name for basic authentication.",
        "basic-auth.username",
        needed=True,
    ),
    _of_source(
        "basic_auth.password_file",
        _FILE,
        None,
        "File with the password, read for each request.",
        "basic-auth.password-file",
        needed=True,
    ),
    _of_source("authorization.type", Type("word", source.read_scheme), "Bearer"),
    _of_source(
        "authorization.credentials_file",
        _FILE,
        None,
        "File with a bearer token, read for each request.",
        "bearer-token-file",
        needed=True,
    ),
)
LISTS = (Listed("sources", SOURCE_FLAGS, SOURCE, source.build, source.parts),)

_OF_LISTS = [setting for listed in LISTS for setting in (*listed.flags, *listed.settings)]
FLAGS = {setting.flag: setting for setting in (CONFIG_FILE, *SETTINGS, *_OF_LISTS) if setting.flag is not None}


def keys() -> Iterator[str]:
    """Yield every key of a value: ``socket.path``, ``sources[].url``."""
    yield from (setting.key for setting in SETTINGS)
    yield from (f"{listed.key}[].{setting.key}" for listed in LISTS for setting in listed.settings)


def flags_of(command: str) -> dict[str, Setting]:
    """Return the settings that a command has as flags, by flag."""
    return {flag: setting for flag, setting in FLAGS.items() if command in setting.commands}
