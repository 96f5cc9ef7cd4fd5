"""Which rows a scraper sees at 0."""

from collector.table.scrapers import MAX_SCRAPERS, YOUNG_SECONDS, Scraper, Scrapers

PROMETHEUS, REPLICA = ("10.0.0.1", "Prometheus/2.42.0"), ("10.0.0.2", "Prometheus/2.42.0")


def scrape(scrapers: Scrapers, scraper: Scraper, creation: int, now: float = YOUNG_SECONDS + 1) -> int:
    """A page that is shown, and noted at once."""
    shown_before = scrapers.shown_before(scraper, creation, now)
    scrapers.note(scraper, creation)
    return shown_before


def test_a_scraper_sees_at_0_what_was_created_since_its_last_scrape() -> None:
    scrapers = Scrapers()
    assert scrape(scrapers, PROMETHEUS, 10) == 10
    assert scrape(scrapers, PROMETHEUS, 14) == 10
    assert scrape(scrapers, PROMETHEUS, 14) == 14


def test_until_a_page_is_noted_its_new_rows_are_new() -> None:
    scrapers = Scrapers()
    scrape(scrapers, PROMETHEUS, 10)
    assert scrapers.shown_before(PROMETHEUS, 14, 1000.0) == 10
    assert scrapers.is_news(PROMETHEUS, 14)
    assert scrapers.shown_before(PROMETHEUS, 16, 1015.0) == 10
    scrapers.note(PROMETHEUS, 16)
    scrapers.note(PROMETHEUS, 14)  # an earlier page that was longer under way
    assert scrapers.shown_before(PROMETHEUS, 16, 1030.0) == 16
    assert not scrapers.is_news(PROMETHEUS, 16)


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
    assert scrape(scrapers, ("10.0.0.3", ""), 12, YOUNG_SECONDS) == 12


def test_an_unknown_scraper_of_any_other_sees_what_exists_as_it_is() -> None:
    assert scrape(Scrapers(), PROMETHEUS, 10, 0.0) == 10


def test_scrapers_are_bounded_and_the_least_recent_is_forgotten() -> None:
    scrapers = Scrapers()
    scrape(scrapers, PROMETHEUS, 1)
    scrape(scrapers, REPLICA, 1)
    for number in range(MAX_SCRAPERS - 1):
        scrape(scrapers, (str(number), ""), 1)
        scrape(scrapers, REPLICA, 1)
    assert len(scrapers) == len(scrapers.capture()) == MAX_SCRAPERS
    assert scrape(scrapers, REPLICA, 5) == 1
    assert scrape(scrapers, PROMETHEUS, 5) == 5
