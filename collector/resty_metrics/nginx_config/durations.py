"""The labels of the duration histograms that a configuration chooses.

Source: lua/resty/metrics/durations.lua, which decides; both change together.
"""

from dataclasses import dataclass

from resty_metrics.nginx_config.dump import Configuration
from resty_metrics.nginx_config.statements import of_variable

VARIABLE, _LABELS = "$resty_metrics_duration_labels", "$resty_metrics_labels"
OTEL = ("server", "method", "status", "scheme")
OURS = ("server", "method", "status", "status_class", "scheme")
_DEFAULT = ("server", "status_class")


@dataclass(frozen=True, slots=True)
class Chosen:
    """The labels of durations, in the order of the page. ``unknown``: a chosen name that is no label.

    ``place``: the line that chooses, None for the default. With an unknown name the default holds.
    """

    labels: tuple[str, ...]
    place: str | None = None
    unknown: str | None = None


def find(configuration: Configuration) -> Chosen:
    """Return the labels that durations have in ``http{}``; a scope may have others."""
    yours = [
        word.partition("=")[0] for stated in of_variable(configuration, _LABELS)[-1:] for word in stated.value.split()
    ]
    default = _in_order({*_DEFAULT, *yours}, yours)
    stated = of_variable(configuration, VARIABLE)[-1:]
    if not stated or not stated[0].value.strip():
        return Chosen(default)
    meaning = {"otel": OTEL, "*": (*OURS, *yours), **{name: (name,) for name in (*OURS, *yours)}}
    words = stated[0].value.split()
    unknown = next((word for word in words if word not in meaning), None)
    if unknown is not None:
        return Chosen(default, stated[0].place, unknown)
    return Chosen(_in_order({name for word in words for name in meaning[word]}, yours), stated[0].place)


def _in_order(chosen: set[str], yours: list[str]) -> tuple[str, ...]:
    return tuple(name for name in dict.fromkeys((*OURS, *yours)) if name in chosen)
