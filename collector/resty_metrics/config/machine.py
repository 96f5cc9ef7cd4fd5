"""The readers of values that depend on this machine, for the command line and the file alike."""

from pathlib import Path

from resty_metrics.config.values import read_file_path, read_state_dir


def state_dir(text: str) -> Path | None:
    """Return the directory of the journal, which need not exist yet. Raises ValueError."""
    path = read_state_dir(text)
    if path is not None and _is_no_directory(path):
        raise ValueError(f"{text!r} is not a directory")
    return path


def _is_no_directory(path: Path) -> bool:
    """Return True if something other than a directory is there. A path that cannot be examined may be a directory."""
    try:
        return path.exists() and not path.is_dir()
    except OSError:
        return False


def file_path(text: str) -> Path:
    """Return the absolute path of a file. The text may be relative to the working directory. Raises ValueError."""
    return read_file_path(text).absolute()
