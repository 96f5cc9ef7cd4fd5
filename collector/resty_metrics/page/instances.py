"""The label ``nginx``, which tells series of several nginx instances apart.

Rules:
- An instance with a name has it on each of its samples, as the first label; the samples of an instance without a name
  look as if there were no others.
- Where the user's own family has a label ``nginx``, an instance with a name shows that label as ``exported_nginx``, as
  Prometheus does with a label that it needs for itself. So two instances with names never make the same series.
- An instance without a name shows that label unchanged, so that a later instance with a name changes none of its
  series. The two could make the same series, so their families do not stand together (page/conflicts.py).
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

from resty_metrics.exposition.text import MetricFamily
from resty_metrics.ingest.sender import LiveHeartbeat

LABEL = "nginx"
_EXPORTED = "exported_"


def labels_of(instance: str) -> dict[str, str]:
    """Return the labels that every sample of this instance has."""
    return {LABEL: instance} if instance else {}


def label_names(names: Sequence[str], instance: str) -> list[str]:
    """Return the label names of a family of this instance, as they stand behind ours."""
    exported = LABEL
    while instance and exported in names:
        exported = _EXPORTED + exported
    return [exported if instance and name == LABEL else name for name in names]


@lru_cache(maxsize=4096)
def label_set(names: tuple[str, ...], instance: str, scope: str = "") -> frozenset[str]:
    """Return the label names, and the scope, that all samples of a family of this instance have."""
    return frozenset((*labels_of(instance), *label_names(names, instance), *([f"scope={scope}"] if scope else ())))


def mark(families: Iterable[MetricFamily], instance: str) -> list[MetricFamily]:
    """Return the families, marked as belonging to this instance."""
    return [replace(family, instance=instance) for family in families]


def by_instance(beats: Iterable[LiveHeartbeat]) -> dict[str, list[LiveHeartbeat]]:
    """Group the beats by instance, in the order of the names. An instance without a name comes first."""
    groups: dict[str, list[LiveHeartbeat]] = {}
    for beat in beats:
        groups.setdefault(beat.heartbeat.instance, []).append(beat)
    return dict(sorted(groups.items()))
