"""HTTP by aiohttp: the page, health, readiness, and the live page."""

import asyncio
import logging
import math
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol

from aiohttp import hdrs, web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from collector.live.render import FILES, HEADERS
from collector.log import say
from collector.settings import ListenAddress, TcpAddress, UnixAddress
from collector.table.scrapers import Scraper, identify
from collector.web.bodies import Body
from collector.web.connection import Connection
from collector.web.door import BACKLOG, Door
from collector.web.front import Front
from collector.web.headers import choose_encoding, choose_format
from collector.web.limits import Limits
from collector.web.live import read_files
from collector.web.policy import Access, Policy
from collector.web.tally import Tally
from collector.web.waiting import BusyError, Request

CONTENT_TYPE_OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TIMEOUT_HEADER = "X-Prometheus-Scrape-Timeout-Seconds"
SLICES_A_TURN = 4
TIMEOUT_RESERVE_SECONDS = 0.5  # of a scrape's own timeout, left for the page itself
_LEAST_TIMEOUT_SECONDS = 0.1


class PageSource(Protocol):
    """What the server needs of the rest."""

    async def page(self, request: Request) -> Body: ...


class LivePage(Protocol):
    """The page for people."""

    async def html(self) -> str: ...


class Degradation(Protocol):
    """Says in words what does not work; empty if all does."""

    def __call__(self) -> list[str]: ...


def _source_timeout(request: web.Request) -> float:
    """Seconds for the sources: below the scrape's own timeout, so that the page still arrives; no limit without one."""
    try:
        announced = float(request.headers[TIMEOUT_HEADER])
    except (KeyError, ValueError):
        return math.inf
    if not announced > 0:
        return math.inf
    return max(_LEAST_TIMEOUT_SECONDS, announced - TIMEOUT_RESERVE_SECONDS)


def read_request(request: web.Request) -> Request:
    """Return what a client wants, from its headers. Raises HTTPNotAcceptable."""
    scraper = None
    if TIMEOUT_HEADER in request.headers:
        scraper = identify(request.remote or "", request.headers.get("User-Agent", ""))
    page_format = choose_format(",".join(request.headers.getall("Accept", [])))
    encoding = choose_encoding(",".join(request.headers.getall("Accept-Encoding", [])))
    if page_format is None or encoding is None:
        raise web.HTTPNotAcceptable(text="the page is text/plain or application/openmetrics-text, as it is or gzip\n")
    return Request(scraper, page_format == "openmetrics", encoding == "gzip", _source_timeout(request))


def _cut(request: web.Request) -> None:
    """Close a connection whose client takes too long to read its page."""
    if isinstance(request.protocol, Connection):
        request.protocol.cut("evicted")
    elif request.transport is not None:
        request.transport.abort()


async def send(
    request: web.Request, body: Body, scraper: Scraper | None, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Send a page slice by slice: each waits until the client has taken those before it.

    The page is let go of here, and not with the response, which aiohttp keeps until the connection's next request.
    """
    response = web.StreamResponse(headers=headers)
    response.content_length = body.size
    with body.reading(scraper, partial(_cut, request)), suppress(ConnectionError):
        await response.prepare(request)
        if request.method != hdrs.METH_HEAD:
            for number, piece in enumerate(body.slices()):
                await response.write(piece)
                await request.writer.drain()
                if number % SLICES_A_TURN == 0:
                    await asyncio.sleep(0)  # a hundred clients that take megabytes each would hold the loop for seconds
        await response.write_eof()
    return response


def application(
    pages: PageSource,
    degradation: Degradation,
    telemetry_path: str,
    front: Front | None = None,
    live: LivePage | None = None,
) -> web.Application:
    """The web application. ``front`` None: open to everybody; ``live`` None: nothing for people."""
    front = front or Front(Policy(Access(), tally := Tally(time.time())), tally, Limits())

    async def metrics(request: web.Request) -> web.StreamResponse:
        wanted = read_request(request)
        async with front.scrape(request) as refusal:
            body = refusal or await page(request, wanted)
        if isinstance(body, web.Response):
            return body
        headers = {
            "Content-Type": CONTENT_TYPE_OPENMETRICS if wanted.openmetrics else CONTENT_TYPE_PLAIN_0_0_4,
            "Vary": "Accept, Accept-Encoding",
        }
        if wanted.compressed:
            headers["Content-Encoding"] = "gzip"
        return await send(request, body, wanted.scraper, headers)

    async def page(request: web.Request, wanted: Request) -> Body | web.Response:
        try:
            return await pages.page(wanted)
        except BusyError:
            return front.refuse_busy(request, "too many pages are asked for, or are not read: try again later")
        except Exception:
            logging.getLogger("resty-metrics").exception("the page could not be rendered, please report this")
            return web.Response(status=500, text="the page could not be rendered; see the collector's log\n")

    async def healthy(_: web.Request) -> web.Response:
        return web.Response(text="resty-metrics is healthy\n")

    async def ready(_: web.Request) -> web.Response:
        faults = degradation()
        return web.Response(text="".join(f"{line}\n" for line in ["resty-metrics is ready", *faults]))

    async def reload(_: web.Request) -> web.Response:
        if front.reload is None:
            return web.Response(status=403, text="start with --web.enable-lifecycle to reload by HTTP\n")
        problems = await front.reload()
        if problems:
            text = "".join(f"{line}\n" for line in ["refused, the old configuration goes on:", *problems])
            return web.Response(status=500, text=text)
        return web.Response(text="the configuration was read again\n")

    async def people(live: LivePage, _: web.Request) -> web.Response:
        response = web.Response(text=await live.html(), content_type="text/html", headers=HEADERS)
        response.enable_compression()
        return response

    async def file(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in files:
            raise web.HTTPNotFound
        headers = {"Cache-Control": "max-age=60", "X-Content-Type-Options": "nosniff"}
        return web.Response(body=files[name], content_type=FILES[name], charset="utf-8", headers=headers)

    files = read_files()
    app = web.Application(middlewares=[front.middleware])
    app.on_response_prepare.append(front.add_headers)
    if live is not None:
        app.router.add_get("/", partial(people, live))
        app.router.add_get("/-/live/{name}", file)
    app.router.add_get("/-/healthy", healthy)
    app.router.add_get("/-/ready", ready)
    app.router.add_get(telemetry_path, metrics)
    for add in (app.router.add_post, app.router.add_put):
        add("/-/reload", reload)
    return app


def bind_all(addresses: Sequence[ListenAddress]) -> list[socket.socket]:
    """All or none. Raises OSError, as ``bind``."""
    bound: list[tuple[ListenAddress, socket.socket]] = []
    try:
        for address in addresses:
            bound.append((address, bind(address)))
    except OSError:
        for address, sock in bound:
            sock.close()
            if isinstance(address, UnixAddress):
                with suppress(OSError):
                    address.path.unlink()
        raise
    return [sock for _, sock in bound]


def bind(address: ListenAddress) -> socket.socket:
    """A socket that listens: one that is only bound does not keep the port from others, not even from ourselves.

    Nobody is taken in before the server starts. Raises OSError, which names the flag to change.
    """
    try:
        return _bind_unix(address.path) if isinstance(address, UnixAddress) else _bind_tcp(address)
    except OSError as error:
        name = str(address.path) if isinstance(address, UnixAddress) else f"{address.host or ''}:{address.port}"
        raise OSError(error.errno, f"{error.strerror}: choose another --web.listen-address", name) from None


def _bind_unix(path: Path) -> socket.socket:
    """As open as a TCP address is: nginx's workers, another user, may serve the page. Its directory can guard it."""
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(path))
        path.chmod(0o666)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _bind_tcp(address: TcpAddress) -> socket.socket:
    if address.host is None and socket.has_dualstack_ipv6():
        return _bind_name(("::", address.port, 0, 0), socket.AF_INET6, dualstack=True)
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, name = found[0]
    return _bind_name(name, family)


def _bind_name(name: tuple[object, ...], family: int, dualstack: bool = False) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not dualstack))
        sock.bind(name)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _remove_stale(path: Path) -> None:
    """A unix socket that nobody listens on is a leftover. Anything else at the path is not touched: bind will say so.

    A file that is no socket refuses a connection too; one that is full of them must not keep us waiting.
    """
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError:
            return


class Server:
    """What serves an application on sockets that listen, from ``start`` on."""

    def __init__(self, app: web.Application, front: Front) -> None:
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        self._front = front
        self._door: Door | None = None

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Serve."""
        await self._runner.setup()
        assert self._runner.server is not None
        policy = self._front.policy
        self._door = Door(self._runner.server, lambda: policy.current.tls, self._front.limits, self._front.tally)
        self._door.open(sockets)
        scheme = "http" if policy.current.tls is None else "https"
        say(logging.INFO, "serving", address=", ".join(_text(scheme, sock.getsockname()) for sock in sockets))

    async def close(self) -> None:
        """Answer what is under way, and end."""
        if self._door is not None:
            self._door.close()
        await self._runner.cleanup()
        if self._door is not None:
            self._door.clear()


def _text(scheme: str, bound: object) -> str:
    if not isinstance(bound, tuple):
        return f"unix:{bound}"
    host, port = bound[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in str(host) else f"{scheme}://{host}:{port}"
