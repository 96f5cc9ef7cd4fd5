"""Fetching a source at scrape time: a client for each, bounded in time.

Rules:
- A failing source never raises and never hides another: it becomes a ``Scrape`` with a reason. A bug of ours becomes
  one with the reason ``internal``.
- The log has a line when the state of a source changes, not one for each scrape, and nothing that the source sent.
- A large document is parsed off the loop.
"""

import asyncio
import logging
import os
import socket
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

import aiohttp

from resty_metrics.exposition.text import MetricFamily
from resty_metrics.process import late
from resty_metrics.process.late import LateImportError
from resty_metrics.process.log import say
from resty_metrics.sources import stub_status, threads
from resty_metrics.sources.errors import SourceError, SourceReason
from resty_metrics.sources.source import Kind, Source

if TYPE_CHECKING:
    from resty_metrics.sources.client import Client

BODY_CAP = 64 * 1024 * 1024
_OFF_LOOP_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Scrape:
    """The outcome of one fetch.

    ``reason`` None: it succeeded; ``words`` explain a failure. ``seconds``: its duration.
    """

    source: Source
    families: Sequence[MetricFamily]
    reason: SourceReason | None
    words: str
    seconds: float

    @property
    def up(self) -> bool:
        return self.reason is None


Read = Callable[[Source, bytes], list[MetricFamily]]
_VTS, _CLIENT = "resty_metrics.sources.vts", "resty_metrics.sources.client"
_LOADED: dict[str, ModuleType] = {}


def _read_stub_status(source: Source, body: bytes) -> list[MetricFamily]:
    return stub_status.families(stub_status.parse(body), source.labels)


def _read_vts(source: Source, body: bytes) -> list[MetricFamily]:
    vts = _LOADED[_VTS]
    families: list[MetricFamily] = vts.families(vts.parse(body), source.labels, source.derived)
    return families


async def _load(name: str) -> ModuleType:
    """Import a module, off the loop's own threads, or return it where it is there. Raises LateImportError."""
    if name not in _LOADED:
        _LOADED[name] = await threads.call(name, partial(late.load, name))
    return _LOADED[name]


async def _reader(kind: Kind) -> Read:
    """Return the function that reads a document. Raises LateImportError."""
    if kind == "stub_status":
        return _read_stub_status
    await _load(_VTS)
    return _read_vts


def _without(kind: Kind, labels: Mapping[str, str]) -> list[MetricFamily]:
    """Return the families that the page shows for a source that failed."""
    return stub_status.families(None, labels) if kind == "stub_status" else []


def reason_of(error: BaseException) -> SourceReason | None:
    """Return the reason that an error of the client stands for; None if it is not an error of the network."""
    match error:
        case SourceError():
            return error.reason
        case LateImportError():
            return "internal"
        case TimeoutError():
            return "timeout"
        case aiohttp.ClientSSLError():
            return "tls"
        case aiohttp.ClientConnectorDNSError():
            return "resolve"
        case aiohttp.ClientConnectorError() if isinstance(error.os_error, ConnectionRefusedError | FileNotFoundError):
            return "refused"
        case aiohttp.ClientConnectorError() if isinstance(error.os_error, socket.gaierror):
            return "resolve"
        case aiohttp.ClientError() | OSError():
            return "connection"
    return None


def in_words(error: Exception, seconds: float) -> str:
    """Describe an error by our own words, the system's, or the error's name."""
    match error:
        case SourceError() | LateImportError():
            return str(error)
        case TimeoutError():
            return f"no answer within {seconds:g} s"
        case aiohttp.ClientConnectorCertificateError():
            return str(error.certificate_error)
        case aiohttp.ClientConnectorError():
            number = error.os_error.errno
            cause = os.strerror(number) if number and number > 0 else str(error.os_error)
            return f"cannot connect: {cause[:1].lower()}{cause[1:]}"
    return type(error).__name__


def _place(error: Exception) -> str:
    """Describe the place of an error. The error's own words may be the source's, so they are left out."""
    calls = (f"{call.name}:{call.lineno}" for call in traceback.extract_tb(error.__traceback__))
    return f"{type(error).__name__} in {' > '.join(calls)}, please report this"


class Fetcher:
    """The client of one source. ``errors`` counts failures by reason."""

    def __init__(self, source: Source, body_cap: int = BODY_CAP) -> None:
        self.source = source
        self.errors: Counter[SourceReason] = Counter()
        self._body_cap = body_cap
        self._client: Client | None = None
        self._closed = False
        self._reported: SourceReason | None = None

    async def fetch(self, seconds: float) -> Scrape:
        """Fetch and read the document within ``seconds``, and within the source's own timeout."""
        seconds = min(seconds, self.source.connection.timeout)
        began = time.monotonic()
        labels, kind = self.source.labels, self.source.kind
        reason: SourceReason | None = None
        words = ""
        try:
            async with asyncio.timeout(seconds):
                body = await (await self._opened()).get()
                read = await _reader(kind)
                if len(body) < _OFF_LOOP_BYTES:
                    families = read(self.source, body)
                else:
                    families = await asyncio.to_thread(read, self.source, body)
        except Exception as error:
            known = reason_of(error)
            reason, words = (known, in_words(error, seconds)) if known else ("internal", _place(error))
            self.errors[reason] += 1
            families = _without(kind, labels)
        self._mention(reason, words)
        return Scrape(self.source, families, reason, words, time.monotonic() - began)

    async def _opened(self) -> "Client":
        """Return the client. Raises LateImportError, SourceError."""
        if self._client is None:
            module = await _load(_CLIENT)
            self._client = self._client or module.Client(self.source, self._body_cap)  # another fetch may be faster
        if self._closed:
            raise SourceError("connection", "the collector asks no more")
        assert self._client is not None
        return self._client

    async def close(self) -> None:
        """Close for good: a fetch that begins later, or is under way, fails."""
        self._closed = True
        if self._client is not None:
            await self._client.close()

    def _mention(self, reason: SourceReason | None, words: str) -> None:
        """Log one line for each change."""
        if reason == self._reported:
            return
        self._reported = reason
        labels = {"source": self.source.kind, **self.source.labels}
        if reason is None:
            say(logging.INFO, "a source answers again", **labels)
        else:
            say(logging.WARNING, "cannot read a source", **labels, why=reason, error=words)


async def gather(fetchers: Sequence[Fetcher], seconds: float) -> list[Scrape]:
    """Fetch all sources at the same time; each answers within ``seconds``."""
    return list(await asyncio.gather(*(fetcher.fetch(seconds) for fetcher in fetchers)))
