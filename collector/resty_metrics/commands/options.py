"""The flags, each with its environment variable: what they are called, how their text is read, what they mean.

Rule: what is heavy is imported when a value is to be read by it, not before.
"""

from collections.abc import Callable
from typing import Any

import click

from resty_metrics.config import machine, names, values
from resty_metrics.process.command_line import DEFAULT_SOCKET


class Checked(click.ParamType[Any]):
    """A value read by a function that raises ValueError with what to do."""

    def __init__(self, name: str, read: Callable[[str], object]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _by_source(reader: str, *more: str) -> Callable[[str], object]:
    def read(text: str) -> object:
        from resty_metrics.sources import source

        return getattr(source, reader)(text, *more)

    return read


def _uid(text: str) -> int:
    from resty_metrics.endpoint.credentials import read_uid

    return read_uid(text)


def _told_apart(_: click.Context, parameter: click.Parameter, sources: tuple[Any, ...]) -> tuple[Any, ...]:
    """Two sources of one kind and name would be the same series twice on the page."""
    if len({source.name for source in sources}) < len(sources):
        flag = parameter.opts[0]
        raise click.BadParameter(f"several sources need names of their own, as in {flag}=a=URL {flag}=b=URL")
    return sources


def _by_top(reader: str) -> Callable[[str], object]:
    def read(text: str) -> object:
        from resty_metrics.commands.top import settings

        return getattr(settings, reader)(text)

    return read


def option(flag: str, **attributes: Any) -> click.Option:
    """An option with the environment variable that belongs to it."""
    attributes = {"show_default": True, **attributes}
    return click.Option([flag, names.name(flag)], envvar=names.variable(flag), show_envvar=True, **attributes)


_PATH = Checked("path", machine.file_path)


def _shown(prefix: str, unverified: str, when: str) -> tuple[click.Option, ...]:
    """How a server is verified, and what it is shown. ``unverified``: words for what checks nothing; ``when`` secrets
    are read."""
    return (
        option(f"{prefix}tls.ca-file", type=_PATH, help="Certificate authorities (PEM) instead of the system's."),
        option(f"{prefix}tls.cert-file", type=_PATH, help="Client certificate (PEM)."),
        option(f"{prefix}tls.key-file", type=_PATH, help="Key of the client certificate (PEM)."),
        option(
            f"{prefix}tls.server-name",
            type=Checked("name", _by_source("read_server_name")),
            help="Name to ask for, and to find in the certificate, instead of the URL's.",
        ),
        option(f"{prefix}tls.insecure-skip-verify", is_flag=True, help=unverified),
        option(
            f"{prefix}basic-auth.username",
            type=Checked("name", _by_source("read_username")),
            help="User for basic authentication.",
        ),
        option(f"{prefix}basic-auth.password-file", type=_PATH, help=f"File with the password, read {when}."),
        option(f"{prefix}bearer-token-file", type=_PATH, help=f"File with a bearer token, read {when}."),
    )


_ALL = (
    option(
        "--config.file",
        type=_PATH,
        help="YAML file of all settings. A flag wins over its variable, that over the file, the file over defaults.",
    ),
    option(
        "--socket.path",
        type=Checked("path", values.read_socket_path),
        default=DEFAULT_SOCKET,
        help="Unix datagram socket that nginx's workers send to.",
    ),
    option("--socket.mode", type=Checked("mode", values.read_mode), default="0666", help="Mode of the socket, octal."),
    option(
        "--socket.allow-uid",
        type=Checked("uid", _uid),
        multiple=True,
        help="User (number, name) that may send beside root, our own, nginx, www-data, nobody, openresty. Repeatable.",
    ),
    option(
        "--state.dir",
        type=Checked("path", machine.state_dir),
        default=values.DEFAULT_STATE_DIR,
        help="Directory of the journal, from which counters go on after a restart; none: they begin at 0.",
    ),
    option(
        "--source.stub-status",
        type=Checked("[name=]url", _by_source("parse_source", "stub_status")),
        multiple=True,
        callback=_told_apart,
        help="stub_status to fetch at each scrape: http, https or unix:/path.sock:/uri. Repeatable.",
    ),
    option(
        "--source.vts",
        type=Checked("[name=]url", _by_source("parse_source", "vts")),
        multiple=True,
        callback=_told_apart,
        help="JSON of the vts module to fetch at each scrape. Repeatable.",
    ),
    option(
        "--source.vts.derived",
        type=Checked("true|false", values.read_switch),
        default="true",
        help="Whether vts's series that others add up to are shown: its zone * and averages.",
    ),
    option(
        "--source.timeout",
        type=Checked("duration", values.read_duration),
        default="5s",
        help="Longest time for a source, if the scrape leaves it. This and the next are for sources given by flags.",
    ),
    option("--source.host", type=Checked("host", _by_source("read_host")), help="Host header for the sources."),
    *_shown("--source.", "Take any certificate of a source.", "at each fetch"),
    option(
        "--web.listen-address",
        type=Checked("address", values.read_listen_address),
        multiple=True,
        default=(values.DEFAULT_LISTEN,),
        help="Where the page is served: HOST:PORT, :PORT or unix:/path. Repeatable.",
    ),
    option(
        "--web.telemetry-path",
        type=Checked("path", values.read_telemetry_path),
        default=values.DEFAULT_TELEMETRY_PATH,
        help="Path of the page.",
    ),
    option("--web.config.file", type=_PATH, help="exporter-toolkit's web configuration: TLS and users of the page."),
    option(
        "--web.enable-lifecycle",
        is_flag=True,
        help="Let POST /-/reload read the configuration again, as SIGHUP always does.",
    ),
    option(
        "--web.max-connections",
        type=Checked("number", values.read_limit),
        default=str(values.DEFAULT_MAX_CONNECTIONS),
        help="Connections to the page at once; 0: no limit.",
    ),
    option(
        "--web.max-requests",
        type=Checked("number", values.read_limit),
        default=str(values.DEFAULT_MAX_REQUESTS),
        help="Scrapes at once; 0: no limit.",
    ),
    option("--log.level", type=click.Choice(values.LOG_LEVELS), default="info", help="Least level."),
    option("--log.format", type=click.Choice(values.LOG_FORMATS), default="logfmt", help="Form of a log line."),
)

# By flag: for every command that means the same by it.
OPTIONS = {one.opts[0]: one for one in _ALL}
NGINX_COMMAND = option(
    "--nginx.command",
    type=Checked("command", values.read_command),
    help='How nginx is run, as in "nginx -c /path". By default each running master, else what is installed.',
)

_TOP_SHARED = (
    "--config.file",
    "--socket.path",
    "--web.listen-address",
    "--web.telemetry-path",
    "--web.config.file",
)
TOP_OPTIONS = [
    option(
        "--url",
        type=Checked("url", _by_top("read_page_url")),
        help="The page: http://HOST:PORT/metrics, https, unix:/path. By default that of the collector of this machine.",
    ),
    option(
        "--interval",
        type=Checked("duration", _by_top("read_interval")),
        default="2s",
        help="Time between two looks; with --once what is measured.",
    ),
    *_shown("--", "Take any certificate.", "at each look"),
    *(OPTIONS[flag] for flag in _TOP_SHARED),
]
