"""The durations of a label set of requests: those of the row of durations that its requests are in.

Durations have labels of their own. Several label sets of requests may share one row of durations, so its quantiles are
those of all of them.

Rules:
- Each label of the row of durations has the value that the label set has. ``status_class`` is that of its status.
- Requests lack ``scheme``, unless the user has a label of this name: the rows of all schemes are taken together.
- An upgraded connection (101) has no duration.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from resty_metrics.commands.top import page
from resty_metrics.shapes.quantile import Buckets

UPGRADED = "101"
_SCHEME, _STATUS_CLASS = "scheme", "status_class"
_APART = ("nginx", "scope")  # rows without one of these are not those of an nginx, or a scope, that has a name
_OTHER = "other"

Labels = Mapping[str, str]
Names = tuple[str, ...]


class Durations:
    """Rows of durations by their label names, then by the values of some of these."""

    def __init__(self, times: Mapping[str, Buckets]) -> None:
        self._rows: dict[Names, list[tuple[Labels, Buckets]]] = defaultdict(list)
        self._by_values: dict[tuple[Names, Names], dict[Names, list[Buckets]]] = {}
        for text, buckets in times.items():
            labels = page.labels(text)
            self._rows[tuple(labels)].append((labels, buckets))

    def of(self, labels: Labels) -> Iterable[Buckets]:
        """Yield the durations of a label set of requests."""
        status = labels.get("status", "")
        if status == UPGRADED:
            return
        known = {**labels, _STATUS_CLASS: _class_of(status)}
        for names in self._rows:
            compared = tuple(name for name in names if name in known or name != _SCHEME)
            apart = all((name in names) == (name in labels) for name in _APART)
            if apart and all(name in known for name in compared):
                yield from self._by(names, compared).get(tuple(known[name] for name in compared), ())

    def _by(self, names: Names, compared: Names) -> Mapping[Names, list[Buckets]]:
        index = self._by_values.get((names, compared))
        if index is None:
            index = self._by_values[names, compared] = defaultdict(list)
            for labels, buckets in self._rows[names]:
                index[tuple(labels[name] for name in compared)].append(buckets)
        return index


def _class_of(status: str) -> str:
    return f"{status[0]}xx" if len(status) == 3 and "1" <= status[0] <= "5" else _OTHER
