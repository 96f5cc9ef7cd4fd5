"""The parts of a setting's declaration; all settings are declared in declared.py.

Rule: text has the same meaning in a flag, a variable and the file. Text that depends on the machine is read by
``Readers``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from resty_metrics.config.values import read_switch


@dataclass(frozen=True, slots=True)
class Readers:
    """The readers of text that depends on the machine. Each raises ValueError; its text says what to do."""

    uid: Callable[[str], int]
    state_dir: Callable[[str], Path | None]
    file: Callable[[str], Path]


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


@dataclass(frozen=True, slots=True)
class Type:
    """A type of value.

    ``word``: its name in a help text, or the words that are allowed. ``read``: the reader of its text, or the name of
    one of the ``Readers``. ``show``: converts a value back to text, for YAML.
    """

    word: str | tuple[str, ...]
    read: Callable[[str], Any] | Literal["uid", "state_dir", "file"]
    show: Callable[[Any], Any] = _plain


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting.

    ``key``: ``section.name`` in the file; empty if there is only a flag. ``flag``: None if there is only a key in the
    file. ``default``: as text. ``needed``: a section without it is invalid. ``reloadable``: a reload applies a change;
    else it needs a restart. ``commands``: the commands that have the flag, besides ``serve`` and ``check-config``.
    """

    key: str
    flag: str | None
    type: Type
    default: str | None
    help: str
    repeatable: bool = False
    needed: bool = False
    reloadable: bool = False
    commands: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the field in ``Settings``."""
        return self.key.replace(".", "_")

    @property
    def switch(self) -> bool:
        """True for a flag without a value, which turns on a setting that is off by default."""
        return self.type.read is read_switch and self.default == "false"

    def reader(self, readers: Readers) -> Callable[[str], Any]:
        """Return the function that reads the text of one value."""
        read = self.type.read
        reader: Callable[[str], Any] = getattr(readers, read) if isinstance(read, str) else read
        return reader

    def to_yaml(self, value: Any) -> Any:
        """Return the value for YAML; None if its key is left out there."""
        return list(map(self.type.show, value)) if self.repeatable else self.type.show(value)


@dataclass(frozen=True, slots=True)
class Listed:
    """A list of mappings in the file.

    ``settings``: the keys of a mapping. ``flags``: the flags of which each value is an item. ``build``: makes an item
    from values by key. ``parts``: returns the values of an item by key.
    """

    key: str
    flags: tuple[Setting, ...]
    settings: tuple[Setting, ...]
    build: Callable[[Mapping[str, Any]], Any]
    parts: Callable[[Any], Mapping[str, Any]]
