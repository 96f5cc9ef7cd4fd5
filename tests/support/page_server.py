"""The page's server in this process, with limits that a test can wait for, and pages that a test lets go."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvloop
from resty_metrics.config.values import ListenAddress, TcpAddress
from resty_metrics.page.bodies import Body
from resty_metrics.page.waiting import Request
from resty_metrics.web import listening, server
from resty_metrics.web.front import Front
from resty_metrics.web.limits import Limits
from resty_metrics.web.policy import Access, Policy
from resty_metrics.web.tally import Tally

ANYWHERE = TcpAddress("127.0.0.1", 0)


class Held:
    """Pages that come when they are let go."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.asked = 0
        self.body = b"page\n"
        self._loop = loop
        self._free = asyncio.Event()

    async def page(self, _: Request) -> Body:
        self.asked += 1
        await self._free.wait()
        return Body([self.body])

    def let_go(self) -> None:
        self._loop.call_soon_threadsafe(self._free.set)


@dataclass
class Running:
    """A server that runs; ``address``: of a socket of TCP, or a path."""

    address: tuple[str, int] | str
    tally: Tally
    limits: Limits
    pages: Held
    front: Front

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET)
        client.settimeout(20)
        client.connect(self.address)
        return client

    def ask(self, path: str = "/-/healthy") -> socket.socket:
        client = self.connect()
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return client


@contextmanager
def serving(access: Access, limits: Limits, at: ListenAddress = ANYWHERE) -> Iterator[Running]:
    """Serve in a thread, on a loop of its own."""
    loop = uvloop.new_event_loop()
    tally, pages = Tally(0.0), Held(loop)
    (bound,) = listening.bind(at)
    address = bound.getsockname()
    front = Front(Policy(access, tally), tally, limits)
    ends, listens = asyncio.Event(), threading.Event()

    async def serve() -> None:
        serving = server.Server(server.application(pages, list, "/metrics", front), front, lambda _: None)
        await serving.start([bound])
        listens.set()
        await ends.wait()
        pages.let_go()
        await serving.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert listens.wait(20)
        yield Running(address, tally, limits, pages, front)
    finally:
        loop.call_soon_threadsafe(ends.set)
        thread.join()
        loop.close()


def status(client: socket.socket) -> int:
    """Return that of the answer; 0: there is none."""
    try:
        answer = client.recv(65536)
    except ConnectionError:
        return 0
    return int(answer.split()[1]) if answer else 0


def ended(client: socket.socket) -> bool:
    """Read to the end, which comes."""
    client.settimeout(20)
    try:
        while client.recv(1 << 20):
            pass
    except ConnectionError:
        pass
    client.close()
    return True
