"""The command line, in the manner of Prometheus exporters: ``--socket.path``, an environment variable for each.

Rule: nothing is touched, and nothing heavy imported, before every word of the command line is understood. A scanner
that runs this with ``-V`` gets a line of text.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from collector import __version__, settings
from collector.install import commands as install_commands

_PREFIX = "RESTY_METRICS_"


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


def _source(kind: str) -> Callable[[str], object]:
    def read(text: str) -> object:
        from collector.sources.fetch import parse_source

        return parse_source(text, kind)  # type: ignore[arg-type]

    return read


def _uid(text: str) -> int:
    from collector.ingest.credentials import read_uid

    return read_uid(text)


def _state_dir(text: str) -> object:
    path = settings.read_state_dir(text)
    if path is not None and _is_no_directory(path):
        raise ValueError(f"{text!r} is not a directory")
    return path


def _is_no_directory(path: Path) -> bool:
    """Whether something else is there; what this user may not look at may be one."""
    try:
        return path.exists() and not path.is_dir()
    except OSError:
        return False


def _told_apart(_: click.Context, parameter: click.Parameter, sources: tuple[Any, ...]) -> tuple[Any, ...]:
    """Two sources of one kind and name would be the same series twice on the page."""
    if len({source.name for source in sources}) < len(sources):
        flag = parameter.opts[0]
        raise click.BadParameter(f"several sources need names of their own, as in {flag}=a=URL {flag}=b=URL")
    return sources


def option(flag: str, **attributes: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An option with the environment variable that belongs to it."""
    variable = _PREFIX + flag.removeprefix("--").replace(".", "_").replace("-", "_").upper()
    name = flag.removeprefix("--").replace(".", "_").replace("-", "_")
    return click.option(flag, name, envvar=variable, show_envvar=True, show_default=True, **attributes)


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="resty-metrics", message="%(prog)s %(version)s")
@click.pass_context
def main(context: click.Context) -> None:
    """Request metrics of nginx and OpenResty, stub_status and vts, on one Prometheus page."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@main.command()
@option(
    "--socket.path",
    type=Checked("path", settings.read_socket_path),
    default=settings.DEFAULT_SOCKET,
    help="Unix datagram socket that nginx's workers send to.",
)
@option("--socket.mode", type=Checked("mode", settings.read_mode), default="0666", help="Mode of the socket, octal.")
@option(
    "--socket.allow-uid",
    type=Checked("uid", _uid),
    multiple=True,
    help="User (number or name) that may send, beside root, our own, nginx, www-data, nobody, openresty. Repeatable.",
)
@option(
    "--state.dir",
    type=Checked("path", _state_dir),
    default=settings.DEFAULT_STATE_DIR,
    help="Directory of the journal, from which counters go on after a restart; none: they begin at 0.",
)
@option(
    "--source.stub-status",
    type=Checked("[name=]url", _source("stub_status")),
    multiple=True,
    callback=_told_apart,
    help="stub_status to fetch at each scrape: http, https or unix:/path.sock:/uri. Repeatable.",
)
@option(
    "--source.vts",
    type=Checked("[name=]url", _source("vts")),
    multiple=True,
    callback=_told_apart,
    help="JSON of the vts module to fetch at each scrape. Repeatable.",
)
@option(
    "--web.listen-address",
    type=Checked("address", settings.read_listen_address),
    default=settings.DEFAULT_LISTEN,
    help="Where the page is served: HOST:PORT, :PORT or unix:/path.",
)
@option(
    "--web.telemetry-path",
    type=Checked("path", settings.read_telemetry_path),
    default=settings.DEFAULT_TELEMETRY_PATH,
    help="Path of the page.",
)
@option("--log.level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", help="Least level.")
@option("--log.format", type=click.Choice(["logfmt", "json"]), default="logfmt", help="Form of a log line.")
def serve(**options: Any) -> None:
    """Collect, and serve the page."""
    from collector.app import Settings, run

    sys.exit(run(Settings(**options)))


def _of_serve(flag: str) -> click.Parameter:
    """The same option as ``serve`` has, for a command that means the same by it."""
    return next(option for option in serve.params if flag in option.opts)


@main.command(
    params=[
        _of_serve("--socket.path"),
        _of_serve("--socket.allow-uid"),
        _of_serve("--state.dir"),
        _of_serve("--source.stub-status"),
        _of_serve("--source.vts"),
        _of_serve("--web.listen-address"),
        _of_serve("--web.telemetry-path"),
    ]
)
@option(
    "--nginx.command",
    type=Checked("command", settings.read_command),
    help='How nginx is run, as in "nginx -c /path". By default each running master, else what is installed.',
)
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON.")
@click.option("--watch", is_flag=True, help="Go on, and name whoever touches the socket.")
def doctor(as_json: bool, watch: bool, **options: Any) -> None:
    """Explain what works and what does not, from nginx to the page. Changes nothing.

    What is not given is taken from the collector that runs. Exit status: 0 all is well, 1 warnings, 2 failures.
    """
    from collector.doctor.examination import find, run
    from collector.doctor.settings import Settings

    source, default = click.get_current_context().get_parameter_source, click.core.ParameterSource.DEFAULT
    told = Settings(**options, given=frozenset(name for name in options if source(name) is not default))
    if watch:
        from collector.doctor.watch import run as run_watch

        sys.exit(run_watch(find(told)[0].socket_path, as_json))
    run(told, as_json)


install_commands.add_to(
    main,
    [
        _of_serve("--socket.path"),
        _of_serve("--web.listen-address"),
        _of_serve("--web.telemetry-path"),
        next(option for option in doctor.params if "--nginx.command" in option.opts),
    ],
)


if __name__ == "__main__":
    main()
