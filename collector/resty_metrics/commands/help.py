"""The help texts of the commands: examples, options by subject with the most used ones first, exit statuses.

Rule: everything that ``--help`` prints is in the command's declaration; this module only puts it in place.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import click

WIDTH = 100
# The order in which a new user needs the commands; others follow.
_ORDER = ("serve", "install", "doctor", "top", "cost", "check-config", "healthcheck", "export", "uninstall")
_SUBJECTS = (
    ("Socket and journal", ("--socket.", "--state.")),
    ("Page", ("--web.",)),
    ("Sources, fetched at each scrape", ("--source.",)),
    ("Log", ("--log.",)),
    ("Access to the page", ("--tls.", "--basic-auth.", "--bearer-token-file")),
)
_FIRST, _REST = "Most used options", "Other options"

Pairs = Sequence[tuple[str, str]]


class Described(click.Command):
    """A command whose help has more than a description.

    ``examples``: command lines and their purpose; ``statuses``: exit statuses and their meaning; ``first``: the options
    that most people use, in order.
    """

    def __init__(
        self, *args: Any, examples: Pairs = (), statuses: Pairs = (), first: Sequence[str] = (), **attributes: Any
    ) -> None:
        super().__init__(*args, **attributes)
        self.examples, self.statuses, self.first = examples, statuses, first

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_help_text(ctx, formatter)
        write(formatter, "Examples", self.examples)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                records[parameter.opts[0]] = record
        for title, flags in _grouped(list(records), self.first):
            write(formatter, title, [records[flag] for flag in flags])
        note = _of_variables([parameter for parameter in self.params if isinstance(parameter, click.Option)])
        if note is not None:
            formatter.write_paragraph()
            formatter.write_text(note)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        write(formatter, "Exit status", self.statuses)


class Commands(click.Group):
    """The group of all commands, in the order in which a new user needs them, with the first steps."""

    steps: Pairs = ()

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in _ORDER if name in self.commands] + [
            name for name in super().list_commands(ctx) if name not in _ORDER
        ]

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_help_text(ctx, formatter)
        write(formatter, "First steps", self.steps)


def write(formatter: click.HelpFormatter, title: str, pairs: Pairs) -> None:
    """Write a section, if there is anything in it."""
    if pairs:
        with formatter.section(title):
            formatter.write_dl(pairs)


def _of_variables(options: Sequence[click.Option]) -> str | None:
    """Return the rule that gives the variables of the options; None if none of them has one."""
    named = [(option.opts[0], option.envvar) for option in options if option.envvar is not None]
    if not named:
        return None
    without = [option.opts[0] for option in options if option.envvar is None]
    except_for = f" except {', '.join(without)}" if without else ""
    flag, variable = next((pair for pair in named if "-" in pair[0][2:]), named[0])
    return f"Each option{except_for} can also be set by an environment variable: {flag} by {variable}."


def _grouped(flags: Sequence[str], first: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the title and the flags of each group that has any."""
    if not first:
        yield "Options", flags
        return
    yield _FIRST, first
    left = [flag for flag in flags if flag not in first]
    for title, prefixes in _SUBJECTS:
        yield title, [flag for flag in left if flag.startswith(prefixes)]
    all_prefixes = tuple(prefix for _, prefixes in _SUBJECTS for prefix in prefixes)
    yield _REST, [flag for flag in left if not flag.startswith(all_prefixes)]
