"""Loading: what flags and environment said, and the file says now, put together. At any time, again.

Rules:
- What this process was told by flags and environment stays; the file may be another one each time.
- A configuration that is refused has changed nothing.
- A password, certificate or key that cannot be read refuses no configuration: its source alone fails, until the file
  can be read. ``check-config`` says so beforehand.
- The reader of the file takes memory: it is imported only where there is a file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resty_metrics.config import flags
from resty_metrics.config.settings import Settings, merged


@dataclass(frozen=True, slots=True)
class Given:
    """What flags and environment say. ``values``: as the command line has read them, by the flag's name.

    ``path``: the configuration file, absolute; None: there is none.
    """

    values: Mapping[str, Any]
    path: Path | None


def load(given: Given) -> Settings:
    """Return the settings as flags, environment and file are now. A running loop calls it in a thread: it reads files.

    Raises ConfigError with all that is wrong.
    """
    said = flags.layer(given.values)
    if given.path is None:
        return merged(said)
    from resty_metrics.config.file import read_file

    return merged(said, read_file(given.path)[0])
