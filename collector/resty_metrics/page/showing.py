"""The rows that a page shows at 0, and the note that its scrapers were shown the page.

Rule: a page counts as shown once it is made, even if a client gives up before it arrives
(docs/decisions/0001-new-rows-start-at-zero.md).
"""

from functools import partial

from resty_metrics.ingest.intake import Intake
from resty_metrics.journal.journal import Journal
from resty_metrics.journal.records import of_page
from resty_metrics.page.waiting import Request, Turn
from resty_metrics.table.scrapers import Scrapers


class Showing:
    """The pages that scrapers are shown. ``now`` is running time."""

    def __init__(self, intake: Intake, scrapers: Scrapers, journal: Journal) -> None:
        self._intake = intake
        self._scrapers = scrapers
        self._journal = journal

    def shown_before(self, request: Request, now: float) -> int | None:
        """Return the row from which on a page of this moment shows 0; None: none."""
        if request.scraper is None:
            return None
        return self._scrapers.shown_before(request.scraper, self._intake.table.next_creation, now)

    def see(self, turn: Turn, now: float) -> None:
        """Remember the scrapers of a page. That they were shown its rows is noted once that is safe."""
        scrapers, creation = self._scrapers, self._intake.table.next_creation
        moment = self._intake.merged_until(now)
        for scraper in turn.scrapers:
            scrapers.see(scraper, now)
            scrapers.show(scraper, moment, turn.shown_before or 0)
        shown = scrapers.news(turn.scrapers, creation)
        if shown:
            self._journal.commit(of_page(shown), partial(scrapers.note, shown))
