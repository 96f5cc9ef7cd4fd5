"""Who keeps a name that two families claim: on one page each sample name may belong to one family only.

Rules:
- A family of the user's keeps its name; a built-in one that collides with it is withheld.
- Of two of the user's the one that is named later in the list is withheld.
- What is withheld is said: ``resty_metrics_family_conflict`` is 1 for it.
- A histogram claims its name and those of its samples; in OpenMetrics a built-in counter claims its name without
  ``_total`` too. Two counters or gauges of the user's never collide that way: the page shows such a counter under its
  whole name, as ``unknown``.
- A family without lines claims nothing. Built-in families of one name are joined, not in conflict.
"""

from collections.abc import Iterable, Sequence

from collector.page.exposition import MetricFamily, claims, sample

CONFLICT = "resty_metrics_family_conflict"


def _claims_built_in(family: MetricFamily) -> set[str]:
    return claims(family) | ({family.name.removesuffix("_total")} if family.type == "counter" else set())


def resolve(custom: Iterable[MetricFamily], built_in: Sequence[MetricFamily]) -> list[MetricFamily]:
    """The families that may stand on one page, and what became of the others."""
    taken: set[str] = set()
    shown: list[MetricFamily] = []
    withheld: dict[str, None] = {}
    for family in custom:
        if any(family.lines):
            names = claims(family)
            if taken.isdisjoint(names):
                taken |= names
                shown.append(family)
            else:
                withheld[family.name] = None
    kept = []
    for family in built_in:
        if taken.isdisjoint(_claims_built_in(family)) or not any(family.lines):
            kept.append(family)
        else:
            withheld[family.name] = None
    return [*kept, *shown, *_say(withheld, taken)]


def _say(withheld: Iterable[str], taken: set[str]) -> list[MetricFamily]:
    lines = [sample(CONFLICT, {"family": name}, 1) for name in withheld]
    text = "1 for a family that is not on the page, since one of the user's has its name or that of one of its samples."
    return [] if CONFLICT in taken else [MetricFamily(CONFLICT, "gauge", text, lines)]
