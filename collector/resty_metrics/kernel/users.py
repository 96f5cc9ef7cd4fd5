"""Users: of a process, and by name as the machine (or a container's own files) knows them."""

import re
from collections.abc import Iterator
from pathlib import Path

from resty_metrics.kernel.access import User
from resty_metrics.kernel.paths import below, read

_IDS = re.compile(r"^(?P<name>Uid|Gid|Groups):\t(?P<ids>.*)$", re.MULTILINE)


def _lines(root: Path, file: str) -> Iterator[list[str]]:
    for line in (read(below(root, file)) or "").splitlines():
        yield line.split(":")


def _name(uid: int, root: Path) -> str | None:
    return next(
        (fields[0] for fields in _lines(root, "/etc/passwd") if len(fields) > 3 and fields[2] == str(uid)), None
    )


def owner_of(uid: int, gid: int, root: Path) -> str | None:
    """Return the names of a user and a group, as in ``root:adm``; None if one of them has none."""
    user = _name(uid, root)
    groups = (fields[0] for fields in _lines(root, "/etc/group") if len(fields) > 3 and fields[2] == str(gid))
    group = next(groups, None)
    return None if user is None or group is None else f"{user}:{group}"


def name_of(uid: int) -> str | None:
    """Return the name of a user of this machine."""
    return _name(uid, Path("/"))


def uid_of(name: str, root: Path) -> int | None:
    uid = next((fields[2] for fields in _lines(root, "/etc/passwd") if len(fields) > 3 and fields[0] == name), "")
    return int(uid) if uid.isdigit() else None


def of_process(pid: int, root: Path) -> User | None:
    """Return effective user, group and supplementary groups; None where the process has ended."""
    text = read(Path(f"/proc/{pid}/status"))
    if text is None:
        return None
    ids = {match["name"]: [int(number) for number in match["ids"].split()] for match in _IDS.finditer(text)}
    uid = ids["Uid"][1]
    return User(uid, ids["Gid"][1], frozenset(ids["Groups"]), _name(uid, root))


def configured(name: str, group: str | None, root: Path) -> User | None:
    """Return the user that nginx's workers become by ``user NAME [GROUP];``; None where there is no such user."""
    entry = next((fields for fields in _lines(root, "/etc/passwd") if len(fields) > 3 and fields[0] == name), None)
    if entry is None:
        return None
    groups = [fields for fields in _lines(root, "/etc/group") if len(fields) > 3 and fields[2].isdigit()]
    gid = next((int(fields[2]) for fields in groups if fields[0] == (group or name)), int(entry[3]))
    member_of = frozenset(int(fields[2]) for fields in groups if name in fields[3].split(","))
    return User(int(entry[2]), gid, member_of, name)
