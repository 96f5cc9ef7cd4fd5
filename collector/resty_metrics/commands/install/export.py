"""The files for nginx, Grafana and Prometheus, copied out of a wheel or an image to where they are needed.

Rules:
- The files are readable to all, whatever the umask: nginx's workers are another user.
- A file is put in place whole. Other files in the directory stay.
"""

import os
from pathlib import Path

from resty_metrics.commands.install import package

_KINDS = {"lua": (".lua",), "nginx.conf.d": (".conf",), "grafana": (".json", ".yml"), "prometheus": (".yml",)}


def export(directory: Path, share: Path) -> int:
    """Write the files, and return their number. ``share``: the directory where nginx will find them.

    Raises RefusedError, OSError.
    """
    source = package.directory()
    files = {str(path.relative_to(source)): path.read_bytes() for name in _KINDS for path in _of(source, name)}
    for name, content in package.for_share(files, str(share)).items():
        _write(directory / name, content)
    return len(files)


def _of(source: Path, name: str) -> list[Path]:
    return sorted(path for path in (source / name).rglob("*") if path.suffix in _KINDS[name])


def _write(path: Path, content: bytes) -> None:
    for parent in reversed(path.parents):
        if not parent.exists():
            parent.mkdir()
            parent.chmod(0o755)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        beside.chmod(0o644)
        beside.rename(path)
    finally:
        beside.unlink(missing_ok=True)
