"""What names, labels and numbers on the wire must be, in batches and heartbeats alike."""

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
MAX_NAME_CHARACTERS = 128  # of a metric or a label; lua/resty/metrics/definition.lua has the same
MAX_HELP_CHARACTERS = 1_024

_METRIC_NAME = re.compile(rf"[a-zA-Z_:][a-zA-Z0-9_:]{{0,{MAX_NAME_CHARACTERS - 1}}}", re.ASCII)
_LABEL_NAME = re.compile(rf"(?!__)[a-zA-Z_][a-zA-Z0-9_]{{0,{MAX_NAME_CHARACTERS - 1}}}", re.ASCII)
_INSTANCE = re.compile(r"[A-Za-z0-9_.-]{0,64}", re.ASCII)
_NUMBERS = frozenset((int, float))


def require(condition: bool, detail: str) -> None:
    """Raises WireError (``invalid``) where the condition does not hold."""
    if not condition:
        raise WireError("invalid", detail)


def check_name(name: Any) -> None:
    require(type(name) is str and _METRIC_NAME.fullmatch(name) is not None, "name")


def check_instance(name: Any) -> str:
    """The name of an nginx; "" if it has none."""
    require(type(name) is str and _INSTANCE.fullmatch(name) is not None, "instance")
    checked: str = name
    return checked


def check_labels(labels: Any) -> None:
    require(type(labels) is tuple and len(labels) <= MAX_LABELS, "labels")
    names = [name for name in labels if type(name) is str and _LABEL_NAME.fullmatch(name)]
    require(len(names) == len(labels) == len(set(names)), "label names")


def check_help(text: Any) -> str:
    """The help text as the page may show it: printable, of bounded length."""
    require(type(text) is str, "help is not a string")
    return printable(text[:MAX_HELP_CHARACTERS])[:MAX_HELP_CHARACTERS]


def check_strings(values: Any, detail: str) -> None:
    try:
        "".join(values)
    except TypeError:
        raise WireError("invalid", detail) from None


def check_bounds(bounds: Any, scale: int) -> None:
    """Finite and increasing, also when they are divided by the scale, as the page shows them."""
    require(type(bounds) is tuple and len(bounds) <= MAX_BOUNDS, "bounds")
    check_finite(bounds, "a bound is not a finite number")
    require(all(low / scale < high / scale for low, high in pairwise(bounds)), "bounds do not increase")


def check_counts(numbers: list[Any]) -> None:
    """Finite, non-negative, at most 2^53. All at once in C; only where there are floats one by one."""
    if pack(numbers) is not None:
        return
    require(_NUMBERS.issuperset(map(type, numbers)), "not a number")
    # False for NaN too.
    require(all(0 <= number <= MAX_NUMBER for number in numbers), "a number out of range")


def check_finite(numbers: Any, detail: str) -> None:
    require(_NUMBERS.issuperset(map(type, numbers)) and all(map(math.isfinite, numbers)), detail)
