"""File systems of the test's own, mounted for as long as a block lasts. Only root can."""

import contextlib
import shutil
import subprocess
import threading
from pathlib import Path

_DISK_BYTES = 16 * 1024 * 1024
_PIECE = bytes(4096)


def _run(*words: str) -> None:
    subprocess.run(words, check=True, timeout=60, capture_output=True)


def _unmount(path: Path) -> None:
    _run("umount", "--lazy", str(path))  # whoever still has a file open there keeps it until he ends


class Full:
    """A disk of 16 MB in memory, at ``path``. From ``fail`` to ``back`` somebody takes every byte that is free, and
    those that become free as well."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path / "filler"
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Full":
        self._path.mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES},mode=0755", "tmpfs", str(self._path))
        return self

    def __exit__(self, *_: object) -> None:
        self.back()
        _unmount(self._path)

    def fail(self) -> None:
        self._done.clear()
        self._thread = threading.Thread(target=self._fill, name="filler")
        self._thread.start()

    def back(self) -> None:
        if self._thread is not None:
            self._done.set()
            self._thread.join()
            self._thread = None
            self._file.unlink()

    def _fill(self) -> None:
        with self._file.open("ab", buffering=0) as filler:
            while not self._done.wait(0.01):
                with contextlib.suppress(OSError):
                    while filler.write(_PIECE):
                        pass


class Small:
    """A disk in memory at ``path`` of so many bytes, that can be made read-only and writable again."""

    def __init__(self, path: Path, size: int = 1024 * 1024) -> None:
        self._path = path
        self._size = size

    def __enter__(self) -> "Small":
        self._path.mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", f"size={self._size},mode=0755", "tmpfs", str(self._path))
        return self

    def __exit__(self, *_: object) -> None:
        _unmount(self._path)

    def protect(self) -> None:
        """Read-only; nobody may have a file open for writing."""
        _run("mount", "-o", "remount,ro", str(self._path))

    def unprotect(self) -> None:
        _run("mount", "-o", "remount,rw", str(self._path))


class Failing:
    """A disk with ext4 at ``path``, in an image beside it, that becomes read-only under those who write to it, as the
    kernel makes it when the device fails; ``back`` puts a whole one with the same content into its place."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._image = path.with_suffix(".image")
        self._mounted = False

    def __enter__(self) -> "Failing":
        self._path.mkdir(parents=True, exist_ok=True)
        with self._image.open("wb") as image:
            image.truncate(_DISK_BYTES)
        _run("mkfs.ext4", "-q", str(self._image))
        self._mount()
        return self

    def __exit__(self, *_: object) -> None:
        if self._mounted:
            _unmount(self._path)

    def fail(self) -> None:
        _run("mount", "-o", "remount,abort", str(self._path))

    def back(self) -> None:
        _unmount(self._path)
        self._mounted = False
        copy = self._image.with_suffix(".copy")
        shutil.copyfile(self._image, copy)
        self._image = copy
        self._mount()

    def _mount(self) -> None:
        _run("mount", "-o", "loop", str(self._image), str(self._path))
        self._mounted = True
