"""Modules that only some processes need, such as the parser of a file: they are imported when they are needed.

Rules:
- An import takes a while, so a running loop calls ``load`` in a thread.
- A failed import costs only the feature that needs it, and is tried again the next time: the disk may have failed.
- If the program's files have changed since the start, nothing more is imported: two versions would be mixed.
"""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import resty_metrics
from resty_metrics.process import files
from resty_metrics.process.files import Stamp

_LANDMARK = Path(resty_metrics.__file__)


class LateImportError(Exception):
    """A module that cannot be imported now. The text gives the module, the reason and the remedy."""


def _stamp() -> Stamp | None:
    try:
        return files.stamp(_LANDMARK)
    except OSError:
        return None


_AT_START = _stamp()


def load(name: str) -> ModuleType:
    """Import a module by its full name, or return it where it is there. Raises LateImportError."""
    if name not in sys.modules and _stamp() != _AT_START:
        raise LateImportError(f"cannot load {name}: the files of resty-metrics have changed. Restart it.")
    try:
        return importlib.import_module(name)  # waits for another thread that imports it
    except Exception as error:
        words = f"cannot load {name}: {type(error).__name__}: {error}. Restart resty-metrics if it was upgraded."
        raise LateImportError(words) from error
