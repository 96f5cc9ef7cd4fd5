"""The checks before a request is served: rate limit and authentication for every path, and the limit of scrapes.

Order and meaning follow exporter-toolkit (web/handler.go). The checks come before aiohttp looks up the path. The Expect
header is removed, since aiohttp would answer it first: no body is read, so there is nothing to expect.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from aiohttp import hdrs, web
from aiohttp.http import RawRequestMessage
from multidict import CIMultiDictProxy

from resty_metrics.process import late
from resty_metrics.process.late import LateImportError
from resty_metrics.process.log import say
from resty_metrics.sources import threads
from resty_metrics.web.bucket import Bucket, Rate
from resty_metrics.web.connection import Connection
from resty_metrics.web.limits import Limits, TooManyError
from resty_metrics.web.policy import Access, Policy
from resty_metrics.web.tally import Refused, Tally

if TYPE_CHECKING:
    from resty_metrics.web.users import Checker

Reload = Callable[[], Awaitable[Sequence[str]]]
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_FETCH_SITE, _OWN_SITES = "Sec-Fetch-Site", ("same-origin", "none")


class Front:
    """The checks of one server. ``reload`` reads the configuration and returns its problems; None: not by HTTP."""

    def __init__(self, policy: Policy, tally: Tally, limits: Limits, reload: Reload | None = None) -> None:
        self.policy = policy
        self.tally = tally
        self.limits = limits
        self.reload = reload
        self._checker: Checker | None = None
        self._loading: asyncio.Task[ModuleType] | None = None
        self._bucket: Bucket | None = None
        self._scrapes = 0

    def guard(self, handler: Handler) -> Handler:
        """Return a handler that answers a request which may not pass, and hands every other one to ``handler``."""

        async def pass_or_refuse(request: web.BaseRequest) -> web.StreamResponse:
            if isinstance(request.protocol, Connection):
                request.protocol.begin()
            refusal = await self._refusal(self.policy.current, request)
            return refusal or await handler(request)

        return pass_or_refuse

    def take_over(self, server: web.Server) -> None:
        """Have all requests of a server pass the checks."""
        server.request_handler, make = self.guard(server.request_handler), server.request_factory

        def make_without_expectation(message: RawRequestMessage, *rest: Any) -> web.BaseRequest:
            return make(_without_expectation(message), *rest)

        server.request_factory = make_without_expectation

    def foreign(self, request: web.BaseRequest) -> web.Response | None:
        """Return the refusal of a request that a browser sent for a page of another origin; None for any other."""
        site = request.headers.get(_FETCH_SITE, "none")
        host = request.headers.get(hdrs.HOST, "").lower()
        origins = request.headers.getall(hdrs.ORIGIN, [])
        if site in _OWN_SITES and all(origin.lower().partition("://")[2] == host for origin in origins):
            return None
        return self._refuse(request, 403, "foreign_origin", "requests from a page of another origin are not allowed")

    @asynccontextmanager
    async def scrape(self, request: web.BaseRequest) -> AsyncIterator[web.Response | None]:
        """Count a scrape while it is under way; yield the refusal if there are too many, else None."""
        most = self.limits.max_requests
        if most and self._scrapes >= most:
            words = f"{most} scrapes are in progress. Try again later, or raise --web.max-requests"
            yield self.refuse_busy(request, words)
            return
        self._scrapes += 1
        try:
            yield None
        finally:
            self._scrapes -= 1

    async def _refusal(self, access: Access, request: web.BaseRequest) -> web.Response | None:
        if not self._in_rate(access.rate):
            return self._refuse(request, 429, "rate_limit", "Too Many Requests")
        return await self._unauthorized(access, request) if access.users else None

    async def _unauthorized(self, access: Access, request: web.BaseRequest) -> web.Response | None:
        try:
            admitted = await self._admits(access, request.headers.get(hdrs.AUTHORIZATION))
        except TooManyError:
            words = "too many passwords are being checked. Try again later"
            return self.refuse_busy(request, words)
        except LateImportError as error:
            return self.refuse_failed(request, str(error))
        if admitted:
            return None
        return self._refuse(request, 401, "unauthorized", "Unauthorized", {hdrs.WWW_AUTHENTICATE: "Basic"})

    async def _admits(self, access: Access, header: str | None) -> bool:
        if self._checker is None:
            if self._loading is None or self._loading.done():
                load = partial(late.load, "resty_metrics.web.users")
                self._loading = asyncio.create_task(threads.call("users", load))
            users = await asyncio.shield(self._loading)
            self._checker = self._checker or users.Checker()  # another request may have been faster
            assert self._checker is not None
        return await self._checker.admits(access.users, header)

    def _in_rate(self, rate: Rate) -> bool:
        if not rate.interval:
            return True
        now = time.monotonic()
        if self._bucket is None or self._bucket.rate != rate:
            self._bucket = Bucket(rate, now)
        return self._bucket.take(now)

    def refuse_failed(self, request: web.BaseRequest, words: str) -> web.Response:
        """Answer a request that needs a part of the program that cannot be loaded."""
        say(logging.ERROR, "cannot load a part of the program", per=words, error=words)
        return self._refuse(request, 503, "failed", words)

    def refuse_busy(self, request: web.BaseRequest, words: str) -> web.Response:
        """Refuse a request that may succeed a moment later."""
        return self._refuse(request, 503, "busy", words, {hdrs.RETRY_AFTER: "1"})

    def _refuse(
        self, request: web.BaseRequest, status: int, reason: Refused, words: str, headers: dict[str, str] | None = None
    ) -> web.Response:
        self.tally.refused[reason] += 1
        say(logging.WARNING, "a request was refused", reason=reason, status=status, client=request.remote or "-")
        return web.Response(status=status, text=f"{words}\n", headers=headers)


def _without_expectation(message: RawRequestMessage) -> RawRequestMessage:
    if hdrs.EXPECT not in message.headers:
        return message
    headers = message.headers.copy()
    headers.popall(hdrs.EXPECT)
    return message._replace(headers=CIMultiDictProxy(headers))
