"""The requests that wait for a page, and those of them that share the next one.

Rules:
- Regular scrapers come first, but after each page for them one for the others, if they wait. Else who came first.
- Requests share a page that looks the same to them: its format, its encoding, and which rows it shows at 0.
- Requests share answers of the sources that are at least as new, and had at least as much time, as those that each of
  them waited for. So the answers that are held do not grow with the number of requests.
- A request that has not had its turn in time is given up, with BusyError.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from resty_metrics.page.bodies import Body
from resty_metrics.sources.fetch import Fetcher, Scrape
from resty_metrics.table.scrapers import Scraper


class BusyError(Exception):
    """Too many pages are asked for, or clients that do not read take all the room that there is for pages."""


@dataclass(frozen=True, slots=True)
class Request:
    """The wishes of a client. ``scraper`` None: not a Prometheus. ``timeout``: seconds that it leaves the sources."""

    scraper: Scraper | None
    openmetrics: bool
    compressed: bool
    timeout: float


@dataclass(frozen=True, slots=True)
class Fetched:
    """The answers of the sources that were asked, from ``began`` on for ``seconds`` at most."""

    fetchers: Sequence[Fetcher]
    scrapes: Sequence[Scrape]
    began: float
    seconds: float

    def covers(self, answers: "Fetched") -> bool:
        """Return True if these answers serve everybody who waited for the others."""
        return self.began >= answers.began and self.seconds >= answers.seconds


@dataclass(eq=False, slots=True)
class Ticket:
    """A request that waits for its page, ``body``."""

    request: Request
    fetched: Fetched
    regular: bool
    body: asyncio.Future[Body]
    patience: asyncio.TimerHandle | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """The requests that share a page, what the page shows of the sources, and the row from which on it shows 0."""

    tickets: Sequence[Ticket]
    fetched: Fetched
    shown_before: int | None

    @property
    def scrapers(self) -> frozenset[Scraper]:
        """Return the scrapers among the clients."""
        return frozenset(ticket.request.scraper for ticket in self.tickets if ticket.request.scraper is not None)

    @property
    def regulars(self) -> frozenset[Scraper]:
        """Return the regular ones of them."""
        regular = (ticket.request.scraper for ticket in self.tickets if ticket.regular)
        return frozenset(scraper for scraper in regular if scraper is not None)


class Waiting:
    """The requests that wait, in the order in which they came."""

    def __init__(self) -> None:
        self._tickets: list[Ticket] = []
        self._irregular_next = False

    def __len__(self) -> int:
        return len(self._tickets)

    def add(self, ticket: Ticket, seconds: float) -> None:
        """Have a request wait for so many seconds at most."""
        for waiting in self._tickets:
            if waiting.fetched.covers(ticket.fetched):
                ticket.fetched = waiting.fetched
        for waiting in self._tickets:
            if ticket.fetched.covers(waiting.fetched):
                waiting.fetched = ticket.fetched
        self._tickets.append(ticket)
        ticket.patience = ticket.body.get_loop().call_later(seconds, self._give_up, ticket)

    def remove(self, ticket: Ticket) -> None:
        """Take out a request, if it is there."""
        if ticket.patience is not None:
            ticket.patience.cancel()
        if ticket in self._tickets:
            self._tickets.remove(ticket)

    def _give_up(self, ticket: Ticket) -> None:
        self.remove(ticket)
        if not ticket.body.done():
            ticket.body.set_exception(BusyError())

    def heads(self) -> list[Ticket]:
        """Return the requests of which the first one that there is room for has the next turn."""
        regular = next((ticket for ticket in self._tickets if ticket.regular), None)
        irregular = next((ticket for ticket in self._tickets if not ticket.regular), None)
        order = (irregular, regular) if self._irregular_next else (regular, irregular)
        return [ticket for ticket in order if ticket is not None]

    def take(self, head: Ticket, shown_before: Callable[[Request], int | None]) -> Turn:
        """Take out a request and those that share its page. ``shown_before`` says which rows it shows at 0, now."""

        def form(ticket: Ticket) -> tuple[bool, bool, int | None]:
            return ticket.request.openmetrics, ticket.request.compressed, shown_before(ticket.request)

        head_form = form(head)
        fetched = head.fetched
        tickets = [ticket for ticket in self._tickets if ticket.fetched is fetched and form(ticket) == head_form]
        for ticket in tickets:
            self.remove(ticket)
        self._irregular_next = any(ticket.regular for ticket in tickets)
        return Turn(tickets, fetched, head_form[2])
