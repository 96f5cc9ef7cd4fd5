"""What a request passes before it is served: the rate limit, authentication, the limit of scrapes. For every path.

Order and meaning are exporter-toolkit's (web/handler.go).
"""

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from collector.log import say
from collector.web.bucket import Bucket
from collector.web.config import RateLimit
from collector.web.connection import Connection
from collector.web.limits import Limits
from collector.web.policy import Access, Policy
from collector.web.tally import Refused, Tally
from collector.web.users import Checker, TooManyError

Reload = Callable[[], Awaitable[Sequence[str]]]


class Front:
    """``reload`` reads the configuration again and returns what is wrong with it; None: not by HTTP."""

    def __init__(self, policy: Policy, tally: Tally, limits: Limits, reload: Reload | None = None) -> None:
        self.policy = policy
        self.tally = tally
        self.limits = limits
        self.reload = reload
        self._checker = Checker()
        self._bucket: Bucket | None = None
        self._scrapes = 0

    @property
    def middleware(self) -> Middleware:
        """It answers for the handler where a request may not pass."""

        @web.middleware
        async def pass_or_refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
            if isinstance(request.protocol, Connection):
                request.protocol.begin()
            refusal = await self._refusal(self.policy.current, request)
            return refusal or await handler(request)

        return pass_or_refuse

    async def add_headers(self, _: web.Request, response: web.StreamResponse) -> None:
        """For ``on_response_prepare``."""
        response.headers.update(self.policy.current.headers)

    @asynccontextmanager
    async def scrape(self, request: web.BaseRequest) -> AsyncIterator[web.Response | None]:
        """Counts a scrape while it is under way; yields what to answer if there are too many."""
        most = self.limits.max_requests
        if most and self._scrapes >= most:
            words = f"{most} scrapes are under way: try again later, or raise --web.max-requests"
            yield self.refuse_busy(request, words)
            return
        self._scrapes += 1
        try:
            yield None
        finally:
            self._scrapes -= 1

    async def _refusal(self, access: Access, request: web.Request) -> web.Response | None:
        if not self._in_rate(access.rate):
            return self._refuse(request, 429, "rate_limit", "Too Many Requests")
        if not access.users:
            return None
        try:
            admitted = await self._checker.admits(access.users, request.headers.get(hdrs.AUTHORIZATION))
        except TooManyError:
            words = "too many passwords wait to be checked: try again later"
            return self.refuse_busy(request, words)
        if admitted:
            return None
        return self._refuse(request, 401, "unauthorized", "Unauthorized", {hdrs.WWW_AUTHENTICATE: "Basic"})

    def _in_rate(self, rate: RateLimit) -> bool:
        if not rate.interval:
            return True
        now, shape = time.monotonic(), (rate.interval, rate.burst)
        if self._bucket is None or self._bucket.shape != shape:
            self._bucket = Bucket(*shape, now)
        return self._bucket.take(now)

    def refuse_busy(self, request: web.BaseRequest, words: str) -> web.Response:
        """Answer a request that may succeed a moment later."""
        return self._refuse(request, 503, "busy", words, {hdrs.RETRY_AFTER: "1"})

    def _refuse(
        self, request: web.BaseRequest, status: int, reason: Refused, words: str, headers: dict[str, str] | None = None
    ) -> web.Response:
        self.tally.refused[reason] += 1
        say(logging.WARNING, "a request was refused", reason=reason, status=status, client=request.remote or "-")
        return web.Response(status=status, text=f"{words}\n", headers=headers)
