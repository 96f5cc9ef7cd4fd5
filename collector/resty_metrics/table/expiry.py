"""Expiry: rows without a delta for a long time are forgotten, after every scraper was shown their last values.

Rules:
- The age of a row is measured in running time, never by the wall clock: a collector that was down makes no row older.
- The numbers of a forgotten row are added to no other row. A row that returns is a new one: a scraper sees it at 0
  first (docs/decisions/0001-new-rows-start-at-zero.md).
- A row ``other`` expires like any other.
- A decision names all that it depends on, and applies to one family. So a replay forgets the same rows.
- The counters of the workers about themselves (``resty_metrics_*``) do not expire: they are few, and alerts, coverage
  and troubles compare them over time.
- The search walks over a part of the table in each step, and visits a family at most SEARCHES times in a period.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from resty_metrics.shapes.shape import FamilyKey
from resty_metrics.table.families import Family
from resty_metrics.table.rows import Row

SEARCHES = 60
STEP_ROWS = 10_000  # after which a step ends: a family has at most as many again, so it takes a few milliseconds
_FAMILY_COST = 20  # the fixed cost of a family, in rows
_OF_WORKERS = "resty_metrics_"


@dataclass(frozen=True, slots=True)
class Expiry:
    """A decision to forget rows, as the journal keeps it.

    ``now``: running time of the decision. ``period``: the seconds without a delta after which a row may go. ``moment``:
    every scraper was shown all deltas that arrived before this running time. ``creation``: and was shown every row
    before this creation number with its value, not at 0.
    """

    now: float
    period: float
    moment: float
    creation: int

    def covered(self, rows: Iterable[Row]) -> list[Row]:
        """Return those of the rows that are to be forgotten."""
        idle_since, moment, creation = self.now - self.period, self.moment, self.creation
        return [row for row in rows if row.used <= idle_since and row.used < moment and row.created < creation]


class ExpirySearch:
    """The search for families with rows to forget."""

    def __init__(self) -> None:
        self._searched: dict[FamilyKey, float] = {}

    def step(self, families: Mapping[FamilyKey, Family], expiry: Expiry) -> list[FamilyKey]:
        """Search the next families, those that were not searched for the longest time first. Return those with rows
        that the expiry covers.
        """
        self._searched = {key: self._searched.get(key, -math.inf) for key in families if _may_expire(key)}
        since = expiry.now - expiry.period / SEARCHES
        due = sorted((at, number, key) for number, (key, at) in enumerate(self._searched.items()) if at <= since)
        covered, room = [], STEP_ROWS
        for _, _, key in due:
            rows = families[key].rows
            self._searched[key] = expiry.now
            if expiry.covered(rows):
                covered.append(key)
            room -= _FAMILY_COST + len(rows)
            if room <= 0:
                break
        return covered


def _may_expire(key: FamilyKey) -> bool:
    return key.custom or not key.name.startswith(_OF_WORKERS)
