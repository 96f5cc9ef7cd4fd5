"""The metrics of the troubles, and of the users and files that a reader of a trouble needs.

``resty_metrics_trouble`` has each trouble of the closed list, 0 or 1, and a series for each named nginx that has it.
"""

from collections.abc import Iterable, Mapping

from resty_metrics.exposition.text import MetricFamily, sample
from resty_metrics.health.facts import RefusedFile
from resty_metrics.health.troubles import KINDS, Trouble
from resty_metrics.page.instances import labels_of
from resty_metrics.shapes.labels import ABSENT

NAME = "resty_metrics_trouble"
_HELP = "1 while this trouble holds, else 0; one that concerns an nginx with a name has that name's series meanwhile."

_USER, _FILE = "resty_metrics_refused_user", "resty_metrics_refused_file"
_USER_HELP = "1 for each user whose datagrams were refused in the last 30 s, by number and name."
_FILE_HELP = "1 for each configuration file that was refused: the previous configuration is in force."


def family(troubles: Iterable[Trouble]) -> MetricFamily:
    """Return the family of these troubles."""
    held = {(trouble.kind, trouble.nginx) for trouble in troubles}
    lines = [sample(NAME, {"trouble": kind.name}, int((kind, "") in held)) for kind in KINDS]
    named = sorted((kind.name, nginx) for kind, nginx in held if nginx)
    lines += [sample(NAME, {**labels_of(nginx), "trouble": name}, 1) for name, nginx in named]
    return MetricFamily(NAME, "gauge", _HELP, lines)


def _printable(path: str) -> str:
    """Write a path as a label's value: bytes that are not UTF-8 are escaped."""
    return path.encode("utf-8", "backslashreplace").decode() or ABSENT


def refused(users: Mapping[int, str | None], files: Iterable[RefusedFile]) -> list[MetricFamily]:
    """Return a family for the refused users, each with its name if it is known, and one for the refused files.

    One without a series is left out.
    """
    of_users = [sample(_USER, {"uid": str(uid), "user": name or ABSENT}, 1) for uid, name in sorted(users.items())]
    kinds = sorted({(_printable(file.path), "web" if file.web else "settings") for file in files})
    of_files = [sample(_FILE, {"file": path, "kind": kind}, 1) for path, kind in kinds]
    families = (MetricFamily(_USER, "gauge", _USER_HELP, of_users), MetricFamily(_FILE, "gauge", _FILE_HELP, of_files))
    return [family for family in families if family.lines]
