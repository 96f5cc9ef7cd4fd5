"""``resty_metrics_trouble``: each trouble of the closed list, 0 or 1, and a series for each named nginx that has it."""

from collections.abc import Iterable

from resty_metrics.exposition.text import MetricFamily, sample
from resty_metrics.health.troubles import KINDS, Trouble
from resty_metrics.page.instances import labels_of

NAME = "resty_metrics_trouble"
_HELP = "1 while this trouble holds, else 0; one that concerns an nginx with a name has that name's series meanwhile."


def family(troubles: Iterable[Trouble]) -> MetricFamily:
    """Return the family of these troubles."""
    held = {(trouble.kind, trouble.nginx) for trouble in troubles}
    lines = [sample(NAME, {"trouble": kind.name}, int((kind, "") in held)) for kind in KINDS]
    named = sorted((kind.name, nginx) for kind, nginx in held if nginx)
    lines += [sample(NAME, {**labels_of(nginx), "trouble": name}, 1) for name, nginx in named]
    return MetricFamily(NAME, "gauge", _HELP, lines)
