"""Rows that expire: which ones, when, and that every scraper was shown their last values before."""

from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from resty_metrics.exposition import text as exposition
from resty_metrics.ingest.drain import Drain
from resty_metrics.ingest.intake import Intake
from resty_metrics.ingest.senders import Senders
from resty_metrics.page.requests import render
from resty_metrics.process.steps import finish
from resty_metrics.shapes.shape import FamilyKey
from resty_metrics.table.expiry import SEARCHES, STEP_ROWS, Expiry, ExpirySearch
from resty_metrics.table.scrapers import AWAITED_SECONDS, REGULAR_SECONDS, Scraper, Scrapers, identify
from resty_metrics.table.table import Table
from resty_metrics.wire.datagram import VERSION, Header, Kind, write_datagram
from support.effort import examples

HOUR = 3600.0
ALL = 10**9  # a creation number above all
SCRAPERS = [identify(f"10.0.0.{number}", "Prometheus") for number in range(2)]


class Core:
    """The collector's core: batches wait in drains until they are settled."""

    def __init__(self) -> None:
        self.table = Table()
        self.intake = Intake(self.table, Senders(), lambda _: True)
        self.scrapers = Scrapers()
        self.drains: list[Drain] = []
        self.sequence = 0

    def send(self, now: float, *rows: tuple[str, float], name: str = "c_total", custom: bool = True) -> None:
        self.sequence += 1
        header = Header(VERSION, Kind.BATCH, b"s" * 16, 1, self.sequence, self.sequence)
        family = {"name": name, "type": "counter", "labels": ["l"], "columns": ["value"], "custom": custom}
        self.intake.receive(write_datagram(header, {"families": [{**family, "rows": rows}]}), 0, now)
        self.drains.append(self.intake.take())

    def settle(self) -> None:
        if self.drains:
            self.intake.settle(self.drains.pop(0))

    def settle_all(self) -> None:
        while self.drains:
            self.settle()

    def page(self, scraper: Scraper, now: float) -> dict[str, float]:
        """The values that this scraper is shown, by label."""
        creation = self.table.next_creation
        shown_before = self.scrapers.shown_before(scraper, creation, now)
        self.scrapers.see(scraper, now)
        self.scrapers.show(scraper, self.intake.merged_until(now), shown_before)
        self.scrapers.note(self.scrapers.news([scraper], creation))
        page = exposition.render(render(self.table, shown_before), openmetrics=False).decode()
        return {
            sample.labels["l"]: sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
        }

    def expire(self, now: float, period: float = HOUR) -> None:
        limits = self.scrapers.seen_by_all(now)
        if limits is not None:
            expiry = Expiry(now, period, *limits)
            keys = ExpirySearch().step(self.table.families, expiry)
            finish(self.table.expire_in_steps(keys, expiry))

    def rows(self, name: str = "c_total", custom: bool = True) -> dict[str, float]:
        family = self.table.families[FamilyKey(name, custom)]
        return {row.labels[0]: row.numbers[0] for row in family.rows}


def regular(core: Core, scraper: Scraper, now: float) -> float:
    """Scrape until the scraper is regular; return when that was."""
    while not core.scrapers.is_regular(scraper):
        core.page(scraper, now)
        now += 5
    core.page(scraper, now)
    return now


def test_an_idle_row_is_forgotten_and_returns_at_0() -> None:
    core = Core()
    core.send(0.0, ("idle", 5), ("busy", 1))
    core.settle()
    regular(core, SCRAPERS[0], 1.0)
    core.send(HOUR - 1, ("busy", 1))
    core.settle()
    core.page(SCRAPERS[0], HOUR - 0.5)
    core.expire(HOUR - 0.5)
    assert core.rows() == {"idle": 5, "busy": 2}
    core.expire(HOUR)
    assert core.rows() == {"busy": 2}
    assert core.page(SCRAPERS[0], HOUR + 1) == {"busy": 2}
    core.send(HOUR + 2, ("idle", 1))
    core.settle()
    assert core.page(SCRAPERS[0], HOUR + 3) == {"busy": 2, "idle": 0}
    assert core.page(SCRAPERS[0], HOUR + 4) == {"busy": 2, "idle": 1}
    (family,) = core.table.families.values()
    assert (family.expired, family.overflow, family.evicted) == (1, 0, 0)


def test_a_family_without_rows_stays_and_the_room_is_free_again() -> None:
    core = Core()
    core.send(0.0, *[(str(number), 1) for number in range(100)])
    core.settle()
    regular(core, SCRAPERS[0], 1.0)
    assert core.table.room.bytes > 0
    core.expire(HOUR)
    assert core.rows() == {}
    assert (core.table.room.rows, core.table.room.bytes) == (0, 0)


def test_nothing_expires_without_a_regular_scraper() -> None:
    core = Core()
    core.send(0.0, ("idle", 5))
    core.settle()
    core.expire(HOUR)
    core.page(SCRAPERS[0], 2 * HOUR)
    core.expire(3 * HOUR)
    assert core.rows() == {"idle": 5}


def test_a_row_waits_for_every_regular_scraper_of_the_last_day() -> None:
    core = Core()
    for scraper in SCRAPERS:
        now = regular(core, scraper, 1.0)
    core.send(now + 1, ("idle", 5))
    core.settle()
    silent_since = now
    for _ in range(2):
        now += HOUR
        core.page(SCRAPERS[0], now)
        core.expire(now)
        assert core.rows() == {"idle": 5}
    core.page(SCRAPERS[0], silent_since + AWAITED_SECONDS)
    core.expire(silent_since + AWAITED_SECONDS)
    assert core.rows() == {}


def test_a_scraper_is_awaited_longer_than_it_keeps_its_place() -> None:
    assert AWAITED_SECONDS > REGULAR_SECONDS


def test_a_row_that_was_shown_at_0_alone_stays() -> None:
    core = Core()
    now = regular(core, SCRAPERS[0], 1.0)
    core.send(now + 1, ("idle", 5))
    core.settle()
    assert core.page(SCRAPERS[0], now + 2) == {"idle": 0}
    core.expire(now + 2 * HOUR)
    assert core.rows() == {"idle": 5}
    core.page(SCRAPERS[0], now + 2 * HOUR)
    core.expire(now + 2 * HOUR)
    assert core.rows() == {}


def test_a_delta_that_was_not_merged_at_the_page_keeps_its_row() -> None:
    core = Core()
    core.send(0.0, ("idle", 5))
    core.settle()
    now = regular(core, SCRAPERS[0], 1.0)
    core.send(now + 1, ("idle", 1))
    assert core.page(SCRAPERS[0], now + 2) == {"idle": 5}
    core.settle()
    core.expire(now + 2 * HOUR)
    assert core.rows() == {"idle": 6}


def test_a_scraper_from_the_journal_is_waited_for() -> None:
    """A page of the collector before may have been made before the last batches of that one."""
    core = Core()
    core.scrapers.restore([(SCRAPERS[0], 0, True)], 0.0)
    core.send(0.0, ("idle", 5))
    core.settle()
    core.expire(HOUR)
    assert core.rows() == {"idle": 5}


def test_a_scraper_that_is_gone_does_not_keep_all_rows_when_the_collector_restarts_each_day() -> None:
    """Each restart finds it in the journal again, as that of a Prometheus that got another address or version."""
    core = Core()
    gone, day = SCRAPERS[1], 20 * HOUR
    for number in range(3):
        now = number * day
        core.scrapers = Scrapers()
        core.scrapers.restore([(SCRAPERS[0], core.table.next_creation, True), (gone, 0, True)], now)
        core.send(now, ("idle", 5))
        core.settle()
        core.page(SCRAPERS[0], now + 1)
        core.page(SCRAPERS[0], now + 2)
        core.expire(now + 2 * HOUR)
        assert core.rows() == {"idle": 5}
        core.page(SCRAPERS[0], now + day - 1)
        core.expire(now + day - 1)
        assert core.rows() == {}


def test_counters_of_the_workers_stay() -> None:
    core = Core()
    for custom in (True, False):
        core.send(0.0, ("idle", 5), name="resty_metrics_worker_errors_total", custom=custom)
    core.settle_all()
    regular(core, SCRAPERS[0], 1.0)
    core.expire(HOUR)
    assert core.rows("resty_metrics_worker_errors_total", custom=False) == {"idle": 5}
    assert core.rows("resty_metrics_worker_errors_total") == {}


def test_a_row_named_other_expires_like_any_other() -> None:
    core = Core()
    core.send(0.0, ("other", 5))
    core.settle()
    regular(core, SCRAPERS[0], 1.0)
    core.expire(HOUR)
    assert core.rows() == {}


def test_the_search_takes_the_families_in_turns_and_each_a_few_times_in_a_period() -> None:
    core = Core()
    names = [f"c{number}_total" for number in range(10)]
    for name in names:
        for first in range(0, STEP_ROWS // 2, 1000):
            core.send(0.0, *[(str(number), 1) for number in range(first, first + 1000)], name=name)
            core.settle()
    search = ExpirySearch()
    steps = [search.step(core.table.families, Expiry(HOUR + n, HOUR, HOUR, ALL)) for n in range(10)]
    assert [key.name for keys in steps for key in keys] == names
    assert max(map(len, steps)) <= 2
    again = HOUR + HOUR / SEARCHES
    assert [key.name for key in search.step(core.table.families, Expiry(again, HOUR, HOUR, ALL))] == names[:2]


ACTIONS = st.one_of(
    st.tuples(st.just("send"), st.dictionaries(st.sampled_from("abcd"), st.integers(1, 9), min_size=1)),
    st.tuples(st.just("settle"), st.none()),
    st.tuples(st.just("page"), st.integers(0, 1)),
    st.tuples(st.just("expire"), st.none()),
)


def run(core: Core, actions: list[tuple[str, Any]], passed: Iterator[float]) -> None:
    """At any moment: what is forgotten was shown to both scrapers with its last value, and idle for the period."""
    shown: list[dict[str, float]] = [{}, {}]
    sent: dict[str, float] = {}
    now = 100.0
    for action, value in actions:
        now += next(passed)
        if action == "send":
            core.send(now, *value.items())
            sent.update(dict.fromkeys(value, now))
        elif action == "settle":
            core.settle()
        elif action == "page":
            shown[value] = core.page(SCRAPERS[value], now)
        elif core.table.families:
            before = core.rows()
            core.expire(now, 20.0)
            for label in before.keys() - core.rows().keys():
                assert [page.get(label) for page in shown] == [before[label]] * 2
                # A batch under way may be younger: then the row comes back as a new one.
                assert now - sent[label] >= 20.0 or any(label in str(drain.accepted) for drain in core.drains)


@given(st.lists(ACTIONS, max_size=60), st.lists(st.sampled_from([0.0, 1.0, 7.0, 30.0]), min_size=60, max_size=60))
@settings(max_examples=examples(300), deadline=None)
def test_what_is_forgotten_was_shown(actions: list[tuple[str, Any]], passed: list[float]) -> None:
    core = Core()
    for scraper in SCRAPERS:
        regular(core, scraper, 1.0)
    run(core, actions, iter(passed))
