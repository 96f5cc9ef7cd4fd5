"""The configuration file, read and checked as a whole. Reading it changes nothing on this machine."""

from collections.abc import Callable
from pathlib import Path

from resty_metrics.config.declaration import Readers
from resty_metrics.config.document import Document
from resty_metrics.config.machine import state_dir
from resty_metrics.config.problem import ConfigError, Problem
from resty_metrics.config.read import read
from resty_metrics.config.settings import Layer
from resty_metrics.config.values import read_file_path
from resty_metrics.endpoint.credentials import read_uid
from resty_metrics.process import files

MOST_BYTES = 1024 * 1024


def read_file(
    path: Path,
    below: Callable[[Path], Path] = lambda path: path,
    uid: Callable[[str], int] = read_uid,
    look: bool = False,
) -> tuple[Layer, Document]:
    """Return the layer of the file, and its document. Raises ConfigError.

    ``below`` and ``uid`` translate a path and a user name if the file belongs to a process with another root. ``look``:
    the files that it names must be readable now.
    """
    try:
        text = _text(below(path))
    except OSError as error:
        raise ConfigError(str(path), [Problem(None, "", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(str(path), [Problem(line, "", "the file is not UTF-8")]) from None
    except OverflowError:
        raise ConfigError(str(path), [Problem(None, "", f"the file is larger than {MOST_BYTES} bytes")]) from None

    def resolve(text: str) -> Path:
        file = path.parent / read_file_path(text)
        if look:
            see(file)
        return file

    layer, document = read(text, Readers(uid, state_dir, resolve))
    if document.problems:
        raise ConfigError(str(path), document.problems)
    return layer, document


def _text(path: Path) -> str:
    with path.open("rb") as opened:
        raw = opened.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise OverflowError
    return raw.decode()


def see(path: Path) -> None:
    """Check that this user can read the file now. Raises ValueError."""
    try:
        files.read(path)
    except OSError as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error.strerror}") from None
