"""Conflicts of families over a name or a series, and their outcome: a page has each series once.

Rules:
- Each sample name belongs to one family. The user's family keeps its name; a built-in one that collides with it is
  withheld. Of two families of the user's, the later one in the list is withheld.
- A histogram claims its name and those of its samples; in OpenMetrics a built-in counter claims its name without
  ``_total`` too. Two counters or gauges of the user's never collide that way: the page shows such a counter under its
  whole name, as ``unknown``.
- A family without lines claims nothing. Families of one name that the collector makes itself (the scopes of requests,
  the sources, the workers) are joined: it never makes a series twice.
- A name that the collector makes itself is its own: a built-in family that a worker sends under it is withheld.
- All of the above holds within one nginx; several nginx have names of their own. Families of two nginx share one name
  if they have one type and cannot make the same series. They could make the same series if one nginx has no name, its
  family has a label ``nginx`` of the user's, and all labels are the same. The values of that label do not matter:
  clients may choose them.
- Where two nginx cannot share a name, the first one keeps it: a second nginx that is added takes nothing from the
  first. The collector's own metrics give way to any family of the user's.
- Each withheld family is reported: ``resty_metrics_family_conflict`` is 1 for it. Nothing is reported about an nginx
  that is gone: it counts nothing, and nobody could repair it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import chain, islice

from resty_metrics.exposition.text import MetricFamily, claims, sample
from resty_metrics.page.instances import LABEL, labels_of
from resty_metrics.process.steps import Steps, finish

CONFLICT = "resty_metrics_family_conflict"
STEP_FAMILIES = 500  # per step: a few milliseconds
_Kind = tuple[str, str, bool]
Withheld = Sequence[tuple[str, str]]  # nginx and name of each family that is not on the page


def _kind(family: MetricFamily) -> _Kind:
    """Return what families that stand under one name must have in common."""
    return family.name, family.type, bool(family.parts)


def _stem(family: MetricFamily) -> set[str]:
    return {family.name.removesuffix("_total")} - {family.name} if family.type == "counter" else set()


@dataclass(frozen=True, slots=True)
class _Owner:
    """The families that have a sample's name: their kind, and the labels of those that might repeat a series.

    A series might be repeated by an nginx with a name, and by one without where the user's labels include ``nginx``.
    """

    kind: _Kind
    named: set[frozenset[str] | None] = field(default_factory=set)
    unnamed: set[frozenset[str] | None] = field(default_factory=set)

    def add(self, family: MetricFamily) -> None:
        if family.instance:
            self.named.add(family.labels)
        elif family.labels is not None and LABEL in family.labels:
            self.unnamed.add(family.labels)

    def agrees(self, kind: _Kind, family: MetricFamily) -> bool:
        """Return whether a family of this kind may stand under the name too."""
        if self.kind != kind:
            return False
        if family.instance:
            return family.labels not in self.unnamed if family.labels is not None else not self.unnamed
        return not self.named or LABEL not in (family.labels or ()) or self.named.isdisjoint((family.labels, None))


class _Owners:
    """The owners of names."""

    def __init__(self) -> None:
        self._by_name: dict[str, _Owner] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def agree(self, family: MetricFamily, names: Iterable[str]) -> bool:
        """Return whether every owner of these names lets the family stand beside it."""
        kind = _kind(family)
        for name in names:
            owner = self._by_name.get(name)
            if owner is not None and not owner.agrees(kind, family):
                return False
        return True

    def add(self, family: MetricFamily, names: Iterable[str]) -> None:
        kind = _kind(family)
        for name in names:
            owner = self._by_name.get(name)
            if owner is None:
                owner = self._by_name[name] = _Owner(kind)
            owner.add(family)


class _Page:
    """The ownership of names, built while one nginx after the other takes its own."""

    def __init__(self, reserved: AbstractSet[str]) -> None:
        """Begin with no names taken. ``reserved``: the names that the collector makes itself."""
        self.shown: set[int] = set()  # ids of families
        self.withheld: dict[tuple[str, str], None] = {}
        self.custom = _Owners()
        self._built_in = _Owners()
        self._stems = _Owners()
        self._reserved = reserved

    def take(self, instance: str, custom: Iterable[MetricFamily], built_in: Iterable[MetricFamily]) -> Iterator[None]:
        """Take the families of one nginx, one at each turn; those of the user come first."""
        claimed: set[str] = set()
        for family in custom:
            names = claims(family)
            rivals = (self.custom, self._built_in, self._stems)
            free = claimed.isdisjoint(names) and all(owners.agree(family, names) for owners in rivals)
            self._decide(instance, family, free)
            if free:
                claimed |= names
                self.custom.add(family, names)
            yield
        for family in built_in:
            names, stem = claims(family), _stem(family)
            free = claimed.isdisjoint(names | stem) and self._has_room(family, names, stem)
            self._decide(instance, family, free)
            if free:
                self._built_in.add(family, names)
                self._stems.add(family, stem)
            yield

    def _has_room(self, family: MetricFamily, names: set[str], stem: set[str]) -> bool:
        if family.sent and not self._reserved.isdisjoint(names):
            return False
        return self.custom.agree(family, names | stem) and self._built_in.agree(family, names)

    def take_own(self, families: Iterable[MetricFamily]) -> None:
        """Take the collector's own, of no nginx."""
        for family in families:
            self._decide("", family, not any(name in self.custom for name in claims(family) | _stem(family)))

    def _decide(self, instance: str, family: MetricFamily, free: bool) -> None:
        if free:
            self.shown.add(id(family))
        else:
            self.withheld[instance, family.name] = None


def resolve(
    custom: Sequence[MetricFamily],
    built_in: Sequence[MetricFamily],
    first: Iterable[str] = (),
    gone: AbstractSet[str] = frozenset(),
) -> list[MetricFamily]:
    """Do all of ``in_steps`` at once."""
    return finish(in_steps(custom, built_in, first, gone))


def in_steps(
    custom: Sequence[MetricFamily],
    built_in: Sequence[MetricFamily],
    first: Iterable[str] = (),
    gone: AbstractSet[str] = frozenset(),
    report: Callable[[Withheld], None] = lambda _: None,
) -> Steps[list[MetricFamily]]:
    """Return the families that may stand on one page, and a family that names the others.

    ``first``: instances of nginx in the order in which they came. Other instances come later, and those in ``gone``
    last. ``report`` is called with the withheld families, except those of an nginx that is gone.
    """
    shown = [family for family in built_in if any(family.lines)]
    page = _Page({CONFLICT}.union(*[claims(family) for family in shown if not family.sent]))
    yield
    customs = _by_instance(family for family in custom if any(family.lines))
    built_ins = _by_instance(family for family in shown if family.instance is not None)
    yield
    order = sorted(dict.fromkeys((*first, *customs, *built_ins)), key=gone.__contains__)
    decided = chain.from_iterable(page.take(name, customs.get(name, ()), built_ins.get(name, ())) for name in order)
    while sum(1 for _ in islice(decided, STEP_FAMILIES)):
        yield
    page.take_own(family for family in shown if family.instance is None)
    kept = [family for family in built_in if id(family) in page.shown or not any(family.lines)]
    yield
    report(tuple(key for key in page.withheld if key[0] not in gone))
    withheld = yield from _report(page, gone)
    return [*kept, *(family for family in custom if id(family) in page.shown), *withheld]


def _by_instance(families: Iterable[MetricFamily]) -> dict[str, list[MetricFamily]]:
    by_instance: dict[str, list[MetricFamily]] = {}
    for family in families:
        by_instance.setdefault(family.instance or "", []).append(family)
    return by_instance


def _report(page: _Page, gone: AbstractSet[str]) -> Steps[list[MetricFamily]]:
    lines = []
    for instance, name in page.withheld:
        if instance not in gone:
            lines.append(sample(CONFLICT, {**labels_of(instance), "family": name}, 1))
        if len(lines) % STEP_FAMILIES == STEP_FAMILIES - 1:
            yield
    text = (
        "1 for a family that is not on the page, since another one has its name or that of one of its samples, or "
        "could make one of its series."
    )
    return [] if CONFLICT in page.custom else [MetricFamily(CONFLICT, "gauge", text, lines)]
