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
from resty_metrics.commands.cost import command as cost_command
from resty_metrics.commands.help import WIDTH, Commands, Described
from resty_metrics.commands.install import commands as install_commands
from resty_metrics.commands.options import NGINX_COMMAND, OPTIONS, PAGE_ACCESS, TOP_OPTIONS, Checked, options_of
from resty_metrics.config import machine, names
from resty_metrics.config.problem import ConfigError, Problem, discreet
from resty_metrics.process import hangup
from resty_metrics.process.authorities import left_unread
from resty_metrics.process.ending import end, end_on_sigterm

if TYPE_CHECKING:
    from resty_metrics.commands.client.endpoint import Endpoint
    from resty_metrics.commands.doctor.settings import Settings
    from resty_metrics.config.load import Inputs
    from resty_metrics.config.values import ListenAddress

EXIT_WRONG, EXIT_MISCONFIGURED = 1, 2
TOP_VIEWS = ("servers", "upstreams", "rows", "workers")
_STEPS = (
    ("sudo resty-metrics serve", "Run the collector in this terminal."),
    ("sudo resty-metrics install", "In another one: add the Lua module to nginx, and test that a request is counted."),
    ("http://localhost:19145/", "See requests, errors and latency in a browser; /metrics is for Prometheus."),
    ("sudo resty-metrics doctor", "Find out why something does not work."),
)
_FIRST = ("--config.file", "--web.listen-address", "--socket.path", "--socket.allow-uid", "--state.dir")


@contextmanager
def _discreetly() -> Iterator[None]:
    """Hide the passwords of URLs in click's messages about invalid arguments."""
    try:
        yield
    except click.UsageError as error:
        words = error.format_message()
        if discreet(words) == words:
            raise
        raise click.UsageError(discreet(words), error.ctx) from None


class _Main(Commands):
    steps = _STEPS

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with _discreetly():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _discreetly():
            return super().invoke(ctx)


def _inputs(options: dict[str, Any]) -> "Inputs":
    """Return those of a command's options that were given, without defaults, and the path of the file."""
    from resty_metrics.config.load import Inputs

    source, default = click.get_current_context().get_parameter_source, click.core.ParameterSource.DEFAULT
    path = options.pop("config_file")
    return Inputs({name: value for name, value in options.items() if source(name) is not default}, path)


def _misspelt() -> list[Problem]:
    """Return a problem for each environment variable that begins as ours do and that no command reads."""
    known = [parameter.envvar for command in main.commands.values() for parameter in command.params]
    return names.misspelt(os.environ, [variable for variable in known if isinstance(variable, str)])


@contextmanager
def _refusing(status: int) -> Iterator[None]:
    """Print all problems of a refused configuration and exit with ``status``."""
    try:
        yield
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(status)


@click.group(
    cls=_Main,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDTH},
)
@click.version_option(__version__, "-V", "--version", prog_name="resty-metrics", message="%(prog)s %(version)s")
@click.pass_context
def main(context: click.Context) -> None:
    """Count the requests of nginx and OpenResty, and serve the numbers to Prometheus."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@main.command(
    cls=Described,
    params=list(OPTIONS.values()),
    first=_FIRST,
    examples=(
        ("sudo resty-metrics serve", "Serve http://localhost:19145/."),
        ("sudo resty-metrics serve --socket.allow-uid=app", "The same, where nginx's workers run as the user app."),
        ("resty-metrics serve --config.file=/etc/resty-metrics.yml", "Take the settings from a file."),
        ("resty-metrics serve --socket.path=/tmp/rm/c.sock --state.dir=none", "Run without root, for a trial."),
    ),
    statuses=(
        ("0", "A signal (SIGTERM, SIGINT) ended it."),
        ("1", "It could not start; the last line of the log says why."),
        ("2", "A flag, a variable or a file is wrong. Nothing was changed."),
        ("3", "Another collector uses the same socket or state directory. Nothing was changed."),
    ),
)
def serve(**options: Any) -> NoReturn:
    """Run the collector: receive counts from nginx, and serve the page.

    Runs in the foreground until a signal ends it. Creates the directories of its socket and its journal.
    """
    end_on_sigterm(0)
    hangup.remember()
    from resty_metrics.config.load import load

    inputs = _inputs(options)
    with _refusing(EXIT_MISCONFIGURED):
        settings = load(inputs)

    from resty_metrics.process import log

    log.configure(settings.log_level, settings.log_format)
    log.catch_all()
    for problem in _misspelt():
        log.say(logging.WARNING, "an unknown environment variable is ignored", error=problem.text(""))

    with left_unread():
        from resty_metrics.app import run

    end(run(settings, lambda: load(inputs)))


def _own_settings(options: dict[str, Any], nginx_command: str | None) -> "Settings":
    """Return the settings given to doctor, install or uninstall; they take the rest from the running collector."""
    from resty_metrics.commands.doctor.settings import own_settings

    with _refusing(EXIT_MISCONFIGURED):
        return own_settings(_inputs(options), nginx_command)


@main.command(
    cls=Described,
    params=[*options_of("doctor"), NGINX_COMMAND],
    examples=(
        ("sudo resty-metrics doctor", "Check everything between nginx and the page."),
        ("sudo resty-metrics doctor --problems", "Print only what needs repair, the first to repair first."),
        ("sudo resty-metrics doctor --watch", "Print each process that touches the socket, as it happens."),
    ),
    statuses=(
        ("0", "Everything works."),
        ("1", "There are warnings."),
        ("2", "There are failures, or a flag is wrong."),
    ),
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.option("--problems", is_flag=True, help="Print warnings and failures only, the first to fix first.")
@click.option("--watch", is_flag=True, help="Keep running, and print each process that touches the socket.")
def doctor(as_json: bool, problems: bool, watch: bool, nginx_command: str | None, **options: Any) -> None:
    """Check everything between nginx and the page, and say how to repair what does not work.

    Changes nothing. Takes its settings from the running collector; flags override them.
    """
    from resty_metrics.commands.doctor.examination import find, run

    settings = _own_settings(options, nginx_command)
    if watch:
        from resty_metrics.commands.doctor.watch import run as run_watch

        settings, subject = find(settings)
        if subject.choice is not None:
            raise click.UsageError(subject.choice)
        sys.exit(run_watch(settings.socket_path, as_json))
    run(settings, as_json, problems)


def _page(options: dict[str, Any]) -> "Endpoint":
    """Return the page that the options of a command mean."""
    from resty_metrics.commands.client.choice import choose

    url = options.pop("url")
    access = {key: options.pop(str(option.name)) for key, option in PAGE_ACCESS.items()}
    with _refusing(EXIT_MISCONFIGURED):
        try:
            return choose(url, access, _inputs(options))
        except ValueError as error:
            raise click.UsageError(str(error)) from None


@main.command(
    cls=Described,
    params=TOP_OPTIONS,
    first=("--url", "--interval", "--view", "--once", "--json"),
    examples=(
        ("resty-metrics top", "Show this machine's collector. Press ? for the keys, q to quit."),
        ("resty-metrics top --url=http://HOST:19145", "Show another machine's collector."),
        ("resty-metrics top --once --view=upstreams", "Print one table, for scripts and mails."),
    ),
    statuses=(
        ("0", "It has printed, or a key or a signal ended it."),
        ("1", "The page cannot be read (--once, --json)."),
        ("2", "A flag is wrong."),
    ),
)
@click.option("--once", is_flag=True, help="Measure for one interval, print a table, and exit.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; implies --once.")
@click.option("--view", type=click.Choice(TOP_VIEWS), default=TOP_VIEWS[0], show_default=True, help="Table to show.")
@click.option("--sort", metavar="COLUMN", help="Column to sort by, named as in the JSON.")
@click.option("--reverse", is_flag=True, help="Sort in the opposite order.")
def top(once: bool, as_json: bool, view: str, sort: str | None, reverse: bool, **options: Any) -> None:
    """Show requests, errors and latency in the terminal, by server, upstream, label set or worker."""
    once = once or as_json
    if not once and not sys.stdout.isatty():
        raise click.UsageError("standard output is not a terminal: give --once or --json")
    from resty_metrics.commands.top import session, settings
    from resty_metrics.commands.top.keys import State

    try:
        settings.check_sort(sort, view)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    interval = options.pop("interval")
    run_order = session.Order(_page(options), interval, State(view, sort, reverse))
    if once:
        session.run_once(run_order, as_json)
    session.run(run_order)


@main.command(
    "check-config",
    cls=Described,
    params=list(OPTIONS.values()),
    first=_FIRST,
    examples=(
        ("resty-metrics check-config /etc/resty-metrics.yml", "Check a file before a start or a reload."),
        ("resty-metrics check-config", "Print the defaults, and what environment variables change."),
    ),
    statuses=(("0", "The configuration is right."), ("1", "It is wrong."), ("2", "A flag is wrong.")),
)
@click.argument("file", required=False, type=Checked("path", machine.file_path))
def check_config(file: Path | None, **options: Any) -> None:
    """Check the configuration in FILE, in flags and in the environment.

    Prints every problem with file, line and key; or, if there is none, all settings in force.
    """
    if file is not None:
        options["config_file"] = file
    from resty_metrics.commands.check_config import checked

    misspelt = _misspelt()
    for problem in misspelt:
        click.echo(problem.text(""), err=True)
    with _refusing(EXIT_WRONG):
        click.echo(checked(_inputs(options)), nl=False)
    if misspelt:
        sys.exit(EXIT_WRONG)


@main.command(
    cls=Described,
    params=options_of("healthcheck"),
    statuses=(("0", "Every address answers."), ("1", "One does not."), ("2", "A flag is wrong.")),
)
def healthcheck(web_listen_address: "tuple[ListenAddress, ...]") -> NoReturn:
    """Check that the collector answers, for containers.

    Reads no configuration file: give the same --web.listen-address, or its variable, as to serve.
    """
    from resty_metrics.commands.healthcheck import answers
    from resty_metrics.config.values import show_listen_address

    silent = [show_listen_address(address) for address in web_listen_address if not answers(address)]
    for address in silent:
        words = "Check that resty-metrics serve runs, with the same --web.listen-address"
        click.echo(f"no healthy collector answers at {address}. {words}", err=True)
    sys.exit(1 if silent else 0)


cost_command.add_to(main, _page)
install_commands.add_to(main, _own_settings)


if __name__ == "__main__":
    main()
