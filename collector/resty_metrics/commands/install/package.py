"""The files that come with this program: ``lua/`` and ``nginx.conf.d/``.

They are beside the package in a checkout, below ``share/resty-metrics`` where a wheel was installed (its RECORD knows
where), or where a package of the system put them.
"""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import resty_metrics
from resty_metrics.commands.install.facts import CONF
from resty_metrics.commands.install.refused import RefusedError
from resty_metrics.nginx_config.hooks import INSTALLED

_NAME = "resty-metrics"
_LANDMARK = "lua/resty/metrics.lua"
_IN_A_WHEEL = f"share/resty-metrics/{_LANDMARK}"
_DIRECTORIES = {"lua": "*.lua", CONF: "*.conf"}


def directory() -> Path:
    """Return the directory of our files. Raises RefusedError where they are not found."""
    places = [Path(resty_metrics.__file__).resolve().parents[2], *_of_wheel(), Path(INSTALLED)]
    for place in places:
        if (place / _LANDMARK).is_file() and (place / CONF).is_dir():
            return place
    raise RefusedError(f"lua/ and {CONF}/ are in none of {', '.join(map(str, places))}. Install resty-metrics again")


def _of_wheel() -> list[Path]:
    try:
        files = distribution(_NAME).files or []
    except PackageNotFoundError:
        return []
    paths = (Path(str(file.locate())).resolve() for file in files if file.as_posix().endswith(_IN_A_WHEEL))
    return [path.parents[2] for path in paths]


def read(directory: Path) -> dict[str, bytes]:
    """Read the files below the directory, by path."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for name, pattern in _DIRECTORIES.items()
        for path in sorted((directory / name).rglob(pattern))
    }


def for_share(files: dict[str, bytes], share: str) -> dict[str, bytes]:
    """Put the directory ``share`` into nginx's files, which name the directory that they are in."""
    return {
        name: content.replace(INSTALLED.encode(), share.encode()) if name.startswith(f"{CONF}/") else content
        for name, content in files.items()
    }
