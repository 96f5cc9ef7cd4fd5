"""The search for an nginx, or a family, that gives its place to a new one where all places are taken.

Rules:
- A family is idle once no batch has had anything of it for an hour, an nginx once all of its families are. Of those
  that are idle, the one that was used least recently gives way.
- An nginx never gives way to a family of its own.
- A family of the user's takes the place of another such family only: whoever invents metrics must not cost others
  their requests.
- A search that finds nothing knows when the next one may find something, and none is made before. So what is refused
  costs no search. That decides nothing: a replay, which knows nothing of earlier searches, makes the same table.
"""

from collections.abc import Hashable, Mapping
from typing import TypeVar

from resty_metrics.shapes.shape import FamilyKey
from resty_metrics.table.families import Family
from resty_metrics.table.overflow import IDLE_SECONDS

_Name = TypeVar("_Name", bound=Hashable)
_Families = Mapping[FamilyKey, Family]


class Search:
    """Searches in the families of a table, by key, each at ``now``: the running time of a batch."""

    def __init__(self) -> None:
        self._not_before: dict[Hashable, float] = {}  # by what is searched, until one is found

    def idle_nginx(self, families: _Families, own: str | None, now: float) -> str | None:
        """Return the name of the nginx that gives way, None if there is none. ``own``: of the one that needs a place,
        None if it has no family yet.
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
        """Return the key of the family that gives way to one that is ``custom`` or not, None if there is none.

        ``own``: only families of this nginx do; None: those of all.
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
        """Return the one that was used least recently, of several the first; None if that is not idle."""
        oldest = min(used, key=lambda name: used[name], default=None)
        idle_from = now + IDLE_SECONDS if oldest is None else used[oldest] + IDLE_SECONDS
        if now < idle_from:
            self._not_before[scope] = idle_from
            return None
        self._not_before.clear()
        return oldest
