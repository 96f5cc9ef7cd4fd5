"""Which rows a scraper sees at 0, and which scrapers are remembered."""

from itertools import count

import pytest
from resty_metrics.table import scrapers as module
from resty_metrics.table.scrapers import (
    FIRST_SECONDS,
    MAX_NEWCOMERS,
    MAX_OF_HOST,
    MAX_SCRAPERS,
    NEWCOMER_SECONDS,
    REGULAR_AFTER,
    REGULAR_SECONDS,
    YOUNG_SECONDS,
    Scraper,
    Scrapers,
    identify,
)

PROMETHEUS, REPLICA = identify("10.0.0.1", "Prometheus/2.42.0"), identify("10.0.0.2", "Prometheus/2.42.0")
LATER = YOUNG_SECONDS + 1


def scrape(scrapers: Scrapers, scraper: Scraper, creation: int, now: float = LATER) -> int:
    """A page that is shown, and noted at once."""
    shown_before = scrapers.shown_before(scraper, creation, now)
    scrapers.see(scraper, now)
    scrapers.note(scrapers.news([scraper], creation))
    return shown_before


def become_regular(scrapers: Scrapers, scraper: Scraper, now: float = LATER, interval: float = REGULAR_AFTER) -> float:
    """Scrape until the scraper is regular. Return when that was."""
    for number in count():
        scrape(scrapers, scraper, 1, now)
        if scrapers.is_regular(scraper):
            return now
        assert number < 10
        now += interval
    raise AssertionError


def test_a_scraper_sees_at_0_what_was_created_since_its_last_scrape() -> None:
    scrapers = Scrapers()
    assert scrape(scrapers, PROMETHEUS, 10) == 10
    assert scrape(scrapers, PROMETHEUS, 14) == 10
    assert scrape(scrapers, PROMETHEUS, 14) == 14


def test_until_a_page_is_noted_its_new_rows_are_new() -> None:
    scrapers = Scrapers()
    scrape(scrapers, PROMETHEUS, 10)
    assert scrapers.shown_before(PROMETHEUS, 14, 1000.0) == 10
    early = scrapers.news([PROMETHEUS], 14)
    assert early == [(PROMETHEUS, 14, False)]
    assert scrapers.shown_before(PROMETHEUS, 16, 1015.0) == 10
    scrapers.note(scrapers.news([PROMETHEUS], 16))
    scrapers.note(early)  # an earlier page that was longer under way
    assert scrapers.shown_before(PROMETHEUS, 16, 1030.0) == 16
    assert scrapers.news([PROMETHEUS], 16) == []


def test_a_place_without_a_safe_page_is_not_written() -> None:
    scrapers = Scrapers()
    scrapers.see(PROMETHEUS, LATER)
    assert scrapers.capture() == []
    scrapers.note(scrapers.news([PROMETHEUS], 3))
    assert scrapers.capture() == [(PROMETHEUS, 3, False)]


def test_scrapers_do_not_take_each_others_first_sight() -> None:
    scrapers = Scrapers()
    for scraper in (PROMETHEUS, REPLICA):
        scrape(scrapers, scraper, 10)
    assert scrape(scrapers, PROMETHEUS, 12) == 10
    assert scrape(scrapers, REPLICA, 13) == 10


def test_an_unknown_scraper_of_a_collector_that_forgot_sees_everything_at_0_for_a_while() -> None:
    scrapers = Scrapers()
    scrapers.forgetful_until = YOUNG_SECONDS
    assert scrape(scrapers, PROMETHEUS, 10, 0.0) == 0
    assert scrape(scrapers, PROMETHEUS, 12, 15.0) == 10
    assert scrape(scrapers, REPLICA, 12, YOUNG_SECONDS - 0.1) == 0
    assert scrape(scrapers, identify("10.0.0.3", ""), 12, YOUNG_SECONDS) == 12


def test_an_unknown_scraper_of_any_other_sees_what_exists_as_it_is() -> None:
    assert scrape(Scrapers(), PROMETHEUS, 10, 0.0) == 10


def test_while_the_collector_is_young_no_scraper_falls_back_to_0() -> None:
    """``increase()`` would count everything twice."""
    scrapers = Scrapers()
    scrapers.forgetful_until = YOUNG_SECONDS
    for now in (0.0, 0.1):
        scrape(scrapers, PROMETHEUS, 10, now)
    for number in range(1000):
        scrape(scrapers, identify(f"10.1.0.{number % 250}", str(number)), 10, 1.0 + number / 4)
    assert scrape(scrapers, PROMETHEUS, 10, YOUNG_SECONDS - 0.1) == 10


@pytest.mark.parametrize("interval", [1.0, 15.0, 60.0, 250.0])
def test_a_scraper_that_comes_back_is_regular(interval: float) -> None:
    scrapers = Scrapers()
    become_regular(scrapers, PROMETHEUS, interval=interval)
    assert scrapers.capture() == [(PROMETHEUS, 1, True)]


def test_many_requests_at_once_make_no_regular_scraper() -> None:
    scrapers = Scrapers()
    for now in (LATER, LATER + 2 * REGULAR_AFTER):
        for number in range(1000):
            scrape(scrapers, PROMETHEUS, 1, now + number / 10_000)
    assert not scrapers.is_regular(PROMETHEUS)
    assert scrapers.count() == (0, 1)


def test_that_a_scraper_is_regular_is_news_once() -> None:
    scrapers = Scrapers()
    for number in range(2):
        scrape(scrapers, PROMETHEUS, 1, LATER + number)
    scrapers.see(PROMETHEUS, LATER + REGULAR_AFTER)
    assert scrapers.news([PROMETHEUS], 1) == [(PROMETHEUS, 1, True)]
    scrapers.note([(PROMETHEUS, 1, True)])
    scrapers.see(PROMETHEUS, LATER + 2 * REGULAR_AFTER)
    assert scrapers.news([PROMETHEUS], 1) == []


@pytest.mark.parametrize("hosts", [1, 3, 1000])
def test_a_regular_scraper_is_not_pushed_out(hosts: int) -> None:
    scrapers = Scrapers()
    now = become_regular(scrapers, PROMETHEUS)
    for number in range(5000):
        now = LATER + REGULAR_AFTER + number * 0.7
        scrape(scrapers, identify(f"host{number % hosts}", f"evil{number}"), 2, now)
        assert len(scrapers) <= MAX_SCRAPERS
    assert now < LATER + REGULAR_SECONDS
    assert scrape(scrapers, PROMETHEUS, 9, now) == 1


STAYS = [(1, FIRST_SECONDS), (2, NEWCOMER_SECONDS)]


@pytest.mark.parametrize(("scrapes", "seconds"), STAYS)
def test_a_newcomer_has_the_time_to_come_back(scrapes: int, seconds: float) -> None:
    scrapers = Scrapers()
    for _ in range(scrapes):
        scrape(scrapers, PROMETHEUS, 5)
    for number in range(1000):
        scrape(scrapers, identify("10.0.0.1", f"evil{number}"), 6, LATER + (seconds - 1) * number / 1000)
    assert scrape(scrapers, PROMETHEUS, 9, LATER + seconds - 1) == 5


def test_after_a_flood_of_its_own_host_a_scraper_gets_a_place() -> None:
    scrapers = Scrapers()
    for number in range(1000):
        scrape(scrapers, identify("10.0.0.1", f"evil{number}"), 6)
    assert scrape(scrapers, PROMETHEUS, 7) == 7
    assert scrape(scrapers, PROMETHEUS, 8, LATER + FIRST_SECONDS) == 8
    assert scrape(scrapers, PROMETHEUS, 9, LATER + FIRST_SECONDS + 1) == 8


def test_one_host_leaves_places_to_others() -> None:
    scrapers = Scrapers()
    for number in range(1000):
        scrape(scrapers, identify("10.0.0.9", f"evil{number}"), 1)
    assert len(scrapers) == MAX_NEWCOMERS
    for number in range(MAX_OF_HOST):
        become_regular(scrapers, identify("10.0.0.9", f"evil{number}"))
    for number in range(100):
        scrape(scrapers, identify("10.0.0.9", f"more{number}"), 1)
    assert len(scrapers) == MAX_OF_HOST
    scrape(scrapers, PROMETHEUS, 5)
    assert scrape(scrapers, PROMETHEUS, 9) == 5


def test_a_silent_scraper_gives_its_place() -> None:
    scrapers = Scrapers(capacity=2)
    now = become_regular(scrapers, PROMETHEUS)
    for _ in range(2):
        scrape(scrapers, REPLICA, 1, now)
    third = identify("10.0.0.3", "")
    for creation in (7, 8):
        assert scrape(scrapers, third, creation, now + NEWCOMER_SECONDS - 1) == creation
    scrape(scrapers, third, 7, now + NEWCOMER_SECONDS)  # REPLICA's place
    assert scrape(scrapers, third, 9, now + NEWCOMER_SECONDS) == 7
    assert scrape(scrapers, REPLICA, 9, now + NEWCOMER_SECONDS + 1) == 9
    scrape(scrapers, third, 9, now + REGULAR_SECONDS - 1)
    scrape(scrapers, REPLICA, 9, now + REGULAR_SECONDS)  # PROMETHEUS's place
    assert scrape(scrapers, REPLICA, 11, now + REGULAR_SECONDS) == 9
    assert len(scrapers) == 2


def test_a_journal_with_too_many_keeps_the_regular_ones() -> None:
    scrapers = Scrapers()
    scrapers.restore([(PROMETHEUS, 3, True)], 10.0)
    scrapers.restore([(identify(str(number), ""), 4, False) for number in range(100)], 10.0)
    assert len(scrapers) == len(scrapers.capture()) == MAX_SCRAPERS
    assert scrapers.is_regular(PROMETHEUS)
    scrapers.restore([(identify(str(number), ""), 4, True) for number in range(100)], 10.0)
    assert len(scrapers) == MAX_SCRAPERS


SAME_HOST = [
    ("10.0.0.1", "::ffff:10.0.0.1", True),
    ("10.0.0.1", "10.0.0.2", False),
    ("2001:db8::1", "2001:db8::ffff:1", True),
    ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
    ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
    ("fe80::1%eth0", "fe80::2%eth1", True),
    ("", "", True),
    ("", "0.0.0.0", False),
]


@pytest.mark.parametrize(("first", "second", "same"), SAME_HOST)
def test_a_host(first: str, second: str, same: bool) -> None:
    assert (identify(first, "a")[0] == identify(second, "b")[0]) == same


def test_a_scraper_is_told_by_host_and_agent_of_any_length() -> None:
    names = [("ab", "c"), ("a", "bc"), ("", "abc"), ("abc", ""), ("a", "b" * 10**6), ("a", "\udcff"), ("a", "\ud800")]
    scrapers = {identify(*name) for name in names}
    assert len(scrapers) == len(names)
    assert {len(part) for scraper in scrapers for part in scraper} == {16}
    assert identify("a", "b") == identify("a", "b")


def test_the_young_time_is_not_longer_than_a_newcomer_stays() -> None:
    assert module.NEWCOMER_SECONDS >= module.YOUNG_SECONDS
