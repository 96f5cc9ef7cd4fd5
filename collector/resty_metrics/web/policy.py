"""The web configuration in force: read from its file, and again when the file, or one that it names, has changed.

Rules:
- A file that has become invalid is reported once, and the old configuration stays; nobody is ever served by half of a
  file. It is read again each second until it is valid: what was missing may be a file that is not watched yet.
- Files are looked at in a thread: a dead file system must not stop the loop.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resty_metrics.config.problem import ConfigError, Problem
from resty_metrics.health.facts import RefusedFile
from resty_metrics.process import files, late
from resty_metrics.process.files import Stamp
from resty_metrics.process.late import LateImportError
from resty_metrics.process.log import say
from resty_metrics.web.bucket import Rate
from resty_metrics.web.tally import Tally

if TYPE_CHECKING:
    from resty_metrics.config.document import Document
    from resty_metrics.web.config import TlsServer, WebConfig
    from resty_metrics.web.tls import Tls

CHECK_SECONDS = 1.0
MOST_BYTES = 1024 * 1024

Signature = tuple[Stamp | None, ...]


@dataclass(frozen=True, slots=True)
class Access:
    """The rules of access to the page. ``path`` None: plain HTTP for everybody. ``signature``: of the files then."""

    path: Path | None = None
    tls: "Tls | None" = None
    users: Mapping[bytes, bytes] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    rate: Rate = field(default_factory=Rate)
    files: tuple[Path, ...] = ()
    signature: Signature = ()


def load(path: Path | None) -> Access:
    """Load the file and all that it names; None: plain HTTP for everybody. Raises ConfigError with all problems."""
    if path is None:
        return Access()
    before = signature((path,))
    config, document = _loaded("resty_metrics.web.config", path).read(_text(path), path)
    tls_files = _files_of(config, path)
    files_signature = (*before, *signature(tls_files))
    tls = None if config.tls_server_config is None else _tls(config.tls_server_config, path, document)
    users = {name.encode(): hashed for name, hashed in config.basic_auth_users.items()}
    rate = Rate(config.rate_limit.interval, config.rate_limit.burst)
    return Access(path, tls, users, config.http_server_config.headers, rate, (path, *tls_files), files_signature)


def _loaded(name: str, path: Path) -> Any:
    """Return a module that only a web configuration needs: together they take 7 MB. Raises ConfigError."""
    try:
        return late.load(name)
    except LateImportError as error:
        raise ConfigError(str(path), [Problem(None, "", str(error))]) from error


def _tls(section: "TlsServer", path: Path, document: "Document") -> "Tls":
    tls = _loaded("resty_metrics.web.tls", path)
    try:
        loaded: Tls = tls.make(section, path.parent)
    except tls.TlsError as error:
        key = ("tls_server_config", error.key)
        raise ConfigError(str(path), [Problem(document.line(key), ".".join(key), str(error))]) from None
    return loaded


def _files_of(config: "WebConfig", path: Path) -> tuple[Path, ...]:
    tls_files = [] if config.tls_server_config is None else config.tls_server_config.files
    return tuple(path.parent / file for file in tls_files)


def _text(path: Path) -> str:
    try:
        return files.read(path, MOST_BYTES).decode()
    except OSError as error:
        raise ConfigError(str(path), [Problem(None, "", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise ConfigError(str(path), [Problem(None, "", "not UTF-8")]) from None


def signature(paths: tuple[Path, ...]) -> Signature:
    """Return a signature of the files, which differs when one of them was changed or replaced."""
    return tuple(map(_look, paths))


def _look(path: Path) -> Stamp | None:
    try:
        return files.stamp(path)
    except OSError:
        return None


class Policy:
    """The holder of the access in force, ``current``."""

    def __init__(self, access: Access, tally: Tally) -> None:
        self.current = access
        self._tally = tally
        self._refused = ""

    async def watch(self) -> None:
        """Check each second whether the files have changed."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await self.check()

    async def check(self) -> None:
        """Put the files in force if they have changed; report once what is wrong with them."""
        access = self.current
        if access.path is None:
            return
        current = await asyncio.to_thread(signature, access.files)
        if current == access.signature:
            self._refused = ""
            self._tally.wrong.pop("web", None)  # the files in force are back
            return
        try:
            fresh = await asyncio.to_thread(load, access.path)
        except ConfigError as error:
            if self.current is access:
                self._refuse(error)
            return
        if self.current is access:  # else a reload was faster
            self.take(fresh)
            self._tally.wrong.pop("web", None)
            self._tally.loaded_at = time.time()
            say(logging.INFO, "web configuration reloaded", file=access.path)

    def take(self, access: Access) -> None:
        """Put an access in force; connections that are open keep the TLS they have."""
        self.current = access
        self._refused = ""

    def _refuse(self, error: ConfigError) -> None:
        self._tally.wrong["web"] = RefusedFile(error.file, web=True, watched=True)
        if str(error) == self._refused:
            return
        self._refused = str(error)
        for problem in error.problems:
            say(logging.ERROR, "the changed web configuration is invalid, and not used", error=problem.text(error.file))
