"""Values of our nginx variables that the Lua module does not accept, and names that are none of ours.

Rules:
- The Lua module decides (lua/resty/metrics/settings.lua); both change together. It uses a default instead of such a
  value.
- nginx accepts any variable: a misspelt one has no effect, and nothing says so. A variable that the configuration uses
  elsewhere is one of the user's, whatever its name.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from resty_metrics.nginx_config.dump import Configuration, Directive
from resty_metrics.nginx_config.hooks import directives
from resty_metrics.nginx_config.statements import NAME, of_variable

_PREFIX = "$resty_metrics_"
_SCOPE = ("scope", "scope_buckets", "scope_duration_labels", "scope_labels")
_WORKER = ("socket", "buckets", "nginx", "labels", "duration_labels", "upstreams", "upstream_peer")
_KNOWN = (*_WORKER, *_SCOPE, "upstream_name", "page")
_LIKENESS = 0.75  # labels and lables have 0.83, socket and buckets 0.62
_MOST_BUCKETS = 64
_LABEL = re.compile(r"(?!__)[A-Za-z_][A-Za-z0-9_]*=\$?[A-Za-z0-9_]+", re.ASCII)
_RESERVED = frozenset({"server", "method", "status", "status_class", "scope", "le"})


@dataclass(frozen=True, slots=True)
class Wrong:
    """A setting with no effect, or with its default instead: where, why, and what to write."""

    place: str
    reason: str
    remedy: str


def find(configuration: Configuration) -> list[Wrong]:
    """Return the settings for whole workers that the Lua module does not accept, and the misspelt variables."""
    return [*_misspelt(configuration), *_not_accepted(configuration)]


def _not_accepted(configuration: Configuration) -> Iterator[Wrong]:
    for name, judge in _JUDGES.items():
        for stated in of_variable(configuration, f"{_PREFIX}{name}")[-1:]:
            reason_and_remedy = judge(stated.value) if stated.value and "$" not in stated.value else None
            if reason_and_remedy is not None:
                reason, remedy = reason_and_remedy
                yield Wrong(stated.place, f'{_PREFIX}{name} is "{stated.value}": {reason}', remedy)


def _nginx(value: str) -> tuple[str, str] | None:
    if NAME.fullmatch(value):
        return None
    return "series have no label nginx", "choose a name of 1 to 64 of the characters A-Z a-z 0-9 _ . -"


def _labels(value: str) -> tuple[str, str] | None:
    for word in value.split():
        if not _LABEL.fullmatch(word):
            reason = f'"{word}" is not label=variable; requests are counted without your labels'
            return reason, "write each label as label=variable, in letters, digits and _, separated by blanks"
        label = word.partition("=")[0]
        if label in _RESERVED:
            return (
                f'the label "{label}" is reserved; requests are counted without your labels',
                "use another label name",
            )
    return None


def _buckets(value: str) -> tuple[str, str] | None:
    try:
        bounds = [round(float(word) * 1000) for word in value.split()]
    except (ValueError, OverflowError):
        bounds = []
    if 0 < len(bounds) <= _MOST_BUCKETS and bounds[0] >= 1 and bounds == sorted(set(bounds)):
        return None
    return "the default buckets are used", "write increasing seconds from 0.001 up, separated by blanks"


def _switch(value: str) -> tuple[str, str] | None:
    return None if value in ("on", "off") else ("the default is used", "write on or off")


_JUDGES: Mapping[str, Callable[[str], tuple[str, str] | None]] = {
    "nginx": _nginx,
    "labels": _labels,
    "buckets": _buckets,
    "upstreams": _switch,
    "upstream_peer": _switch,
}


def _misspelt(configuration: Configuration) -> Iterator[Wrong]:
    ours = [directive for http in configuration.blocks("http") for directive in directives(http.block or ())]
    for directive in ours:
        variable = _stated(directive)
        name = (variable or "").removeprefix(_PREFIX)
        if variable is None or not variable.startswith(_PREFIX) or name in _KNOWN:
            continue
        like = get_close_matches(name, _KNOWN, 1, _LIKENESS)
        if like and not any(_uses(user, variable) for user in ours if _stated(user) != variable):
            yield Wrong(directive.place, f"resty-metrics has no setting {variable}", f"write {_PREFIX}{like[0]} there")


def _stated(directive: Directive) -> str | None:
    if directive.name in ("geo", "map"):
        return directive.args[-1] if directive.args else None
    return directive.args[0] if directive.name == "set" and directive.args else None


def _uses(directive: Directive, variable: str) -> bool:
    return any(variable.removeprefix("$") in word for word in directive.args)
