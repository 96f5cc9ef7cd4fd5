"""Looking at a page again and again.

Rule: faults of the network or of the page raise nothing; they are described in words, and the next look tries again.
"""

import asyncio
import time
from dataclasses import dataclass

from resty_metrics.commands.client.endpoint import Endpoint
from resty_metrics.commands.client.fetch import PageClient, UnreadableError
from resty_metrics.commands.top import page
from resty_metrics.commands.top.meter import Meter, View
from resty_metrics.commands.top.tables import total
from resty_metrics.commands.top.warnings import Trouble


@dataclass(frozen=True, slots=True)
class Look:
    """The outcome of a look. ``view`` None: the page could not be read, and ``error`` gives the reason."""

    view: View | None
    error: Trouble | None


class Looker:
    """A client that looks at one page again and again."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._client = PageClient(endpoint)
        self._meter = Meter()

    async def look(self) -> Look:
        try:
            body = await self._client.get()
            return await asyncio.to_thread(self._read, body, time.monotonic())
        except UnreadableError as error:
            return Look(None, Trouble(error.evidence, error.remedy))

    def _read(self, body: bytes, now: float) -> Look:
        try:
            answer = page.read(body.decode("utf-8", "replace"))
        except ValueError as error:
            raise self._client.not_a_page(error) from None
        view = self._meter.look(answer, now)
        total(view)  # computed here, in a thread, and cached
        return Look(view, None)

    async def close(self) -> None:
        await self._client.close()
