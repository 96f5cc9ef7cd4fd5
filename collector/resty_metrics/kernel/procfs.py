"""Parse the files of /proc. Pure: other modules read them.

Rules:
- Strangers choose part of the bytes (the name and arguments of a process, the name of a socket). A line that does not
  fit is left out; nothing raises but ProcfsError.
- Only the beginning of arguments is kept: they may hold secrets, and our reports end up in logs.

Source: ``Documentation/filesystems/proc.rst`` and ``net/unix/af_unix.c`` (``unix_seq_show``) of Linux.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

MAX_ARGUMENTS = 8
MAX_ARGUMENT_CHARACTERS = 64
MAX_PARENTS = 16
CUT = "…"

_CONTAINER = re.compile(r"(?:^|[/:-])([0-9a-f]{64})(?:\.scope)?(?:/|$)")
_NAMED_CONTAINER = re.compile(r"/(?:lxc(?:\.payload)?[./]|machine\.slice/systemd-nspawn@)([^/]+?)(?:\.service)?(?:/|$)")
_NAMESPACE = re.compile(r"[a-z_]+:\[(\d+)\]")
_SOCKET = re.compile(r"socket:\[(\d+)\]")
_INTERPRETER = re.compile(r"(?:python|pypy)[\d.]*|(?:ba|da|z)?sh")
_MODULE_OPTION = re.compile(r"-[A-Za-z]*?m(.*)")
_OPTIONS_WITH_VALUE = ("-W", "-X")
_LOCK = re.compile(rb"^(?:lock:\t)?\d+: FLOCK +\w+ +\w+ +([1-9]\d*) ([0-9a-f]+):([0-9a-f]+):(\d+) ", re.MULTILINE)
_DELETED = " (deleted)"


class ProcfsError(Exception):
    """A file of /proc that is not as it should be: the process went away while it was read."""


@dataclass(frozen=True, slots=True)
class Parent:
    """One of those that a process descends from; ``name`` is the kernel's, at most 15 bytes."""

    pid: int
    name: str


@dataclass(frozen=True, slots=True)
class Process:
    """A process at the moment it was looked at.

    ``uid`` is the effective user; ``command`` the shortened arguments, ``[name]`` where there are none; ``parents``
    begin with the nearest; ``container`` comes from the cgroup's path; ``namespaces`` are inodes by kind, only
    those that we may read; ``ours``: whether it runs our program.
    """

    pid: int
    uid: int
    exe: str | None
    command: tuple[str, ...]
    parents: tuple[Parent, ...]
    cgroup: str | None
    container: str | None
    namespaces: Mapping[str, int]
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Lock:
    """A flock that is held, and on which file."""

    pid: int
    major: int
    minor: int
    inode: int


@dataclass(frozen=True, slots=True)
class Stat:
    """The fields of ``/proc/PID/stat``: the kernel's name for the process, and its parent (0 where none is visible)."""

    name: str
    parent: int


@dataclass(frozen=True, slots=True)
class NamedSocket:
    """A line of ``/proc/PID/net/unix``: a socket's inode, and its name at bind."""

    inode: int
    name: str


def text(data: bytes) -> str:
    """Decode bytes of the kernel without loss."""
    return data.decode("utf-8", "surrogateescape")


def parse_stat(data: bytes) -> Stat:
    """Parse ``/proc/PID/stat``. The name may contain parentheses. Raises ProcfsError."""
    head, closing, tail = data.rpartition(b")")
    fields = tail.split()
    if not closing or len(fields) < 2 or not fields[1].isdigit():
        raise ProcfsError("stat")
    return Stat(text(head.partition(b"(")[2]), int(fields[1]))


def parse_started(data: bytes) -> int:
    """Return when the process of ``/proc/PID/stat`` started, in clock ticks since boot. Raises ProcfsError."""
    fields = data.rpartition(b")")[2].split()
    if len(fields) < 20 or not fields[19].isdigit():
        raise ProcfsError("stat")
    return int(fields[19])


def parse_uid(status: bytes) -> int:
    """Return the effective user from ``/proc/PID/status``. Raises ProcfsError."""
    match = re.search(rb"^Uid:\t\d+\t(\d+)", status, re.MULTILINE)
    if match is None:
        raise ProcfsError("status")
    return int(match[1])


def parse_arguments(data: bytes) -> tuple[str, ...]:
    """Return all arguments in ``/proc/PID/cmdline``; empty for a kernel thread and for a process that has ended."""
    return tuple(text(argument) for argument in data.removesuffix(b"\0").split(b"\0")) if data else ()


def shortened(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Return the arguments that may be reported.

    At most MAX_ARGUMENTS are kept, with MAX_ARGUMENT_CHARACTERS of each, and a cut is marked.
    """
    kept = tuple(
        argument if len(argument) <= MAX_ARGUMENT_CHARACTERS else argument[:MAX_ARGUMENT_CHARACTERS] + CUT
        for argument in arguments[:MAX_ARGUMENTS]
    )
    return kept if len(arguments) <= MAX_ARGUMENTS else (*kept, CUT)


def parse_cgroup(data: bytes) -> str | None:
    """Return the most telling path: one that names a container, else the unified hierarchy's, else any but the root.

    Where old hierarchies and the unified one are mixed, a container may be in some of them only.
    """
    lines = [line.split(":", 2) for line in text(data).splitlines()]
    paths = [fields[2] for fields in sorted(lines) if len(fields) == 3]
    telling = [path for path in paths if container_of(path)] or [path for path in paths if path != "/"] or paths
    return telling[0] if telling else None


def container_of(cgroup: str) -> str | None:
    """Return the container that a cgroup's path names.

    It is the first 12 digits of an id as Docker, Podman and Kubernetes write it, or LXC's name.
    """
    if ids := _CONTAINER.findall(cgroup):
        return str(ids[-1][:12])
    match = _NAMED_CONTAINER.search(cgroup)
    return match[1] if match else None


def parse_namespace(link: str) -> int | None:
    """Return the inode in ``net:[4026531840]``; None for any other text."""
    match = _NAMESPACE.fullmatch(link)
    return int(match[1]) if match else None


def parse_socket(link: str) -> int | None:
    """Return the inode in ``socket:[12345]``; None for any other descriptor."""
    match = _SOCKET.fullmatch(link)
    return int(match[1]) if match else None


def parse_unix(lines: Iterable[bytes]) -> Iterator[NamedSocket]:
    """Yield the sockets with a path in ``/proc/PID/net/unix``.

    A name with a line break yields whatever its lines look like.
    """
    for line in lines:
        fields = line.rstrip(b"\n").split(maxsplit=7)
        if len(fields) == 8 and fields[6].isdigit() and not fields[7].startswith(b"@"):
            yield NamedSocket(int(fields[6]), text(fields[7]))


def parse_mount(fdinfo: bytes) -> int:
    """Return the id of the mount that a descriptor is on, from ``/proc/PID/fdinfo/N``. Raises ProcfsError."""
    match = re.search(rb"^mnt_id:\s*(\d+)$", fdinfo, re.MULTILINE)
    if match is None:
        raise ProcfsError("fdinfo")
    return int(match[1])


def parse_mounts(mountinfo: bytes) -> dict[int, tuple[int, int]]:
    """Return the device (major, minor) of each mount by its id, from ``/proc/PID/mountinfo``."""
    matches = re.finditer(rb"^(\d+) \d+ (\d+):(\d+) ", mountinfo, re.MULTILINE)
    return {int(match[1]): (int(match[2]), int(match[3])) for match in matches}


def parse_locks(data: bytes) -> list[Lock]:
    """Return the flocks that are held, not those that are waited for, by processes that have a pid here.

    Reads ``/proc/locks``, or ``/proc/PID/fdinfo/N`` for the locks that this descriptor holds.
    """
    matches = _LOCK.finditer(data)
    return [Lock(int(match[1]), int(match[2], 16), int(match[3], 16), int(match[4])) for match in matches]


def runs(program: str, module: str, exe: str | None, arguments: tuple[str, ...]) -> bool:
    """Return whether a command line runs ``program``, by itself or through an interpreter, or ``python -m module``."""
    first = _base(arguments[0]) if arguments else ""
    if program in (first, _base((exe or "").removesuffix(_DELETED))):
        return True
    return bool(_INTERPRETER.fullmatch(first)) and _interprets(program, module, arguments[1:])


def _interprets(program: str, module: str, words: tuple[str, ...]) -> bool:
    """Return whether the words after an interpreter's name, its options and a script or module, run our program."""
    remaining = iter(words)
    for word in remaining:
        if word in _OPTIONS_WITH_VALUE:
            next(remaining, None)
        elif option := _MODULE_OPTION.fullmatch(word):
            return (option[1] or next(remaining, "")) == module
        elif not word.startswith("-"):
            return _base(word) == program
    return False


def _base(path: str) -> str:
    return path.rpartition("/")[2]
