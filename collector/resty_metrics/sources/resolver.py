"""Names to addresses, each in a thread of its own."""

import socket
from collections.abc import Sequence
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from resty_metrics.sources import threads


class ThreadResolver(AbstractResolver):
    """A resolver that asks the system. The client makes one look-up at a time for each name."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses. Raises OSError (socket.gaierror) where there are none."""

        def look_up() -> Sequence[tuple[Any, ...]]:
            try:
                return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
            except UnicodeError as error:
                raise OSError(None, str(error)) from None

        return [_result(host, *entry) for entry in await threads.call("resolver", look_up)]

    async def close(self) -> None:
        """Do nothing: nothing is open."""


def _result(host: str, family: int, _: int, protocol: int, __: str, address: tuple[Any, ...]) -> ResolveResult:
    """Build a result. The text of a link-local IPv6 address has its scope."""
    text = address[0]
    if family == socket.AF_INET6 and len(address) > 3 and address[3]:
        text, _port = socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
    return ResolveResult(
        hostname=host, host=text, port=address[1], family=family, proto=protocol, flags=socket.AI_NUMERICHOST
    )
