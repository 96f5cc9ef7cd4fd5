"""A table in the plainest way: what docs/wire.md and decision 10 say, with no thought of speed or memory.

It shares no code with the collector's own. A batch is what a worker packs into a datagram: a list of families, each a
map as docs/wire.md has it, all keys present.
"""

import itertools
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

IDLE_SECONDS = 3600
SCAN_SECONDS = 60
REQUESTS = ("http_requests", "nginx_http_request_duration_seconds")
OF_DURATIONS = ("status_class", "scheme")  # labels that are ours in durations alone
Labels = tuple[str, ...]
Key = tuple[str, str, str, bool]  # instance, name, scope, custom


@dataclass
class PlainRow:
    numbers: list[float]
    used: float
    created: int


def clean(labels: Sequence[str]) -> Labels:
    """Return label values as the page shows them, for the values that the model sends."""
    return tuple(value or "_" for value in labels)


@dataclass
class PlainFamily:
    """Rows by label set, in the order of their creation."""

    name: str
    type: str
    labels: list[str]
    bounds: list[float] | None
    custom: bool
    cap: int
    birth: int = 0
    scanned: float = 0.0
    rows: dict[Labels, PlainRow] = field(default_factory=dict)
    overflow: int = 0
    evicted: int = 0
    expired: int = 0
    used: float = 0.0
    creation: Iterator[int] = field(default_factory=itertools.count)

    def add(self, labels: Labels, numbers: Sequence[float], now: float) -> None:
        if labels not in self.rows:
            self.make_room(now)
        if labels not in self.rows and len(self.rows) >= self.cap:
            self.overflow += 1
            labels = self.overflow_row(labels)
        self.add_up(labels, numbers, now)

    def add_up(self, labels: Labels, numbers: Sequence[float], used: float, created: int | None = None) -> None:
        if labels not in self.rows:
            self.rows[labels] = PlainRow([0] * len(numbers), used, next(self.creation) if created is None else created)
        row = self.rows[labels]
        row.numbers = [a + b for a, b in zip(row.numbers, numbers, strict=True)]
        row.used = max(row.used, used)

    def overflow_row(self, labels: Labels) -> Labels:
        if self.give_up(labels) in self.rows or len(self.rows) < self.cap + self.cap // 10:
            return self.give_up(labels)
        return self.give_up_all(labels)

    def give_up(self, labels: Labels) -> Labels:
        users, first = set(self.labels), set(self.labels[:1])
        if self.name in REQUESTS and not self.custom:
            users -= {"server", "method", "status", "scope", *(OF_DURATIONS if self.bounds is not None else ())}
            first -= {"scope"}
        elif not self.custom:
            users &= {"peer"}
        gone = users or first
        return tuple("other" if name in gone else value for name, value in zip(self.labels, labels, strict=True))

    def give_up_all(self, labels: Labels) -> Labels:
        kept = {"scope"} if self.name in REQUESTS and not self.custom else set()
        return tuple(value if name in kept else "other" for name, value in zip(self.labels, labels, strict=True))

    def make_room(self, now: float) -> None:
        if len(self.rows) < self.cap or now - self.scanned < SCAN_SECONDS:
            return
        self.scanned = now
        for give in (self.give_up, self.give_up_all):
            if len(self.rows) >= self.cap:
                self.evict(give, now)

    def evict(self, give: Callable[[Labels], Labels], now: float) -> None:
        idle = [labels for labels, row in self.rows.items() if now - row.used >= IDLE_SECONDS]
        takers = {give(labels) for labels in idle}
        gone = {labels: self.rows[labels] for labels in idle if labels not in takers}
        for labels in gone:
            del self.rows[labels]
        for labels, row in gone.items():
            self.evicted += 1
            self.add_up(give(labels), row.numbers, row.used)

    def reshape(self, labels: list[str], bounds: list[float] | None) -> None:
        old, self.rows = self.rows, {}
        convert = conversion(self.labels, self.bounds, labels, bounds)
        self.labels, self.bounds = labels, bounds
        for values, row in old.items():
            self.add_up(*convert(values, row.numbers), row.used, row.created)

    def expire(self, now: float, period: float, moment: float, creation: int) -> None:
        """Forget what is idle, was shown since its last change, and was shown with its value."""
        for labels, row in list(self.rows.items()):
            if now - row.used >= period and row.used < moment and row.created < creation:
                del self.rows[labels]
                self.expired += 1


def conversion(
    old: list[str], old_bounds: list[float] | None, new: list[str], new_bounds: list[float] | None
) -> Callable[[Sequence[str], Sequence[float]], tuple[Labels, list[float]]]:
    """Return how label values and numbers of one shape look in another."""

    def convert(values: Sequence[str], numbers: Sequence[float]) -> tuple[Labels, list[float]]:
        by_name = dict(zip(old, values, strict=True))
        labels = clean([by_name.get(name, "") for name in new])
        if old_bounds is None or new_bounds is None:
            return labels, list(numbers)
        buckets: list[float] = [0] * (len(new_bounds) + 1)
        for bound, count in zip([*old_bounds, float("inf")], numbers, strict=False):
            buckets[bisect_left(new_bounds, bound)] += count
        return labels, [*buckets, *numbers[len(old_bounds) + 1 :]]

    return convert


class PlainTable:
    """All families by key. ``mistyped``: rows of a type that their family has no more; ``refused``, ``lost``: those of
    an nginx, of a family, that found no place.
    """

    def __init__(self, cap: int, max_instances: int, max_families: int, max_table_families: int) -> None:
        self.families: dict[Key, PlainFamily] = {}
        self.mistyped = self.refused = self.lost = 0
        self.evicted_instances = self.evicted_families = 0
        self._cap = cap
        self._creation = itertools.count()
        self._max_instances = max_instances
        self._max_families = max_families
        self._max_table_families = max_table_families

    def merge(self, instance: str, batch: Sequence[dict[str, Any]], birth: int, now: float) -> None:
        for sent in batch:
            self._merge((instance, sent["name"], sent["scope"], sent["custom"]), sent, birth, now)

    def _merge(self, key: Key, sent: dict[str, Any], birth: int, now: float) -> None:
        known = self.families.get(key)
        if known is not None and known.type != sent["type"] and (sent["inherited"] or birth <= known.birth):
            self.mistyped += len(sent["rows"])
            return
        if known is None and not self.find_place(key, len(sent["rows"]), now):
            return
        if known is None or known.type != sent["type"]:
            shape = (sent["name"], sent["type"], sent["labels"], sent["bounds"], sent["custom"])
            known = PlainFamily(*shape, self._cap, creation=self._creation)
            self.families[key] = known
        known.used = now
        if not sent["inherited"] and birth > known.birth:
            known.birth = birth
            if (sent["labels"], sent["bounds"]) != (known.labels, known.bounds):
                known.reshape(sent["labels"], sent["bounds"])
        convert = conversion(sent["labels"], sent["bounds"], known.labels, known.bounds)
        if sent["reset"]:
            known.rows.clear()
        width = len(sent["labels"])
        for values in sent["del"]:
            known.rows.pop(convert(values, [])[0], None)
        for row in sent["rows"]:
            known.add(*convert(row[:width], row[width:]), now)

    def find_place(self, key: Key, rows: int, now: float) -> bool:
        """Return whether a new family finds a place; its rows are refused or lost if not."""
        instance, _, _, custom = key
        names = {one for one, *_ in self.families}
        if instance not in names and len(names) >= self._max_instances and not self.evict_nginx(instance, now):
            self.refused += rows
            return False
        most = self._max_table_families - (self._max_table_families // 8 if custom else 0)
        while len(self.families) >= most and self.evict_nginx(instance, now):
            pass
        own = [one for one in self.families if one[0] == instance]
        if len(own) >= self._max_families - (self._max_families // 8 if custom else 0):
            return self.evict_family(own, custom, rows, now)
        return len(self.families) < most or self.evict_family(list(self.families), custom, rows, now)

    def evict_nginx(self, own: str, now: float) -> bool:
        """Have the nginx go that is idle longest, but not the one that needs a place."""
        used: dict[str, float] = {}
        for (instance, *_), family in self.families.items():
            used[instance] = max(used.get(instance, 0), family.used)
        idle = [name for name, last in used.items() if name != own and now - last >= IDLE_SECONDS]
        if not idle:
            return False
        gone = min(idle, key=lambda name: used[name])
        self.families = {key: family for key, family in self.families.items() if key[0] != gone}
        self.evicted_instances += 1
        return True

    def evict_family(self, keys: Sequence[Key], custom: bool, rows: int, now: float) -> bool:
        """Have that of these families go that is idle longest; no built-in one for a custom one."""
        idle = [key for key in keys if now - self.families[key].used >= IDLE_SECONDS and (not custom or key[3] is True)]
        if not idle:
            self.lost += rows
            return False
        del self.families[min(idle, key=lambda key: self.families[key].used)]
        self.evicted_families += 1
        return True
