"""One run of cost: fetch the page, count, print."""

import asyncio
import sys
from contextlib import suppress
from typing import NoReturn

from resty_metrics.commands.client.endpoint import Endpoint
from resty_metrics.commands.client.fetch import PageClient, UnreadableError, complaint
from resty_metrics.commands.cost import counting, reading, report
from resty_metrics.process.ending import end


def run(endpoint: Endpoint, as_json: bool, whole: bool) -> NoReturn:
    """Print the cost of the page's labels. Exit status 1 where the page cannot be read."""
    client = PageClient(endpoint)
    body = asyncio.run(_fetch(client, endpoint))
    try:
        costs = counting.count(reading.read(body))
    except ValueError as error:
        _fail(endpoint, client.not_a_page(error))
    shown = report.as_json(costs, endpoint.shown) if as_json else report.as_text(costs, endpoint.shown, whole)
    with suppress(OSError):  # the reader has gone
        sys.stdout.write(shown)
    end(0)


async def _fetch(client: PageClient, endpoint: Endpoint) -> bytes:
    try:
        return await client.get()
    except UnreadableError as error:
        _fail(endpoint, error)  # within the loop, which would otherwise wait for a thread that resolves a name
    finally:
        await client.close()


def _fail(endpoint: Endpoint, error: UnreadableError) -> NoReturn:
    sys.stderr.write(complaint(endpoint, error.evidence, error.remedy))
    end(1)
