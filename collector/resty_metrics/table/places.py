"""The search for an nginx, or a family, that gives its place to a new one where all places are taken.

Rules:
- A family is idle once no batch has mentioned it for an hour, an nginx once all of its families are idle. Of the idle
  ones, the least recently used gives way.
- An nginx never gives way to a family of its own.
- A family of the user's takes only the place of another such family, so that a flood of the user's metrics cannot
  displace the built-in ones.
- A search that finds nothing computes the time before which no search can succeed, and none is made until then. So
  refusing a family costs no search. This changes no result: a replay, which knows nothing of earlier searches, makes
  the same table.
"""

from collections.abc import Hashable, Mapping
from typing import TypeVar

from resty_metrics.shapes.shape import FamilyKey
from resty_metrics.table.families import Family
from resty_metrics.table.overflow import IDLE_SECONDS

_Name = TypeVar("_Name", bound=Hashable)
_Families = Mapping[FamilyKey, Family]


class Search:
    """A search in the families of a table, given by key. ``now``: running time of the batch that needs a place."""

    def __init__(self) -> None:
        self._not_before: dict[Hashable, float] = {}  # by search; emptied when a search succeeds

    def idle_nginx(self, families: _Families, own: str | None, now: float) -> str | None:
        """Return the name of the nginx that gives way, None if there is none.

        ``own``: name of the nginx that needs a place; None if it has no family yet.
        """
        scope = "nginx", own
        if now < self._not_before.get(scope, 0.0):
            return None
        used: dict[str, float] = {}
        for key, family in families.items():
            if key.instance != own:
                used[key.instance] = max(used.get(key.instance, 0.0), family.used)
        return self._oldest(scope, used, now)

    def idle_family(self, families: _Families, custom: bool, own: str | None, now: float) -> FamilyKey | None:
        """Return the key of the family that gives way, None if there is none.

        ``custom``: the new family is one of the user's. ``own``: only families of this nginx give way; None: of any.
        """
        scope = "family", custom, own
        if now < self._not_before.get(scope, 0.0):
            return None
        used = {
            key: family.used
            for key, family in families.items()
            if own in (None, key.instance) and (key.custom or not custom)
        }
        return self._oldest(scope, used, now)

    def _oldest(self, scope: Hashable, used: Mapping[_Name, float], now: float) -> _Name | None:
        """Return the least recently used name, the first of several; None if it is not idle."""
        oldest = min(used, key=lambda name: used[name], default=None)
        idle_from = now + IDLE_SECONDS if oldest is None else used[oldest] + IDLE_SECONDS
        if now < idle_from:
            self._not_before[scope] = idle_from
            return None
        self._not_before.clear()
        return oldest
