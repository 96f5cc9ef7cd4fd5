"""HTTP by aiohttp: the page, health, readiness, and a landing page."""

import logging
import math
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Protocol

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder, gzip_accepted

from collector import __version__
from collector.log import say
from collector.settings import ListenAddress, TcpAddress, UnixAddress
from collector.web.door import BACKLOG, Door
from collector.web.front import Front
from collector.web.limits import Limits
from collector.web.policy import Access, Policy
from collector.web.scrape import Request
from collector.web.tally import Tally

CONTENT_TYPE_OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TIMEOUT_HEADER = "X-Prometheus-Scrape-Timeout-Seconds"
TIMEOUT_RESERVE_SECONDS = 0.5  # of a scrape's own timeout, left for the page itself
_LEAST_TIMEOUT_SECONDS = 0.1

_LANDING = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>resty-metrics</title><meta name="viewport" content="width=device-width"></head>
<body>
<h1>resty-metrics {version}</h1>
<p>Request metrics of nginx and OpenResty, stub_status and vts, on one Prometheus page.</p>
<ul>
<li><a href="{path}">{path}</a>: the page</li>
<li><a href="/-/healthy">/-/healthy</a>: the process runs</li>
<li><a href="/-/ready">/-/ready</a>: the page can be served, and what is degraded</li>
</ul>
</body>
</html>
"""


class PageSource(Protocol):
    """What the server needs of the rest."""

    async def page(self, request: Request) -> list[bytes]: ...


class Pieces(Payload):
    """A body that is written piece by piece: each waits until the client has taken most of those before it."""

    def __init__(self, pieces: list[bytes]) -> None:
        super().__init__(pieces)
        self._size = sum(map(len, pieces))

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return b"".join(self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        for piece in self._value:
            await writer.write(piece)


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


def _takes_openmetrics(accept: str) -> bool:
    """An Accept header that cannot be read asks for nothing."""
    try:
        return "openmetrics" in choose_encoder(accept)[1]
    except (TypeError, ValueError):  # a version that is no number
        return False


def read_request(request: web.Request) -> Request:
    """What a client wants, from its headers."""
    scraper = None
    if TIMEOUT_HEADER in request.headers:
        scraper = (request.remote or "", request.headers.get("User-Agent", ""))
    openmetrics = _takes_openmetrics(",".join(request.headers.getall("Accept", [])))
    compressed = gzip_accepted(",".join(request.headers.getall("Accept-Encoding", [])))
    return Request(scraper, openmetrics, compressed, _source_timeout(request))


def application(
    pages: PageSource, degradation: Degradation, telemetry_path: str, front: Front | None = None
) -> web.Application:
    """The web application. ``front`` None: open to everybody."""
    front = front or Front(Policy(Access(), tally := Tally(time.time())), tally, Limits())

    async def metrics(request: web.Request) -> web.Response:
        async with front.scrape(request) as refusal:
            return refusal or await page(request)

    async def page(request: web.Request) -> web.Response:
        wanted = read_request(request)
        try:
            body = await pages.page(wanted)
        except Exception:
            logging.getLogger("resty-metrics").exception("the page could not be rendered, please report this")
            return web.Response(status=500, text="the page could not be rendered; see the collector's log\n")
        headers = {
            "Content-Type": CONTENT_TYPE_OPENMETRICS if wanted.openmetrics else CONTENT_TYPE_PLAIN_0_0_4,
            "Vary": "Accept, Accept-Encoding",
        }
        if wanted.compressed:
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=Pieces(body), headers=headers)

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

    async def landing(_: web.Request) -> web.Response:
        text = _LANDING.format(version=escape(__version__), path=escape(telemetry_path))
        return web.Response(text=text, content_type="text/html")

    app = web.Application(middlewares=[front.middleware])
    app.on_response_prepare.append(front.add_headers)
    app.router.add_get("/", landing)
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
