"""The HTTP client of one source: kept alive, bounded in size, with credentials from files as they are now.

Rules:
- Redirects are not followed; only status 200 is an answer. Neither proxies nor .netrc are used.
- Nothing is decompressed: a few bytes may become gigabytes.
- A password or token is read for each request; certificates and keys are loaded again when their files change. A thread
  does this, one at a time: if a file system does not answer, the loop goes on, and no further threads pile up.
"""

import asyncio
import ssl
from typing import Protocol

import aiohttp

from resty_metrics.process.files import Stamp
from resty_metrics.sources import credentials, threads
from resty_metrics.sources.errors import SourceError
from resty_metrics.sources.resolver import ThreadResolver
from resty_metrics.sources.source import Connection, Tls

Shown = tuple[str | None, ssl.SSLContext | bool]  # the Authorization header, and the verification of the server

KEPT_SECONDS = 120.0  # longer than the usual interval of scrapes, and than nginx's keepalive_timeout
_PIECE = 256 * 1024


class Address(Protocol):
    """A source's address, as its client needs it.

    ``unix_path``: the socket; None where the source is reached by TCP.
    """

    @property
    def url(self) -> str: ...

    @property
    def unix_path(self) -> str | None: ...

    @property
    def connection(self) -> Connection: ...


class Client:
    """``body_cap``: bytes of a document."""

    def __init__(self, source: Address, body_cap: int) -> None:
        self._source = source
        self._body_cap = body_cap
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._context: ssl.SSLContext | bool = True
        self._stamps: tuple[Stamp, ...] | None = None
        self._reading: asyncio.Task[Shown] | None = None

    async def get(self) -> bytes:
        """Fetch the document. Raises SourceError, and the errors of the network: aiohttp.ClientError, OSError."""
        try:
            return await self._get()
        except (aiohttp.ClientError, OSError):
            raise
        except ValueError as error:  # aiohttp's, about bytes that the server sent
            raise SourceError("connection", type(error).__name__) from error
        except RuntimeError as error:  # the session was closed in the meantime
            if not self._closed:
                raise
            raise SourceError("connection", "the collector asks no more") from error

    async def _get(self) -> bytes:
        if self._closed:
            raise SourceError("connection", "the collector asks no more")
        connection = self._source.connection
        headers = {} if connection.host is None else {"Host": connection.host}
        authorization, trust = await self._shown(connection)
        if authorization is not None:
            headers["Authorization"] = authorization
        request = self._opened().get(
            self._source.url,
            headers=headers,
            allow_redirects=False,
            ssl=trust,
            server_hostname=connection.tls.server_name,
        )
        async with request as response:
            if response.status != 200:
                raise SourceError("status", f"HTTP status {response.status}")
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise SourceError("parse", "compressed, which was not asked for")
            pieces, size = [], 0
            async for piece in response.content.iter_chunked(_PIECE):
                size += len(piece)
                if size > self._body_cap:
                    raise SourceError("too_large", f"more than {self._body_cap} bytes")
                pieces.append(piece)
            return b"".join(pieces)

    async def close(self) -> None:
        """Close for good: each later request gets a SourceError (``connection``)."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    @property
    def _by_tls(self) -> bool:
        return self._source.url.lower().startswith("https:")

    async def _shown(self, connection: Connection) -> Shown:
        if not connection.files and not self._by_tls:
            return None, True
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(threads.call("credentials", self._read))
        return await asyncio.shield(self._reading)

    def _read(self) -> Shown:
        """Read the files as they are now. Runs in a thread. Raises SourceError (``credentials``)."""
        connection = self._source.connection
        return credentials.authorization(connection), self._trust(connection.tls)

    def _trust(self, tls: Tls) -> ssl.SSLContext | bool:
        """Return the TLS context, new if a file changed.

        A connection that was made with another context is not used again.
        """
        if not self._by_tls:
            return True
        stamps = credentials.stamps(tls)
        if stamps != self._stamps:
            self._context = credentials.context(tls)
            self._stamps = stamps
        return self._context

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            path = self._source.unix_path
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=ThreadResolver(), keepalive_timeout=KEPT_SECONDS)
                if path is None
                else aiohttp.UnixConnector(path, keepalive_timeout=KEPT_SECONDS),
                timeout=aiohttp.ClientTimeout(total=None),
                headers={"User-Agent": "resty-metrics", "Accept-Encoding": "identity"},
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session
