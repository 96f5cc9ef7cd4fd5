"""The loading of the settings from flags, environment and file, at the start and at each reload.

Rules:
- Flags and environment stay as they were at the start; the file is read again each time.
- A refused configuration changes nothing.
- An unreadable password, certificate or key is no reason to refuse a configuration: only its source fails, until the
  file can be read. ``check-config`` reports it beforehand.
- The module that reads the file takes memory, so it is imported only if there is a file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resty_metrics.config import flags
from resty_metrics.config.settings import Settings, merged


@dataclass(frozen=True, slots=True)
class Inputs:
    """The values from flags and environment. ``values``: already read, by the flag's name.

    ``path``: absolute path of the configuration file; None if there is none.
    """

    values: Mapping[str, Any]
    path: Path | None


def load(inputs: Inputs) -> Settings:
    """Return the settings from flags, environment and the current file. Raises ConfigError with all problems.

    It reads files, so a running loop calls it in a thread.
    """
    layer = flags.layer(inputs.values)
    if inputs.path is None:
        return merged(layer)
    from resty_metrics.config.file import read_file

    return merged(layer, read_file(inputs.path)[0])
