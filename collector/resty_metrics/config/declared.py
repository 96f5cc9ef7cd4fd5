"""The settings, each declared once: flags, variables, the file's keys, check-config, reload and doctor follow.

Rules:
- The next setting is an entry here, with its reader in values.py, and a field of ``Settings``.
- Rules between settings are not here: those of flags are in flags.py, those of the file in read.py.
"""

from collections.abc import Iterator
from functools import partial

from resty_metrics.config import values
from resty_metrics.config.declaration import Listed, Setting
from resty_metrics.process.command_line import DEFAULT_SOCKET
from resty_metrics.sources import source

_DOCTOR = ("doctor",)
_LOOKING = ("doctor", "install", "top")

CONFIG_FILE = Setting(
    "",
    "--config.file",
    "file",
    "path",
    help="YAML file of all settings. A flag wins over its variable, that over the file, the file over defaults.",
    asked=_LOOKING,
)
SETTINGS = (
    Setting(
        "socket.path",
        "--socket.path",
        values.read_socket_path,
        "path",
        DEFAULT_SOCKET,
        "Unix datagram socket that nginx's workers send to.",
        asked=_LOOKING,
    ),
    Setting(
        "socket.mode",
        "--socket.mode",
        values.read_mode,
        "mode",
        "0666",
        "Mode of the socket, octal.",
        show=values.show_mode,
    ),
    Setting(
        "socket.allow_uid",
        "--socket.allow-uid",
        "uid",
        "uid",
        help="User (number, name) that may send beside root, our own, nginx, www-data, nobody, openresty. Repeatable.",
        repeatable=True,
        reloadable=True,
        asked=_DOCTOR,
    ),
    Setting(
        "state.dir",
        "--state.dir",
        "state_dir",
        "path",
        values.DEFAULT_STATE_DIR,
        "Directory of the journal, from which counters go on after a restart; none: they begin at 0.",
        asked=_DOCTOR,
        show=values.show_state_dir,
    ),
    Setting(
        "web.listen_address",
        "--web.listen-address",
        values.read_listen_address,
        "address",
        values.DEFAULT_LISTEN,
        "Where the page is served: HOST:PORT, :PORT or unix:/path. Repeatable.",
        repeatable=True,
        asked=(*_LOOKING, "healthcheck"),
        show=values.show_listen_address,
    ),
    Setting(
        "web.telemetry_path",
        "--web.telemetry-path",
        values.read_telemetry_path,
        "path",
        values.DEFAULT_TELEMETRY_PATH,
        "Path of the page.",
        asked=_LOOKING,
    ),
    Setting(
        "web.config_file",
        "--web.config.file",
        "file",
        "path",
        help="exporter-toolkit's web configuration: TLS and users of the page.",
        reloadable=True,
        asked=_LOOKING,
    ),
    Setting(
        "web.enable_lifecycle",
        "--web.enable-lifecycle",
        values.read_switch,
        "true|false",
        "false",
        "Let POST /-/reload read the configuration again, as SIGHUP always does.",
    ),
    Setting(
        "web.max_connections",
        "--web.max-connections",
        values.read_limit,
        "number",
        str(values.DEFAULT_MAX_CONNECTIONS),
        "Connections to the page at once; 0: no limit.",
        reloadable=True,
    ),
    Setting(
        "web.max_requests",
        "--web.max-requests",
        values.read_limit,
        "number",
        str(values.DEFAULT_MAX_REQUESTS),
        "Scrapes at once; 0: no limit.",
        reloadable=True,
    ),
    Setting(
        "log.level",
        "--log.level",
        values.read_log_level,
        values.LOG_LEVELS,
        "info",
        "Lowest level to log.",
        reloadable=True,
    ),
    Setting(
        "log.format",
        "--log.format",
        values.read_log_format,
        values.LOG_FORMATS,
        "logfmt",
        "Format of a log line.",
        reloadable=True,
    ),
)

_of_source = partial(Setting, asked=_DOCTOR)
# Flags of which each value is a source, with kind, name and URL.
SOURCE_FLAGS = (
    _of_source(
        "kind",
        "--source.stub-status",
        partial(source.parse_source, kind="stub_status"),
        "[name=]url",
        help="stub_status to fetch at each scrape: http, https or unix:/path.sock:/uri. Repeatable.",
        repeatable=True,
    ),
    _of_source(
        "kind",
        "--source.vts",
        partial(source.parse_source, kind="vts"),
        "[name=]url",
        help="JSON of the vts module to fetch at each scrape. Repeatable.",
        repeatable=True,
    ),
)
# The keys of a source. Each flag is for all sources that flags give.
SOURCE = (
    _of_source("kind", None, source.read_kind, source.KINDS, needed=True),
    _of_source("name", None, source.read_name, "name"),
    _of_source("url", None, source.read_url, "url", needed=True),
    _of_source(
        "timeout",
        "--source.timeout",
        values.read_duration,
        "duration",
        "5s",
        "Longest time for a source, if the scrape leaves it. This and the next are for sources given by flags.",
        show=values.show_duration,
    ),
    _of_source("host", "--source.host", source.read_host, "host", help="Host header for the sources."),
    _of_source(
        "derived",
        "--source.vts.derived",
        values.read_switch,
        "true|false",
        "true",
        "Whether vts's series that others add up to are shown: its zone * and averages.",
    ),
    _of_source(
        "tls_config.ca_file",
        "--source.tls.ca-file",
        "file",
        "path",
        help="Certificate authorities (PEM) instead of the system's.",
    ),
    _of_source("tls_config.cert_file", "--source.tls.cert-file", "file", "path", help="Client certificate (PEM)."),
    _of_source(
        "tls_config.key_file", "--source.tls.key-file", "file", "path", help="Key of the client certificate (PEM)."
    ),
    _of_source(
        "tls_config.server_name",
        "--source.tls.server-name",
        source.read_server_name,
        "name",
        help="Name to ask for, and to find in the certificate, instead of the URL's.",
    ),
    _of_source(
        "tls_config.insecure_skip_verify",
        "--source.tls.insecure-skip-verify",
        values.read_switch,
        "true|false",
        "false",
        "Accept any certificate.",
    ),
    _of_source(
        "basic_auth.username",
        "--source.basic-auth.username",
        source.read_username,
        "name",
        help="User for basic authentication.",
        needed=True,
    ),
    _of_source(
        "basic_auth.password_file",
        "--source.basic-auth.password-file",
        "file",
        "path",
        help="File with the password, read at each request.",
        needed=True,
    ),
    _of_source("authorization.type", None, source.read_scheme, "word", "Bearer"),
    _of_source(
        "authorization.credentials_file",
        "--source.bearer-token-file",
        "file",
        "path",
        help="File with a bearer token, read at each request.",
        needed=True,
    ),
)
LISTS = (Listed("sources", SOURCE, source.build, source.parts),)

FLAGS = {
    setting.flag: setting for setting in (CONFIG_FILE, *SETTINGS, *SOURCE_FLAGS, *SOURCE) if setting.flag is not None
}


def keys() -> Iterator[str]:
    """Yield every key of a value: ``socket.path``, ``sources[].url``."""
    yield from (setting.key for setting in SETTINGS)
    yield from (f"{listed.key}[].{setting.key}" for listed in LISTS for setting in listed.settings)


def asked_by(command: str) -> list[Setting]:
    """Return the settings that a command has as flags."""
    return [setting for setting in FLAGS.values() if command in setting.asked]
