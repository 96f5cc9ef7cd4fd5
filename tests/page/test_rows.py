"""Which rows a scraper sees at 0."""

from collector.page.rows import MAX_SCRAPERS, YOUNG_SECONDS, Scrapers

PROMETHEUS, REPLICA = ("10.0.0.1", "Prometheus/2.42.0"), ("10.0.0.2", "Prometheus/2.42.0")


def test_a_scraper_sees_at_0_what_was_created_since_its_last_scrape() -> None:
    scrapers = Scrapers(started=0.0)
    late = YOUNG_SECONDS + 1
    assert scrapers.shown_before(PROMETHEUS, 10, late) == 10
    assert scrapers.shown_before(PROMETHEUS, 14, late + 15) == 10
    assert scrapers.shown_before(PROMETHEUS, 14, late + 30) == 14


def test_scrapers_do_not_take_each_others_first_sight() -> None:
    scrapers = Scrapers(started=0.0)
    late = YOUNG_SECONDS + 1
    for scraper in (PROMETHEUS, REPLICA):
        scrapers.shown_before(scraper, 10, late)
    assert scrapers.shown_before(PROMETHEUS, 12, late + 1) == 10
    assert scrapers.shown_before(REPLICA, 13, late + 2) == 10


def test_an_unknown_scraper_of_a_young_collector_sees_everything_at_0() -> None:
    scrapers = Scrapers(started=100.0)
    assert scrapers.shown_before(PROMETHEUS, 10, 100.0) == 0
    assert scrapers.shown_before(PROMETHEUS, 12, 115.0) == 10
    assert scrapers.shown_before(REPLICA, 12, 99.9 + YOUNG_SECONDS) == 0


def test_an_unknown_scraper_of_an_old_collector_sees_what_exists_as_it_is() -> None:
    assert Scrapers(started=100.0).shown_before(PROMETHEUS, 10, 100.0 + YOUNG_SECONDS) == 10


def test_scrapers_are_bounded_and_the_least_recent_is_forgotten() -> None:
    scrapers = Scrapers(started=0.0)
    late = YOUNG_SECONDS + 1
    scrapers.shown_before(PROMETHEUS, 1, late)
    scrapers.shown_before(REPLICA, 1, late)
    for number in range(MAX_SCRAPERS - 1):
        scrapers.shown_before((str(number), ""), 1, late)
        scrapers.shown_before(REPLICA, 1, late)
    assert len(scrapers) == MAX_SCRAPERS
    assert scrapers.shown_before(REPLICA, 5, late) == 1
    assert scrapers.shown_before(PROMETHEUS, 5, late) == 5
