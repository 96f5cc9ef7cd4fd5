"""Who keeps a name that two families claim: on one page each sample name may belong to one family only.

Rules:
- A family of the user's keeps its name; a built-in one that collides with it is withheld.
- Of two of the user's the one that is named later in the list is withheld.
- What is withheld is said: ``resty_metrics_family_conflict`` is 1 for it.
- A histogram claims its name and those of its samples; in OpenMetrics a built-in counter claims its name without
  ``_total`` too. Two counters or gauges of the user's never collide that way: the page shows such a counter under its
  whole name, as ``unknown``.
- A family without lines claims nothing. Built-in families of one name are joined, not in conflict.
- Families are decided on in steps, some hundreds in each.
- All that is said of one nginx; several have names of their own. Families of two of them stand together under one name
  if they have one type. Where they do not, the nginx that was there first keeps it: a second one that is added takes
  nothing from the first. What the collector says of itself gives way to any of them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice

from collector.page.exposition import MetricFamily, MetricType, claims, sample
from collector.page.instances import labels_of
from collector.page.steps import Steps, finish

CONFLICT = "resty_metrics_family_conflict"
STEP_FAMILIES = 500
_Owners = dict[str, tuple[str, MetricType]]  # of a sample's name: the family that has it


def _claims_built_in(family: MetricFamily) -> set[str]:
    return claims(family) | ({family.name.removesuffix("_total")} if family.type == "counter" else set())


class _Page:
    """Who has which name, while one nginx after the other takes its own."""

    def __init__(self) -> None:
        self.shown: set[int] = set()  # ids of families
        self.withheld: dict[tuple[str, str], None] = {}
        self.custom: _Owners = {}
        self.built_in: _Owners = {}

    def take(self, instance: str, custom: Iterable[MetricFamily], built_in: Iterable[MetricFamily]) -> Iterator[None]:
        """Take the families of one nginx; those of the user come first. Yield after each."""
        taken: set[str] = set()
        for family in custom:
            names = claims(family)
            free = taken.isdisjoint(names) and _agrees(family, names, self.custom, self.built_in)
            self._decide(instance, family, free)
            if free:
                taken |= names
                self.custom.update(dict.fromkeys(names, (family.name, family.type)))
            yield
        for family in built_in:
            names = _claims_built_in(family)
            free = taken.isdisjoint(names) and _agrees(family, names, self.custom)
            self._decide(instance, family, free)
            if free:
                for name in names - claims(family):
                    self.built_in.setdefault(name, (family.name, family.type))
                self.built_in.update(dict.fromkeys(claims(family), (family.name, family.type)))
            yield

    def take_own(self, families: Iterable[MetricFamily]) -> None:
        """Take the collector's own, of no nginx."""
        for family in families:
            self._decide("", family, self.custom.keys().isdisjoint(_claims_built_in(family)))

    def _decide(self, instance: str, family: MetricFamily, free: bool) -> None:
        if free:
            self.shown.add(id(family))
        else:
            self.withheld[instance, family.name] = None


def _agrees(family: MetricFamily, names: set[str], *owners: Mapping[str, tuple[str, MetricType]]) -> bool:
    """Whether nobody has these names but for a family of the same name and type."""
    own = (family.name, family.type)
    return all(one.get(name, own) == own for one in owners for name in names)


def resolve(
    custom: Sequence[MetricFamily], built_in: Sequence[MetricFamily], first: Iterable[str] = ()
) -> list[MetricFamily]:
    """Do all of ``in_steps`` at once."""
    return finish(in_steps(custom, built_in, first))


def in_steps(
    custom: Sequence[MetricFamily], built_in: Sequence[MetricFamily], first: Iterable[str] = ()
) -> Steps[list[MetricFamily]]:
    """Return the families that may stand on one page, and a family that names the others. ``first``: instances of nginx
    in the order in which they came; those that are not among them come later.
    """
    page = _Page()
    customs = _by_instance(family for family in custom if any(family.lines))
    yield
    built_ins = _by_instance(family for family in built_in if any(family.lines) and family.instance is not None)
    yield
    order = dict.fromkeys((*first, *customs, *built_ins))
    decided = chain.from_iterable(page.take(name, customs.get(name, ()), built_ins.get(name, ())) for name in order)
    while sum(1 for _ in islice(decided, STEP_FAMILIES)):
        yield
    page.take_own(family for family in built_in if any(family.lines) and family.instance is None)
    kept = [family for family in built_in if id(family) in page.shown or not any(family.lines)]
    yield
    withheld = yield from _say(page)
    return [*kept, *(family for family in custom if id(family) in page.shown), *withheld]


def _by_instance(families: Iterable[MetricFamily]) -> dict[str, list[MetricFamily]]:
    found: dict[str, list[MetricFamily]] = {}
    for family in families:
        found.setdefault(family.instance or "", []).append(family)
    return found


def _say(page: _Page) -> Steps[list[MetricFamily]]:
    lines = []
    for instance, name in page.withheld:
        lines.append(sample(CONFLICT, {**labels_of(instance), "family": name}, 1))
        if len(lines) % STEP_FAMILIES == 0:
            yield
    text = "1 for a family that is not on the page, since one of the user's has its name or that of one of its samples."
    return [] if CONFLICT in page.custom else [MetricFamily(CONFLICT, "gauge", text, lines)]
