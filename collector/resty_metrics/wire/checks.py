"""Checks of names, labels and numbers on the wire, shared by batches and heartbeats."""

import math
import re
from itertools import pairwise
from typing import Any

from resty_metrics.shapes.labels import printable
from resty_metrics.shapes.sums import MAX_COUNT, pack
from resty_metrics.wire.datagram import WireError

MAX_NUMBER = MAX_COUNT
MAX_LABELS = 32
MAX_BOUNDS = 256
MAX_NAME_CHARACTERS = 128  # of a metric or a label; the same as in lua/resty/metrics/definition.lua
MAX_HELP_CHARACTERS = 1_024

_METRIC_NAME = re.compile(rf"[a-zA-Z_:][a-zA-Z0-9_:]{{0,{MAX_NAME_CHARACTERS - 1}}}", re.ASCII)
_LABEL_NAME = re.compile(rf"(?!__)[a-zA-Z_][a-zA-Z0-9_]{{0,{MAX_NAME_CHARACTERS - 1}}}", re.ASCII)
_INSTANCE = re.compile(r"[A-Za-z0-9_.-]{0,64}", re.ASCII)
_NUMBERS = frozenset((int, float))


def require(condition: bool, detail: str) -> None:
    """Raise WireError (``invalid``) unless the condition holds."""
    if not condition:
        raise WireError("invalid", detail)


def check_name(name: Any) -> None:
    require(type(name) is str and _METRIC_NAME.fullmatch(name) is not None, "name")


def check_instance(name: Any) -> str:
    """Return the name of an nginx; "" if it has none."""
    require(type(name) is str and _INSTANCE.fullmatch(name) is not None, "instance")
    checked: str = name
    return checked


def check_labels(labels: Any) -> None:
    require(type(labels) is tuple and len(labels) <= MAX_LABELS, "labels")
    names = [name for name in labels if type(name) is str and _LABEL_NAME.fullmatch(name)]
    require(len(names) == len(labels) == len(set(names)), "label names")


def check_help(text: Any) -> str:
    """Return the help text in the form that the page may show: printable, of bounded length."""
    require(type(text) is str, "help is not a string")
    return printable(text[:MAX_HELP_CHARACTERS])[:MAX_HELP_CHARACTERS]


def check_strings(values: Any, detail: str) -> None:
    try:
        "".join(values)
    except TypeError:
        raise WireError("invalid", detail) from None


def check_bounds(bounds: Any, scale: int) -> None:
    """Check that bounds are finite and increase, also after the division by the scale that the page shows."""
    require(type(bounds) is tuple and len(bounds) <= MAX_BOUNDS, "bounds")
    check_finite(bounds, "a bound is not a finite number")
    require(all(low / scale < high / scale for low, high in pairwise(bounds)), "bounds do not increase")


def check_counts(numbers: list[Any]) -> None:
    """Check that numbers are finite, not negative and at most 2^53.

    That is done at once in C, or one by one for floats.
    """
    if pack(numbers) is not None:
        return
    require(_NUMBERS.issuperset(map(type, numbers)), "not a number")
    # False for NaN too.
    require(all(0 <= number <= MAX_NUMBER for number in numbers), "a number out of range")


def check_finite(numbers: Any, detail: str) -> None:
    require(_NUMBERS.issuperset(map(type, numbers)) and all(map(math.isfinite, numbers)), detail)
