"""The requests that wait for a page: whose turn it is, who shares it, and who has waited for too long."""

import asyncio
from collections.abc import Callable

import pytest
from resty_metrics.page.bodies import Body
from resty_metrics.page.waiting import BusyError, Fetched, Request, Ticket, Waiting
from resty_metrics.table.scrapers import Scraper, identify

PROMETHEUS, REPLICA, STRANGER = (identify(f"10.0.0.{number}", "") for number in range(3))
SHOWN: dict[Scraper | None, int | None] = {None: None, PROMETHEUS: 7, REPLICA: 7, STRANGER: 9}
PATIENCE = 60.0


def shown_before(request: Request) -> int | None:
    return SHOWN[request.scraper]


class Queue:
    """A queue of requests by name."""

    def __init__(self) -> None:
        self.waiting = Waiting()
        self.tickets: dict[str, Ticket] = {}

    def ask(
        self,
        name: str,
        scraper: Scraper | None = None,
        *,
        openmetrics: bool = False,
        compressed: bool = False,
        regular: bool = False,
        began: float = 0.0,
        seconds: float = 5.0,
        patience: float = PATIENCE,
    ) -> None:
        request = Request(scraper, openmetrics, compressed, seconds)
        body: asyncio.Future[Body] = asyncio.get_running_loop().create_future()
        ticket = Ticket(request, Fetched((), (), began, seconds), regular, body)
        self.tickets[name] = ticket
        self.waiting.add(ticket, patience)

    def take(self) -> str:
        """The names of the next turn."""
        turn = self.waiting.take(self.waiting.heads()[0], shown_before)
        return "".join(name for name, ticket in self.tickets.items() if ticket in turn.tickets)

    def turns(self) -> list[str]:
        turns = []
        while self.waiting:
            turns.append(self.take())
        return turns


def of(fill: Callable[[Queue], None]) -> list[str]:
    """The turns of a queue."""

    async def run() -> list[str]:
        queue = Queue()
        fill(queue)
        return queue.turns()

    return asyncio.run(run())


def same(queue: Queue) -> None:
    for name in "abc":
        queue.ask(name)


def formats(queue: Queue) -> None:
    for name, openmetrics, compressed in (("a", False, False), ("b", True, False), ("c", False, True)):
        queue.ask(name, openmetrics=openmetrics, compressed=compressed)
        queue.ask(name.upper(), openmetrics=openmetrics, compressed=compressed)


def scrapers(queue: Queue) -> None:
    queue.ask("a", PROMETHEUS)
    queue.ask("b", STRANGER)
    queue.ask("c", REPLICA)
    queue.ask("d")


def regular_first(queue: Queue) -> None:
    queue.ask("a")
    queue.ask("b", STRANGER)
    queue.ask("c", PROMETHEUS, regular=True)
    queue.ask("d", PROMETHEUS, regular=True, openmetrics=True)
    queue.ask("e", PROMETHEUS, regular=True, compressed=True)


def other_timeouts(queue: Queue) -> None:
    """b is newer than a and had more time; c is newer still, with less."""
    queue.ask("a", began=1.0, seconds=2.0)
    queue.ask("b", began=2.0, seconds=5.0)
    queue.ask("c", began=3.0, seconds=1.0)


def fetches_without_end(queue: Queue) -> None:
    for number in range(100):
        queue.ask(str(number), began=float(number))


TURNS = [
    (same, ["abc"]),
    (formats, ["aA", "bB", "cC"]),
    (scrapers, ["ac", "b", "d"]),
    (regular_first, ["c", "a", "d", "b", "e"]),
    (other_timeouts, ["ab", "c"]),
    (fetches_without_end, ["".join(map(str, range(100)))]),
]


@pytest.mark.parametrize(("fill", "turns"), TURNS, ids=lambda value: getattr(value, "__name__", ""))
def test_turns(fill: Callable[[Queue], None], turns: list[str]) -> None:
    assert of(fill) == turns


def test_a_page_has_the_newest_answers_of_the_sources() -> None:
    async def run() -> float:
        queue = Queue()
        for number in (3.0, 9.0, 5.0):
            queue.ask(str(number), began=number)
        return queue.waiting.take(queue.waiting.heads()[0], shown_before).fetched.began

    assert asyncio.run(run()) == 9.0


def test_a_short_timeout_of_another_client_hides_no_source() -> None:
    """Its answers came later, and lack the sources that needed more time."""

    async def run() -> float:
        queue = Queue()
        queue.ask("prometheus", began=1.0, seconds=5.0)
        queue.ask("hasty", began=2.0, seconds=0.1)
        return queue.waiting.take(queue.tickets["prometheus"], shown_before).fetched.seconds

    assert asyncio.run(run()) == 5.0


def test_few_answers_of_the_sources_are_held() -> None:
    """However many requests wait, in whatever order their answers came: each may be megabytes."""

    async def run() -> int:
        queue = Queue()
        for number in range(300):
            queue.ask(str(number), STRANGER, began=float(number * 7 % 100), seconds=float(number % 5))
        return len({id(ticket.fetched) for ticket in queue.tickets.values()})

    assert asyncio.run(run()) <= 5


def test_a_request_that_waits_too_long_is_given_up_alone() -> None:
    async def run() -> list[str]:
        queue = Queue()
        queue.ask("hasty", patience=0.0)
        queue.ask("patient")
        with pytest.raises(BusyError):
            await queue.tickets["hasty"].body
        return queue.turns()

    assert asyncio.run(run()) == ["patient"]


def test_a_request_that_has_its_turn_is_not_given_up() -> None:
    async def run() -> bool:
        queue = Queue()
        queue.ask("a", patience=0.0)
        queue.take()
        done = asyncio.Event()
        asyncio.get_running_loop().call_later(0.01, done.set)
        await done.wait()
        return queue.tickets["a"].body.done()

    assert not asyncio.run(run())
