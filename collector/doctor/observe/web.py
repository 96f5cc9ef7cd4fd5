"""HTTP: the page, readiness, the sources. Bounded in time and size; a source is fetched as the collector fetches it."""

import asyncio
from collections.abc import Sequence

import aiohttp

from collector.doctor.page import Answer
from collector.settings import ListenAddress, UnixAddress
from collector.sources.fetch import Fetcher, Scrape
from collector.sources.source import Source

# Without the header of a scrape, which would make a scraper of us, the collector gives its sources 5 s.
SECONDS = 5.0
SOURCE_SECONDS = 4.0
MAX_BYTES = 256 * 1024 * 1024
_ANY = {None: "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


def base(address: ListenAddress) -> str:
    """Where a client on this machine finds what listens there."""
    if isinstance(address, UnixAddress):
        return "http://localhost"
    host = _ANY.get(address.host, address.host)
    return f"http://[{host}]:{address.port}" if ":" in str(host) else f"http://{host}:{address.port}"


async def get(address: ListenAddress, path: str) -> Answer:
    """One request. It never raises for what the network does."""
    shown = f"unix:{address.path}:{path}" if isinstance(address, UnixAddress) else f"{base(address)}{path}"
    connector = aiohttp.UnixConnector(str(address.path)) if isinstance(address, UnixAddress) else None
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector, timeout=timeout, headers={"User-Agent": "resty-metrics"}
            ) as client,
            client.get(f"{base(address)}{path}", allow_redirects=False) as response,
        ):
            body = await _read(response)
            error = None if response.status == 200 else f"HTTP status {response.status}"
            return Answer(shown, body.decode("utf-8", "replace"), error)
    except TimeoutError:
        return Answer(shown, "", f"no answer within {SECONDS:g} s")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Answer(shown, "", str(error) or type(error).__name__)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    pieces, size = [], 0
    async for piece in response.content.iter_chunked(256 * 1024):
        size += len(piece)
        if size > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        pieces.append(piece)
    return b"".join(pieces)


async def fetch(source: Source) -> Scrape:
    """One source, with a client of its own."""
    fetcher = Fetcher(source)
    try:
        return await fetcher.fetch(SOURCE_SECONDS)
    finally:
        await fetcher.close()


async def fetch_all(sources: Sequence[Source]) -> list[Scrape]:
    return list(await asyncio.gather(*map(fetch, sources)))
