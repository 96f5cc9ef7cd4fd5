"""Lines that state settings of ours and stay in nginx's configuration after uninstall. Pure.

A person wrote them, or moved them out of the lines that install added. Nothing uses them any more. They are named, and
not removed, since install did not write them where they are.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from resty_metrics.commands.install import places
from resty_metrics.commands.install.facts import Change
from resty_metrics.nginx_config.directive import Directive
from resty_metrics.nginx_config.dump import Configuration, read
from resty_metrics.nginx_config.hooks import directives

_VARIABLE, _DICTIONARY = "$resty_metrics_", "resty_metrics_"
_BY_CASES = ("geo", "map", "split_clients")


def notes(configuration: Configuration, share: str, changes: Sequence[Change]) -> list[str]:
    """Return a note for each such line. ``changes``: the changes of the configuration."""
    return [
        f"{place}: {words} stays, since install did not write it there. Nothing uses it now: remove it by hand"
        for place, words in dict.fromkeys(_left(configuration, share, changes))
    ]


def _left(configuration: Configuration, share: str, changes: Sequence[Change]) -> Iterator[tuple[str, str]]:
    """Yield the place and the words of each line that stays."""
    by_path = {change.path: change for change in changes}
    for file in dict.fromkeys(directive.file for directive in _settings(configuration)):
        change = by_path.get(file)
        if file.startswith(f"{share}/") or (change is not None and change.after is None):
            continue
        still = None if change is None else Counter(map(_shape, _settings(_read(change))))
        for directive in _settings(configuration):
            if directive.file == file and (still is None or still[_shape(directive)]):
                yield places.around(change)(directive), f"{directive.name} {_name(directive)}"


def _read(change: Change) -> Configuration:
    text = (change.after or b"").decode("utf-8", "surrogateescape")
    return read(f"# configuration file {change.path}:\n{text}\n")


def _settings(configuration: Configuration) -> list[Directive]:
    return [directive for directive in directives(configuration.directives) if _name(directive) is not None]


def _name(directive: Directive) -> str | None:
    """Return the variable or the dictionary of ours that a directive states; None: it states none."""
    words = directive.args[-1:] if directive.name in _BY_CASES else directive.args[:1]
    if directive.name == "lua_shared_dict":
        return next((word for word in words if word.startswith(_DICTIONARY)), None)
    if directive.name in _BY_CASES or directive.name.endswith("set"):
        return next((word for word in words if word.startswith(_VARIABLE)), None)
    return None


def _shape(directive: Directive) -> object:
    return directive.name, directive.args, tuple(map(_shape, directive.block or ()))
