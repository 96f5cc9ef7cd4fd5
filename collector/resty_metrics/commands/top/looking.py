"""Looking at a page over HTTP, with the client that sources are fetched with.

Rule: faults of the network or of the page raise nothing; they are described in words, and the next look tries again.
"""

import asyncio
import time
from dataclasses import dataclass

from resty_metrics.commands.top import page
from resty_metrics.commands.top.meter import Meter, View
from resty_metrics.commands.top.settings import Endpoint
from resty_metrics.commands.top.tables import total
from resty_metrics.commands.top.warnings import Trouble
from resty_metrics.process.command_line import command
from resty_metrics.sources.client import Client
from resty_metrics.sources.errors import SourceReason
from resty_metrics.sources.fetch import in_words, reason_of

# The header of a scrape would make us a scraper. Without it the collector gives its sources 5 s.
TIMEOUT_SECONDS = 8.0
BODY_CAP = 256 * 1024 * 1024

_REMEDIES: dict[SourceReason, str] = {
    "tls": "set --tls.ca-file to the authority that signed the certificate, or --tls.server-name to the name in it",
    "credentials": "check that this file exists and can be read",
}
_USER = "give --basic-auth.username and --basic-auth.password-file"


@dataclass(frozen=True, slots=True)
class Look:
    """The outcome of a look. ``view`` None: the page could not be read, and ``error`` gives the reason."""

    view: View | None
    error: Trouble | None


class Looker:
    """A client that looks at one page again and again."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._client = Client(endpoint, BODY_CAP)
        self._socket_path = endpoint.socket_path
        self._meter = Meter()

    async def look(self) -> Look:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                body = await self._client.get()
        except Exception as error:
            reason = reason_of(error)
            if reason is None:
                raise
            words = in_words(error, TIMEOUT_SECONDS)
            return Look(None, Trouble(f"cannot read the page: {words}", _remedy(reason, words, self._socket_path)))
        return await asyncio.to_thread(self._read, body, time.monotonic())

    def _read(self, body: bytes, now: float) -> Look:
        try:
            answer = page.read(body.decode("utf-8", "replace"))
        except ValueError as error:
            return Look(None, Trouble(f"the answer {error}", _otherwise(self._socket_path)))
        view = self._meter.look(answer, now)
        total(view)  # computed here, in a thread, and cached
        return Look(view, None)

    async def close(self) -> None:
        await self._client.close()


def _remedy(reason: SourceReason, words: str, socket_path: str | None) -> str:
    return _USER if words.endswith(" 401") else _REMEDIES.get(reason, _otherwise(socket_path))


def _otherwise(socket_path: str | None) -> str:
    """Return the remedy where nothing special is known. ``socket_path`` None: the page was given by its URL."""
    if socket_path is None:
        return "check that the collector runs, and that --url is right"
    return f"check that the collector runs: sudo {command('doctor', socket_path)}"
