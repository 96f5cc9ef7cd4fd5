"""Requests that differ in what becomes a label, and values of the page by labels."""

import http.client
from collections import Counter
from collections.abc import Mapping

from support.collector import Samples


def get(port: int, path: str = "/", headers: Mapping[str, str] | None = None, times: int = 1) -> int:
    for _ in range(times):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", path, headers=dict(headers or {}))
        response = connection.getresponse()
        response.read()
        connection.close()
    return response.status


def by_labels(samples: Samples, name: str, *labels: str) -> Counter[tuple[str, ...]]:
    """Values of a metric by some of its labels; a label that a sample lacks is ``absent``."""
    found: Counter[tuple[str, ...]] = Counter()
    for (sample, pairs), value in samples.items():
        if sample == name:
            of = dict(pairs)
            found[tuple(of.get(label, "absent") for label in labels)] += int(value)
    return found
