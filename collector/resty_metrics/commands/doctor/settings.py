"""Doctor's own settings, completed by those of a running collector.

Order: doctor's own flags and environment, its own file, the collector's flags and environment, the collector's file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from resty_metrics.commands.doctor import flags
from resty_metrics.commands.options import OPTIONS
from resty_metrics.config import load
from resty_metrics.config import settings as collector
from resty_metrics.config.declared import FLAGS, SETTINGS
from resty_metrics.config.file import read_file
from resty_metrics.config.flags import layer
from resty_metrics.config.problem import ConfigError
from resty_metrics.config.settings import Layer, over

_SOURCE = "source_"


@dataclass(frozen=True, slots=True)
class Settings(collector.Settings):
    """The collector's settings as doctor knows them. ``layers``: doctor's own."""

    nginx_command: str | None = None
    layers: tuple[Layer, ...] = ()

    @property
    def explicit(self) -> frozenset[str]:
        """The names of those that were not left to their defaults."""
        return frozenset(name for layer in self.layers for name in layer)


def _settings(own: tuple[Layer, ...], nginx_command: str | None, *below: Layer) -> Settings:
    return Settings(**over(*own, *below), nginx_command=nginx_command, layers=own)


def own_settings(inputs: load.Inputs, nginx_command: str | None) -> Settings:
    """Read doctor's command line. Raises ConfigError."""
    command_line = layer(inputs.values)
    own = (command_line,) if inputs.path is None else (command_line, read_file(inputs.path)[0])
    return _settings(own, nginx_command)


def _value(flag: str, values: tuple[str, ...], directory: Path) -> Any:
    """Read text as ``serve`` does. ``directory``: what a relative path is relative to. Raises click.BadParameter."""
    option = OPTIONS[flag]
    if FLAGS[flag].type.read == "file":
        values = tuple(str(directory / path) for path in values)
    read = [option.type.convert(text, option, None) for text in values]
    return tuple(read) if option.multiple else read[-1]


def merged(
    settings: Settings, running_flags: Mapping[str, tuple[str, ...]], directory: Path, written: Layer
) -> tuple[Settings, dict[str, tuple[str, ...]]]:
    """Return the settings with what a running collector was given, and what of its flags was taken, by flag.

    A value that cannot be read here (a user that only the collector's container knows) is left out. ``directory``:
    where the collector was started; ``written``: what its file says.
    """
    applied_flags: dict[str, tuple[str, ...]] = {}
    values: dict[str, Any] = {}
    for flag, text in running_flags.items():
        name = flags.name(flag)
        if ("sources" if name.startswith(_SOURCE) else name) in settings.explicit:
            continue
        try:
            values[name] = _value(flag, text, directory)
        except click.BadParameter:
            continue
        applied_flags[flag] = text
    values.pop("config_file", None)
    return _settings(settings.layers, settings.nginx_command, _layer(values), written), applied_flags


def unread(settings: Settings, applied_flags: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """Return the settings that only the collector's file, which could not be read, may have."""
    stated = {flags.name(flag) for flag in applied_flags} | settings.explicit
    return frozenset(setting.name for setting in SETTINGS if setting.name not in stated)


def _layer(values: Mapping[str, Any]) -> Layer:
    try:
        return layer(values)
    except ConfigError:
        return {name: value for name, value in values.items() if not name.startswith(_SOURCE)}
