"""The flags, each with its environment variable: their names, the readers of their text, and their help.

Rule: a heavy module is imported when a value is read by it, not before.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import click
from click.types import OptionHelpExtra

from resty_metrics.config import machine, names, values
from resty_metrics.config.declaration import Readers, Setting
from resty_metrics.config.declared import FLAGS, SOURCE, SOURCE_FLAGS, flags_of
from resty_metrics.endpoint.credentials import read_uid

_READERS = Readers(read_uid, machine.state_dir, machine.file_path)


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


def _told_apart(_: click.Context, parameter: click.Parameter, sources: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the sources, or raise click.BadParameter if two have the same name.

    Two sources of one kind and name would be the same series twice on the page.
    """
    if len({source.name for source in sources}) < len(sources):
        flag = parameter.opts[0]
        raise click.BadParameter(f"give each source a name of its own, as in {flag}=a=URL {flag}=b=URL")
    return sources


def _late(package: str, reader: str) -> Callable[[str], object]:
    def read(text: str) -> object:
        return getattr(import_module(f"resty_metrics.commands.{package}"), reader)(text)

    return read


class _Option(click.Option):
    """An option whose variable is named where its value is wrong, but not in the help, which has the rule for all."""

    def get_help_extra(self, ctx: click.Context) -> OptionHelpExtra:
        extra = super().get_help_extra(ctx)
        extra.pop("envvars", None)
        return extra


def option(flag: str, **attributes: Any) -> click.Option:
    """Return an option with the environment variable that belongs to it."""
    attributes = {"show_default": True, **attributes}
    return _Option([flag, names.name(flag)], envvar=names.variable(flag), show_envvar=True, **attributes)


def _option(setting: Setting, flag: str) -> click.Option:
    """Return the option of a setting, called ``flag``."""
    if setting.switch:
        return option(flag, is_flag=True, help=setting.help)
    word, more = setting.type.word, {}
    if setting.default is not None:
        more["default"] = (setting.default,) if setting.repeatable else setting.default
    return option(
        flag,
        type=click.Choice(word) if isinstance(word, tuple) else Checked(word, setting.reader(_READERS)),
        multiple=setting.repeatable,
        callback=_told_apart if setting in SOURCE_FLAGS else None,
        help=setting.help,
        **more,
    )


# By flag: a command that has the flag shares the option.
OPTIONS = {flag: _option(setting, flag) for flag, setting in FLAGS.items()}
NGINX_COMMAND = option(
    "--nginx.command",
    type=Checked("command", values.read_command),
    help='Command that runs nginx, as in "nginx -c /path". Default: every running nginx, else the installed one.',
)


def options_of(command: str) -> list[click.Option]:
    """Return the options of the settings that a command has."""
    return [OPTIONS[flag] for flag in flags_of(command)]


# TLS and credentials for the page that a command reads, with a source's settings: by the source's key.
PAGE_ACCESS = {
    setting.key: _option(setting, setting.flag.replace("--source.", "--"))
    for setting in SOURCE
    if setting.flag is not None and "." in setting.key
}
PAGE_OPTIONS = [
    option(
        "--url",
        type=Checked("url", _late("client.endpoint", "read_page_url")),
        help="Page to read: http://HOST:PORT/metrics, https://, unix:/path. Default: that of this machine's collector.",
    ),
    *PAGE_ACCESS.values(),
    *options_of("top"),
]
TOP_OPTIONS = [
    *PAGE_OPTIONS,
    option(
        "--interval",
        type=Checked("duration", _late("top.settings", "read_interval")),
        default="2s",
        help="Time between two readings of the page; with --once, the time that is measured.",
    ),
]
