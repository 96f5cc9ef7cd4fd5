"""What a setting is made of; declared.py has all of them.

Rule: text is read the same from a flag, a variable and the file. What depends on the machine is read by ``Readers``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from resty_metrics.config.values import read_switch


@dataclass(frozen=True, slots=True)
class Readers:
    """Readers of text that depends on the machine. Each raises ValueError, with what to do."""

    uid: Callable[[str], int]
    state_dir: Callable[[str], Path | None]
    file: Callable[[str], Path]


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


@dataclass(frozen=True, slots=True)
class Type:
    """A type of value.

    ``word``: its name in a help text, or the words that it may be. ``read``: the reader of its text, or which of the
    ``Readers``. ``show``: the opposite, for YAML.
    """

    word: str | tuple[str, ...]
    read: Callable[[str], Any] | Literal["uid", "state_dir", "file"]
    show: Callable[[Any], Any] = _plain


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting.

    ``key``: in the file, ``section.name``; empty for a flag alone. ``flag``: None for a key of the file alone.
    ``default``: as text. ``needed``: a section without it is wrong. ``reloadable``: a reload puts it in force; else a
    change needs a restart. ``asked``: the commands that have the flag, besides ``serve`` and ``check-config``.
    """

    key: str
    flag: str | None
    type: Type
    default: str | None
    help: str
    repeatable: bool = False
    needed: bool = False
    reloadable: bool = False
    asked: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The field of ``Settings``."""
        return self.key.replace(".", "_")

    @property
    def switch(self) -> bool:
        """True for a flag without a value: it turns on what is off by default."""
        return self.type.read is read_switch and self.default == "false"

    def reader(self, readers: Readers) -> Callable[[str], Any]:
        """Return what reads the text of one value."""
        read = self.type.read
        reader: Callable[[str], Any] = getattr(readers, read) if isinstance(read, str) else read
        return reader

    def shown(self, value: Any) -> Any:
        """Return the value as YAML has it; None is not shown."""
        return list(map(self.type.show, value)) if self.repeatable else self.type.show(value)


@dataclass(frozen=True, slots=True)
class Listed:
    """A list of mappings in the file.

    ``settings``: the keys of a mapping. ``flags``: those of which each value is an item. ``build``: an item from values
    by key; ``parts``: the opposite.
    """

    key: str
    flags: tuple[Setting, ...]
    settings: tuple[Setting, ...]
    build: Callable[[Mapping[str, Any]], Any]
    parts: Callable[[Any], Mapping[str, Any]]
