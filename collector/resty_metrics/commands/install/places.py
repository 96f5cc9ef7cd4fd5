"""Places in a file of nginx's configuration before and after a change of it. Pure.

Rule: a note is read before the change, and also after it. Where the change moves a line, the note has both numbers.
"""

from collections.abc import Callable
from itertools import takewhile

from resty_metrics.commands.install.facts import Change
from resty_metrics.nginx_config.directive import Directive

Place = Callable[[Directive], str]


def present(directive: Directive) -> str:
    return directive.place


def around(change: Change | None) -> Place:
    """Return the function that names a directive's place before a change, and its line after it."""
    if change is None or change.before is None or change.after is None:
        return present
    before, after = change.before.split(b"\n"), change.after.split(b"\n")
    pairs = zip(before, after, strict=False)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    more = len(after) - len(before)

    def place(directive: Directive) -> str:
        if directive.file != change.path or directive.line <= same or more == 0:
            return directive.place
        return f"{directive.place} (line {directive.line + more} after the change)"

    return place
