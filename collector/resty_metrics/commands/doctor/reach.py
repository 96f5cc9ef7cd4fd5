"""Checks that nginx's workers may do what they need: ``reach.*``.

These are all obstacles between a worker and the socket: the collector's uid filter, mode and owner of each directory,
mandatory access control. A further check is whether a worker may read the Lua files: if not, nginx -t passes and every
request logs an error.
"""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from resty_metrics.commands.doctor.finding import Finding, fail, not_known, of_its_own, ok, skip, warn
from resty_metrics.commands.doctor.nginx_checks import RELOAD
from resty_metrics.health import remedies
from resty_metrics.health.reach import is_home
from resty_metrics.kernel.access import READ, SEARCH, WRITE, Node, Obstacle, User, obstacle
from resty_metrics.process.command_line import DEFAULT_SOCKET

Way = Sequence[Node]


@dataclass(frozen=True, slots=True)
class Filter:
    """The users that the collector accepts. ``own_uid`` None: no collector is known to run."""

    own_uid: int | None
    allowed: frozenset[int]


@dataclass(frozen=True, slots=True)
class Confinement:
    """Mandatory access control where it is on.

    ``system``: SELinux or AppArmor. ``subject``: a worker's domain or profile, None where it has none or it cannot be
    read. ``object``: the label of the socket, SELinux's.
    """

    system: str
    enforcing: bool
    subject: str | None
    object: str | None


def socket(users: Iterable[User], way: Way) -> list[Finding]:
    """Check ``reach.socket``: the directories and the socket itself. ``way`` ends with the socket."""
    return [_socket(user, way) for user in users]


def unseen(path: str) -> Finding:
    """Report ``reach.socket`` as not known: the directories above the socket cannot be looked at."""
    return not_known("reach.socket", f"the way to {path} cannot be looked at", "run doctor as root")


def _socket(user: User, way: Way) -> Finding:
    stopped = obstacle(user, way, WRITE)
    path = way[-1].path
    if stopped is None:
        return ok("reach.socket", f"{user.label} may reach and write {path}")
    if not stopped.known:
        return not_known(
            "reach.socket",
            f"{stopped.node.label} has an access control list",
            f"check that it lets {user.label} {stopped.need_word}: getfacl {shlex.quote(stopped.node.path)}",
        )
    evidence = f"{user.label} may not {stopped.need_word} {stopped.node.label}"
    if stopped.node is way[-1]:
        remedy = "restart the collector with --socket.mode=0666, or with 0660 and a group that the user is in"
    elif is_home(stopped.node.path):
        remedy = f"choose a --socket.path that is not below {stopped.node.path}, such as {DEFAULT_SOCKET}"
    else:
        opened = shlex.join([stopped.node.path])
        remedy = f"chmod o+x {opened}, or choose a --socket.path below a directory that {user.label} may search"
    failed = fail("reach.socket", evidence, remedy)
    return of_its_own(failed) if stopped.need == SEARCH else failed


def uid_filter(users: Iterable[User], allowing: Filter) -> list[Finding]:
    """Check ``reach.uid``: the collector takes datagrams of these users."""
    return [_uid(user, allowing) for user in users]


def _uid(user: User, allowing: Filter) -> Finding:
    if user.uid in allowing.allowed or user.uid == allowing.own_uid:
        return ok("reach.uid", f"{user.label} may send")
    if allowing.own_uid is None:
        return skip(
            "reach.uid",
            f"no collector runs; one would refuse the datagrams of {user.label}, unless it runs as that user or "
            f"has --socket.allow-uid={user.uid}",
        )
    refused = fail(
        "reach.uid",
        f"{user.label} may not send: the collector refuses its datagrams, and the workers keep their counts",
        remedies.allow([user.uid]),
    )
    return replace(refused, parts=frozenset({"uid", f"uid {user.uid}"}))


def lua_files(users: Iterable[User], ways: Sequence[Way]) -> list[Finding]:
    """Check ``reach.lua``: these users may read the Lua module."""
    return [_lua_files(user, ways) for user in users]


def _lua_files(user: User, ways: Sequence[Way]) -> Finding:
    stopped = [hindrance for way in ways if (hindrance := obstacle(user, way, READ)) is not None]
    if not stopped:
        return ok("reach.lua", f"{user.label} may read the Lua module ({len(ways)} files)")
    first = stopped[0]
    if not first.known:
        look = f"check that it lets {user.label} {first.need_word}: getfacl {shlex.quote(first.node.path)}"
        return not_known("reach.lua", f"{first.node.label} has an access control list", look)
    paths = list(dict.fromkeys(hindrance.node.path for hindrance in stopped))
    more = f", and {len(paths) - 1} more" if len(paths) > 1 else ""
    evidence = f"{user.label} may not {first.need_word} {first.node.label}{more}: every request logs an error"
    if is_home(first.node.path):
        share = ways[0][-1].path.partition("/lua/resty/")[0]
        moved = f"copy {share} to /usr/share/resty-metrics, and write that path into nginx's configuration"
        return fail("reach.lua", evidence, f"{moved}; then: {RELOAD}")
    return fail("reach.lua", evidence, f"{_opened(stopped)}; then: {RELOAD}")


def _opened(stopped: Sequence[Obstacle]) -> str:
    """Return the command that gives what is missing: search permission of directories, read permission of files."""
    searched = dict.fromkeys(hindrance.node.path for hindrance in stopped if hindrance.need == SEARCH)
    read = dict.fromkeys(hindrance.node.path for hindrance in stopped if hindrance.need == READ)
    commands = [f"chmod o+x {shlex.join(searched)}"] if searched else []
    commands += [f"chmod o+r {shlex.join(read)}"] if read else []
    return " && ".join(commands)


def confinement(context: Confinement) -> Finding:
    """Check ``reach.selinux`` or ``reach.apparmor``.

    Policies are not evaluated here, so a confined worker is a warning.
    """
    check = f"reach.{context.system.lower()}"
    if context.subject is None or context.subject.startswith(("unconfined", "-")):
        return ok(check, f"{context.system} is on, and does not confine the workers")
    where = "" if context.object is None else f", the socket is {context.object}"
    evidence = f"{context.system} confines the workers as {context.subject}{where}"
    if not context.enforcing:
        return ok(check, f"{evidence}; it only complains")
    return warn(check, f"not known: {evidence}; its policy is not evaluated here", _LOOK[context.system])


_LOOK = {
    "SELinux": "if workers log EACCES although the modes are right: ausearch -m avc -c nginx, and allow what it shows",
    "AppArmor": "if workers log EACCES although the modes are right: journalctl -k | grep apparmor, and allow it",
}
