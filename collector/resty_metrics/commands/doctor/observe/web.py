"""HTTP: the page, readiness, the sources. Bounded in time and size; a source is fetched as the collector fetches it."""

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import aiohttp

from resty_metrics.commands.doctor.page import Answer
from resty_metrics.config.values import ListenAddress, UnixAddress
from resty_metrics.sources.fetch import Fetcher, Scrape
from resty_metrics.sources.source import Source

# The header of a scrape would make us a scraper. Without it the collector gives its sources 5 s.
SECONDS = 5.0
SOURCE_SECONDS = 4.0
MAX_BYTES = 256 * 1024 * 1024
Scheme = Literal["http", "https"]
_CERTIFICATE_ALERTS = (
    "TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_BAD_CERTIFICATE", "SSLV3_ALERT_HANDSHAKE_FAILURE"
)  # fmt: skip


def base(address: ListenAddress, scheme: Scheme = "http") -> str:
    """Return the URL by which a client on this machine reaches the address."""
    return f"{scheme}://{'localhost' if isinstance(address, UnixAddress) else address.near}"


async def get(address: ListenAddress, path: str, secured: bool = False) -> Answer:
    """Send one request, by TLS too where the server speaks that. Faults of the network never raise an error.

    ``secured``: there is a web configuration file, so TLS is likely. No certificate is checked: nothing secret is sent.
    """
    if isinstance(address, UnixAddress):  # aiohttp has no TLS there
        answer = await _get(address, path, "http")
        return answer if not isinstance(answer, _OtherScheme) else await _by_hand(address.path, answer.answer)
    schemes: tuple[Scheme, Scheme] = ("https", "http") if secured else ("http", "https")
    first = await _get(address, path, schemes[0])
    if not isinstance(first, _OtherScheme):
        return first
    second = await _get(address, path, schemes[1])
    return second if not isinstance(second, _OtherScheme) else first.answer


@dataclass(frozen=True, slots=True)
class _OtherScheme:
    """Perhaps the other scheme is spoken there; ``answer``: if not."""

    answer: Answer


async def _get(address: ListenAddress, path: str, scheme: Scheme) -> Answer | _OtherScheme:
    origin = base(address, scheme)
    shown = f"unix:{address.path}:{path}" if isinstance(address, UnixAddress) else f"{origin}{path}"
    connector = aiohttp.UnixConnector(str(address.path)) if isinstance(address, UnixAddress) else None
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=SECONDS),
                headers={"User-Agent": "resty-metrics"},
            ) as client,
            client.get(f"{origin}{path}", allow_redirects=False, ssl=_unverified()) as response,
        ):
            body = await _read(response)
            if response.status == 401:
                return Answer(shown, "", None, "a user and a password")
            error = None if response.status == 200 else f"HTTP status {response.status}"
            answer = Answer(shown, body.decode("utf-8", "replace"), error)
            return _OtherScheme(answer) if response.status == 400 else answer
    except TimeoutError:
        return Answer(shown, "", f"no answer within {SECONDS:g} s")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        if _wants_certificate(error) or (scheme == "https" and _hung_up(error)):
            return Answer(shown, "", None, "a client certificate")
        answer = Answer(shown, "", _words(error))
        return answer if _is_nobody(error) else _OtherScheme(answer)


async def _by_hand(path: Path, otherwise: Answer) -> Answer:
    """Return an answer that says whether TLS is spoken at a Unix socket; ``otherwise`` if it is not."""
    try:
        async with asyncio.timeout(SECONDS):
            _, writer = await asyncio.open_unix_connection(path, ssl=_unverified(), server_hostname="localhost")
            writer.close()
            with suppress(OSError):  # the demand for a certificate may come now
                await writer.wait_closed()
    except (OSError, TimeoutError) as error:
        return Answer(otherwise.url, "", None, "a client certificate") if _wants_certificate(error) else otherwise
    return Answer(otherwise.url, "", None, "TLS on its Unix socket, which doctor does not support")


def _words(error: Exception) -> str:
    """Describe an error: the system's words about a connection, without aiohttp's settings."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"Cannot connect: {error.os_error.strerror or error.os_error}"
    return str(error) or type(error).__name__


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _wants_certificate(error: BaseException | None) -> bool:
    """Return whether the server wants a certificate. TLS 1.3 tells that at the first read, TLS 1.2 in the handshake."""
    while error is not None:
        if getattr(error, "reason", None) in _CERTIFICATE_ALERTS:
            return True
        error = getattr(error, "os_error", None) or error.__cause__
    return False


def _hung_up(error: BaseException) -> bool:
    """Return whether the server closed the connection after the handshake.

    The alert with the reason may be lost with it.
    """
    return isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError) and not isinstance(
        error, aiohttp.ClientConnectorError
    )


def _is_nobody(error: BaseException) -> bool:
    return isinstance(error, aiohttp.ClientConnectorError) and isinstance(
        error.os_error, ConnectionRefusedError | FileNotFoundError
    )


async def _read(response: aiohttp.ClientResponse) -> bytes:
    pieces, size = [], 0
    async for piece in response.content.iter_chunked(256 * 1024):
        size += len(piece)
        if size > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        pieces.append(piece)
    return b"".join(pieces)


async def fetch(source: Source) -> Scrape:
    """Fetch one source, with a client of its own."""
    fetcher = Fetcher(source)
    try:
        return await fetcher.fetch(SOURCE_SECONDS)
    finally:
        await fetcher.close()


async def fetch_all(sources: Sequence[Source]) -> list[Scrape]:
    return list(await asyncio.gather(*map(fetch, sources)))
