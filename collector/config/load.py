"""Loading: the file is read, what it names is looked at, and all that was said is put together. At any time, again.

Rules:
- What this process was told by flags and environment stays; the file may be another one each time.
- Nothing is made, opened for writing or kept: a configuration that is refused has changed nothing.
- A password, certificate or key that cannot be read refuses no configuration: its source alone fails, until the file
  can be read. ``check-config`` says so beforehand.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collector.config import file, flags
from collector.config.document import Document
from collector.config.machine import state_dir
from collector.config.model import Readers
from collector.config.problem import ConfigError, Problem
from collector.config.read import read
from collector.config.settings import Layer, Settings, merged
from collector.ingest.credentials import read_uid
from collector.settings import read_file_path
from collector.sources import files

MOST_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Given:
    """What flags and environment say. ``values``: as the command line has read them, by the flag's name.

    ``path``: the configuration file, absolute; None: there is none.
    """

    values: Mapping[str, Any]
    path: Path | None


def load(given: Given) -> Settings:
    """The settings as flags, environment and file are now. It reads files: a running loop calls it in a thread.

    Raises ConfigError with all that is wrong.
    """
    said = flags.layer(given.values)
    return merged(said) if given.path is None else merged(said, read_file(given.path)[0])


def read_file(
    path: Path,
    below: Callable[[Path], Path] = lambda path: path,
    uid: Callable[[str], int] = read_uid,
    look: bool = False,
) -> tuple[Layer, Document]:
    """What the file says, and the lines of it. Raises ConfigError.

    ``below`` and ``uid``: where a path is, and who a user is, if the file is of a process with another root. ``look``:
    whether the files that it names must be readable now.
    """
    try:
        text = _text(below(path))
    except OSError as error:
        raise ConfigError(str(path), [Problem(None, "", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(str(path), [Problem(line, "", "not UTF-8")]) from None
    except OverflowError:
        raise ConfigError(str(path), [Problem(None, "", f"larger than {MOST_BYTES} bytes")]) from None

    def named(text: str) -> Path:
        found = path.parent / read_file_path(text)
        if look:
            see(found)
        return found

    configuration, document = read(text, Readers(uid, state_dir, named))
    if document.problems:
        raise ConfigError(str(path), document.problems)
    return file.layer(configuration), document


def _text(path: Path) -> str:
    with path.open("rb") as opened:
        raw = opened.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise OverflowError
    return raw.decode()


def see(path: Path) -> None:
    """Raises ValueError where the file cannot be read by this user, now."""
    try:
        files.read(path)
    except OSError as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error.strerror}") from None
