"""The HTTP server, by aiohttp: the page, health, readiness, and the live page."""

import asyncio
import logging
import math
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol

from aiohttp import hdrs, web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from resty_metrics.live import runbook
from resty_metrics.live.assets import FILES, HEADERS, read_files, read_runbook
from resty_metrics.page.bodies import Body
from resty_metrics.page.waiting import BusyError, Request
from resty_metrics.process.late import LateImportError
from resty_metrics.process.log import say
from resty_metrics.table.scrapers import Scraper, identify
from resty_metrics.web import library
from resty_metrics.web.connection import Connection
from resty_metrics.web.door import Door
from resty_metrics.web.front import Front
from resty_metrics.web.headers import choose_encoding, choose_format
from resty_metrics.web.limits import Limits
from resty_metrics.web.policy import Access, Policy
from resty_metrics.web.tally import Tally

CONTENT_TYPE_OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TIMEOUT_HEADER = "X-Prometheus-Scrape-Timeout-Seconds"
SLICES_A_TURN = 4
TIMEOUT_RESERVE_SECONDS = 0.5  # of a scrape's own timeout, left for the page itself
_LEAST_TIMEOUT_SECONDS = 0.1
_ANY_HOST = ("0.0.0.0", "::")


class PageSource(Protocol):
    """The maker of the page."""

    async def page(self, request: Request) -> Body: ...


class LivePage(Protocol):
    """The maker of the page for people."""

    async def html(self) -> str: ...


class Degradation(Protocol):
    """A function that returns in words what does not work; an empty list if everything does."""

    def __call__(self) -> list[str]: ...


def _source_timeout(request: web.Request) -> float:
    """Return the seconds that the sources have; infinity if the scrape announces no timeout of its own.

    They have less than the scrape, so that the page still arrives.
    """
    try:
        announced = float(request.headers[TIMEOUT_HEADER])
    except (KeyError, ValueError):
        return math.inf
    if not announced > 0:
        return math.inf
    return max(_LEAST_TIMEOUT_SECONDS, announced - TIMEOUT_RESERVE_SECONDS)


def read_request(request: web.Request) -> Request:
    """Return the request for a page that a client's headers make. Raises HTTPNotAcceptable."""
    scraper = None
    if TIMEOUT_HEADER in request.headers:
        scraper = identify(request.remote or "", request.headers.get("User-Agent", ""))
    page_format = choose_format(",".join(request.headers.getall("Accept", [])))
    encoding = choose_encoding(",".join(request.headers.getall("Accept-Encoding", [])))
    if page_format is None or encoding is None:
        raise web.HTTPNotAcceptable(text="the page is text/plain or application/openmetrics-text, plain or gzip\n")
    return Request(scraper, page_format == "openmetrics", encoding == "gzip", _source_timeout(request))


def _cut(request: web.Request) -> None:
    """Close a connection whose client takes too long to read its page."""
    if isinstance(request.protocol, Connection):
        request.protocol.cut("evicted")
    elif request.transport is not None:
        request.transport.abort()


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    if isinstance(request.protocol, Connection):
        request.protocol.add_headers(response)


async def send(
    request: web.Request, body: Body, scraper: Scraper | None, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Send a page slice by slice: each waits until the client has taken those before it.

    The page is released here, and not with the response, which aiohttp keeps until the connection's next request.
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
    """Return the web application. ``front`` None: open to everybody; ``live`` None: no page for people."""
    front = front or Front(Policy(Access(), tally := Tally(time.time())), tally, Limits())

    async def metrics(request: web.Request) -> web.StreamResponse:
        order = read_request(request)
        async with front.scrape(request) as refusal:
            body = refusal or await page(request, order)
        if isinstance(body, web.Response):
            return body
        headers = {
            "Content-Type": CONTENT_TYPE_OPENMETRICS if order.openmetrics else CONTENT_TYPE_PLAIN_0_0_4,
            "Vary": "Accept, Accept-Encoding",
        }
        if order.compressed:
            headers["Content-Encoding"] = "gzip"
        return await send(request, body, order.scraper, headers)

    async def page(request: web.Request, order: Request) -> Body | web.Response:
        try:
            return await pages.page(order)
        except BusyError:
            return front.refuse_busy(request, "too many pages are requested at once, or not read. Try again later")
        except Exception as error:
            words = "cannot render the page because of a bug, please report it"
            say(logging.ERROR, words, error, per=type(error).__name__)
            return web.Response(status=500, text="the page cannot be rendered. See the collector's log\n")

    async def healthy(_: web.Request) -> web.Response:
        return web.Response(text="resty-metrics is healthy\n")

    async def ready(_: web.Request) -> web.Response:
        faults = degradation()
        return web.Response(text="".join(f"{line}\n" for line in ["resty-metrics is ready", *faults]))

    async def reload(request: web.Request) -> web.Response:
        if front.reload is None:
            return web.Response(status=403, text="reload by HTTP is off: start with --web.enable-lifecycle\n")
        refusal = front.foreign(request)
        if refusal is not None:
            return refusal
        problems = await front.reload()
        if problems:
            heading = "the new configuration is invalid, the old one stays in force:"
            return web.Response(status=500, text="".join(f"{line}\n" for line in [heading, *problems]))
        return web.Response(text="configuration reloaded\n")

    async def people(live: LivePage, request: web.Request) -> web.Response:
        try:
            html = await live.html()
        except LateImportError as error:
            return front.refuse_failed(request, f"cannot make the live page: {error}")
        response = web.Response(text=html, content_type="text/html", headers=HEADERS)
        response.enable_compression()
        return response

    async def instructions(_: web.Request) -> web.Response:
        try:
            text = runbook.page(await asyncio.to_thread(read_runbook))
        except OSError as error:
            raise web.HTTPNotFound(text=f"the runbook is not installed: {error.strerror}\n") from None
        return web.Response(text=text, content_type="text/html", headers=HEADERS)

    async def file(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in files:
            raise web.HTTPNotFound
        headers = {"Cache-Control": "max-age=60", "X-Content-Type-Options": "nosniff"}
        return web.Response(body=files[name], content_type=FILES[name], charset="utf-8", headers=headers)

    files = read_files()
    app = web.Application()
    app.on_response_prepare.append(_add_headers)
    if live is not None:
        app.router.add_get("/", partial(people, live))
        app.router.add_get("/-/live/{name}", file)
        app.router.add_get(runbook.PATH, instructions)
    app.router.add_get("/-/healthy", healthy)
    app.router.add_get("/-/ready", ready)
    app.router.add_get(telemetry_path, metrics)
    for add in (app.router.add_post, app.router.add_put):
        add("/-/reload", reload)
    return app


class Server:
    """A server of an application, from ``start`` on. ``cost``: see ``Door``."""

    def __init__(self, app: web.Application, front: Front, cost: Callable[[int], None]) -> None:
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        self._front = front
        self._cost = cost
        self._door: Door | None = None

    async def start(self, sockets: Sequence[socket.socket]) -> list[str]:
        """Serve the application on sockets that listen. Return the addresses, as a client on this machine has them."""
        library.take_over(asyncio.get_running_loop())
        await self._runner.setup()
        server, policy = self._runner.server, self._front.policy
        assert server is not None
        self._front.take_over(server)
        self._door = Door(
            server,
            lambda: policy.current.tls,
            lambda: policy.current.headers,
            self._front.limits,
            self._front.tally,
            self._cost,
        )
        self._door.open(sockets)
        scheme = "http" if policy.current.tls is None else "https"
        addresses = [address_of(scheme, sock.getsockname()) for sock in sockets]
        say(logging.INFO, "serving", address=", ".join(addresses))
        return addresses

    async def close(self) -> None:
        """Answer the requests under way, then close all connections."""
        if self._door is not None:
            self._door.close()
        await self._runner.cleanup()
        if self._door is not None:
            self._door.clear()


def address_of(scheme: str, bound: object) -> str:
    """Return the address of a socket for clients on this machine: a URL to click, or ``unix:/path``."""
    if not isinstance(bound, tuple):
        return f"unix:{bound}"
    host, port = str(bound[0]), bound[1]
    if host in _ANY_HOST:
        host = "localhost"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
