"""Values of the page by labels."""

from collections import Counter

from support.collector import Samples


def by_labels(samples: Samples, name: str, *labels: str) -> Counter[tuple[str, ...]]:
    """Values of a metric by some of its labels; a label that a sample lacks is ``absent``."""
    found: Counter[tuple[str, ...]] = Counter()
    for (sample, pairs), value in samples.items():
        if sample == name:
            of = dict(pairs)
            found[tuple(of.get(label, "absent") for label in labels)] += int(value)
    return found
