"""The command line, as Prometheus exporters have it: flags like ``--socket.path``, each with an environment variable.

Rule: nothing is touched, and nothing heavy imported, before every word of the command line is understood. A scanner
that runs this with ``-V`` gets a line of text.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from resty_metrics import __version__
from resty_metrics.commands.install import commands as install_commands
from resty_metrics.commands.options import NGINX_COMMAND, OPTIONS, TOP_ACCESS, TOP_OPTIONS, Checked, options_of
from resty_metrics.config import machine, names
from resty_metrics.config.problem import ConfigError, Problem, discreet
from resty_metrics.process import hangup
from resty_metrics.process.authorities import left_unread
from resty_metrics.process.ending import end, end_when_told

if TYPE_CHECKING:
    from resty_metrics.commands.doctor.settings import Settings
    from resty_metrics.config.load import Given
    from resty_metrics.config.values import ListenAddress

EXIT_WRONG, EXIT_MISCONFIGURED = 1, 2
TOP_VIEWS = ("servers", "upstreams", "rows", "workers")


@contextmanager
def _discreetly() -> Iterator[None]:
    """Hide the passwords of URLs in click's messages about words that it does not understand."""
    try:
        yield
    except click.UsageError as error:
        words = error.format_message()
        if discreet(words) == words:
            raise
        raise click.UsageError(discreet(words), error.ctx) from None


class _Main(click.Group):
    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with _discreetly():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _discreetly():
            return super().invoke(ctx)


def _given(options: dict[str, Any]) -> "Given":
    """Return those of a command's options that were given, without defaults, and the path of the file."""
    from resty_metrics.config.load import Given

    source, default = click.get_current_context().get_parameter_source, click.core.ParameterSource.DEFAULT
    path = options.pop("config_file")
    return Given({name: value for name, value in options.items() if source(name) is not default}, path)


def _misspelt() -> list[Problem]:
    """Return a problem for each environment variable that begins as ours do and that no command reads."""
    known = [parameter.envvar for command in main.commands.values() for parameter in command.params]
    return names.misspelt(os.environ, [one for one in known if isinstance(one, str)])


@contextmanager
def _refusing(status: int) -> Iterator[None]:
    """Print all problems of a refused configuration and exit with ``status``."""
    try:
        yield
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(status)


@click.group(cls=_Main, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="resty-metrics", message="%(prog)s %(version)s")
@click.pass_context
def main(context: click.Context) -> None:
    """Request metrics of nginx and OpenResty, stub_status and vts, on one Prometheus page."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@main.command(params=list(OPTIONS.values()))
def serve(**options: Any) -> NoReturn:
    """Collect, and serve the page."""
    end_when_told(0)
    hangup.remember()
    from resty_metrics.config.load import load

    given = _given(options)
    with _refusing(EXIT_MISCONFIGURED):
        settings = load(given)

    from resty_metrics.process import log

    log.configure(settings.log_level, settings.log_format)
    log.catch_all()
    for problem in _misspelt():
        log.say(logging.WARNING, "an environment variable is ignored", error=problem.text(""))

    with left_unread():
        from resty_metrics.app import run

    end(run(settings, lambda: load(given)))


def _told(options: dict[str, Any], nginx_command: str | None) -> "Settings":
    """Return the settings given to doctor, install or uninstall; they take the rest from the running collector."""
    from resty_metrics.commands.doctor.settings import told

    with _refusing(EXIT_MISCONFIGURED):
        return told(_given(options), nginx_command)


@main.command(params=[*options_of("doctor"), NGINX_COMMAND])
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON.")
@click.option("--problems", is_flag=True, help="Print warnings and failures only, the first to fix first.")
@click.option("--watch", is_flag=True, help="Go on, and name whoever touches the socket.")
def doctor(as_json: bool, problems: bool, watch: bool, nginx_command: str | None, **options: Any) -> None:
    """Explain what works and what does not, from nginx to the page. Changes nothing.

    What is not given is taken from the collector that runs. Exit status: 0 all is well, 1 warnings, 2 failures.
    """
    from resty_metrics.commands.doctor.examination import find, run

    settings = _told(options, nginx_command)
    if watch:
        from resty_metrics.commands.doctor.watch import run as run_watch

        settings, subject = find(settings)
        if subject.choice is not None:
            raise click.UsageError(subject.choice)
        sys.exit(run_watch(settings.socket_path, as_json))
    run(settings, as_json, problems)


@main.command(params=TOP_OPTIONS)
@click.option("--once", is_flag=True, help="Look twice, print, end: for scripts.")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON; it implies --once.")
@click.option("--view", type=click.Choice(TOP_VIEWS), default=TOP_VIEWS[0], show_default=True, help="What is shown.")
@click.option("--sort", metavar="COLUMN", help="Column to sort by, as the JSON calls it.")
@click.option("--reverse", is_flag=True, help="The other way round.")
def top(once: bool, as_json: bool, view: str, sort: str | None, reverse: bool, **options: Any) -> None:
    """Requests, errors and latency by server, upstream, label set or worker, live in this terminal.

    Exit status of --once: 0, or 1 where the page cannot be read.
    """  # noqa: D401 (the help that users see)
    once = once or as_json
    if not once and not sys.stdout.isatty():
        raise click.UsageError("standard output is no terminal: give --once, or --json")
    from resty_metrics.commands.top import session, told
    from resty_metrics.commands.top.keys import State

    with _refusing(EXIT_MISCONFIGURED):
        url, interval = options.pop("url"), options.pop("interval")
        access = {key: options.pop(str(option.name)) for key, option in TOP_ACCESS.items()}
        try:
            wanted = told.wanted(url, interval, access, _given(options), State(view, sort, reverse))
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    if once:
        session.run_once(wanted, as_json)
    session.run(wanted)


@main.command("check-config", params=list(OPTIONS.values()))
@click.argument("file", required=False, type=Checked("path", machine.file_path))
def check_config(file: Path | None, **options: Any) -> None:
    """Check FILE, or that of --config.file, with flags and environment: all that is wrong, else what is in force.

    Exit status: 0 it is right, 1 it is wrong.
    """
    if file is not None:
        options["config_file"] = file
    from resty_metrics.commands.check_config import checked

    misspelt = _misspelt()
    for problem in misspelt:
        click.echo(problem.text(""), err=True)
    with _refusing(EXIT_WRONG):
        click.echo(checked(_given(options)), nl=False)
    if misspelt:
        sys.exit(EXIT_WRONG)


@main.command(params=options_of("healthcheck"))
def healthcheck(web_listen_address: "tuple[ListenAddress, ...]") -> NoReturn:
    """Ask the collector that listens there whether it is healthy: for a container. No other file or setting is read.

    Exit status: 0 every address answers, 1 one does not.
    """
    from resty_metrics.commands.healthcheck import answers

    sys.exit(0 if all(map(answers, web_listen_address)) else 1)


install_commands.add_to(main, _told)


if __name__ == "__main__":
    main()
