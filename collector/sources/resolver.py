"""Names to addresses, each in a thread of its own.

A name server that does not answer holds neither the loop's few threads, which other sources need for their names, nor
the end of the process.
"""

import asyncio
import socket
import threading
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

Found = list[tuple[Any, ...]]


class ThreadResolver(AbstractResolver):
    """As the system resolves. One look-up at a time for each name, which the client sees to."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses. Raises OSError (socket.gaierror) where there is none."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Found] = loop.create_future()

        def settle(found: Found | OSError | UnicodeError) -> None:
            if future.done():
                return
            if isinstance(found, list):
                future.set_result(found)
            else:
                future.set_exception(OSError(None, str(found)) if isinstance(found, UnicodeError) else found)

        def look_up() -> None:
            found: Found | OSError | UnicodeError
            try:
                found = list(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))
            except (OSError, UnicodeError) as error:
                found = error
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, found)

        threading.Thread(target=look_up, name="resolver", daemon=True).start()
        return [_result(host, *one) for one in await future]

    async def close(self) -> None:
        """Nothing is open."""


def _result(host: str, family: int, _: int, protocol: int, __: str, address: tuple[Any, ...]) -> ResolveResult:
    """``address``: of IPv6 with the scope of a link-local one, which the text has then."""
    text = address[0]
    if family == socket.AF_INET6 and len(address) > 3 and address[3]:
        text, _port = socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
    return ResolveResult(
        hostname=host, host=text, port=address[1], family=family, proto=protocol, flags=socket.AI_NUMERICHOST
    )
