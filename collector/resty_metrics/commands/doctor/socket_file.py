"""The path, the lock and the probe: ``socket.*`` as far as files and datagrams show it.

Rules:
- The lock is read in /proc/locks, never tried: a shared lock held for a moment could make a start fail.
"""

import stat
from dataclasses import dataclass, replace
from typing import Literal

from resty_metrics.commands.doctor.finding import Finding, fail, not_known, of_its_own, ok, warn
from resty_metrics.kernel.access import owner_label

START = "start it: resty-metrics serve"
AGAIN = (
    "start it as it was started before, with its own --config.file, --state.dir and other flags: with another state "
    "directory it would begin another journal, at 0"
)
PUT_BACK = "the collector puts its socket back within 5 seconds; restart it only if it does not"
_START_UNIT = "start it: sudo systemctl start resty-metrics"
_TYPES = (
    (stat.S_ISREG, "a regular file"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a named pipe"),
)


@dataclass(frozen=True, slots=True)
class SocketFile:
    """The file at the path.

    ``mode``: with the type; ``datagram`` None: the kernel does not tell; ``owner``: as in ``Node``.
    """

    path: str
    mode: int
    uid: int
    gid: int
    datagram: bool | None
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class LockFile:
    """The lock file.

    ``holder``: its holder by /proc/locks, None if none can be seen; ``written``: the pid in the file.
    """

    path: str
    exists: bool
    holder: int | None
    written: int | None


@dataclass(frozen=True, slots=True)
class Running:
    """The process that holds the lock.

    ``state``: its letter in /proc (proc_pid_stat(5)); ``ours``: it runs our program; ``seconds``: since its start, None
    if that is not known.
    """

    pid: int
    command: str
    state: str
    ours: bool
    seconds: float | None = None


Outcome = Literal[
    "answered", "refused", "no_answer", "full", "missing", "denied", "wrong_type", "held", "stranger", "error"
]


@dataclass(frozen=True, slots=True)
class Probe:
    """The outcome of a probe. ``seconds``: the time until the answer, or until we stopped waiting."""

    outcome: Outcome
    detail: str
    seconds: float


def start(unit: bool, lock_file: LockFile) -> str:
    """Return the remedy where no collector runs. ``unit``: systemd has a unit for the collector at this socket.

    Started by hand, as root, it would leave files that the unit's user cannot write. Where a lock file shows that one
    ran, its settings are not known any more, and may be others than the defaults.
    """
    if unit:
        return _START_UNIT
    return AGAIN if lock_file.exists else START


_DIRECTORY = "check what the directory contains, and remove it: the collector does not. Then it puts its socket there"


def path(path: str, file: SocketFile | None, error: str | None, absent: str = START) -> Finding:
    """Check ``socket.path``: the path has a datagram socket.

    ``error``: the reason why the path could not be looked at; ``absent``: the remedy where no collector runs.
    """
    check = "socket.path"
    if file is None and error is not None:
        return not_known(check, f"{path}: {error}", "run doctor as root")
    if file is None:
        return fail(check, f"{path} does not exist", absent)
    if not stat.S_ISSOCK(file.mode):
        kind = next((words for is_type, words in _TYPES if is_type(file.mode)), "no socket")
        evidence = f"{path} is {kind}, not a socket"
        if stat.S_ISDIR(file.mode):
            return of_its_own(fail(check, evidence, _DIRECTORY))
        return fail(check, evidence, absent)
    if file.datagram is False:
        return fail(check, f"{path} is a socket, but of another type than datagram", absent)
    kind = "a datagram socket" if file.datagram else "a socket"  # the kernel knows no type if no process holds it
    owner = owner_label(file.uid, file.gid, file.owner)
    return ok(check, f"{path} is {kind}, mode {stat.S_IMODE(file.mode):04o}, owner {owner}")


_INVISIBLE = "the probe is answered, so a collector runs, but its process cannot be seen from here"
_ENTER = "run doctor in its pid namespace, or on the host"


def lock(lock_file: LockFile, running: Running | None, answered: bool, absent: str = START) -> Finding:
    """Check ``socket.lock``: a living collector holds it."""
    check = "socket.lock"
    if not lock_file.exists:
        return fail(check, f"{lock_file.path} does not exist: no collector was ever started on this path", absent)
    if lock_file.holder is not None:
        return ok(check, f"process {lock_file.holder} holds {lock_file.path}")
    if running is None and answered:
        return not_known(check, f"the holder of {lock_file.path}: {_INVISIBLE}", _ENTER)
    if running is not None:
        evidence = f"{lock_file.path} names process {running.pid}, which runs but holds another lock file"
        return warn(check, evidence, "restart the collector: its directory was removed and created again while it ran")
    return fail(check, f"no process holds {lock_file.path}: no collector runs on this path", absent)


def collector(running: Running | None, answered: bool, absent: str = START) -> Finding:
    """Check ``collector.process``: it runs, and is not stopped."""
    check = "collector.process"
    if running is None and answered:
        return not_known(check, _INVISIBLE, _ENTER)
    if running is None:
        return fail(check, "no collector is found for this socket", absent)
    if not running.ours:
        evidence = f"process {running.pid} ({running.command}) holds the lock, and is no collector"
        return fail(check, evidence, f"end process {running.pid}, then {absent}")
    if running.state in "TtZX":
        words = {"Z": "has ended, and its parent has not collected its status", "X": "has ended"}.get(
            running.state, "is stopped"
        )
        return fail(
            check, f"process {running.pid} {words} (state {running.state})", f"kill -CONT {running.pid}, or restart it"
        )
    return ok(check, f"process {running.pid}: {running.command}")


_PROBES: dict[Outcome, tuple[str, str]] = {
    "refused": ("no process receives at the path: the one that bound the socket has ended", START),
    "no_answer": (
        "no answer: the process that holds the socket does not read it, or is no collector",
        "see socket.holder",
    ),
    "full": ("the socket's queue stays full: the process that holds it does not read it", "see socket.holder"),
    "missing": ("there is no socket at the path", START),
    "denied": ("this user may not write to the socket", "run doctor as root"),
    "wrong_type": ("the socket at the path is not a datagram socket", START),
    "held": (
        "the collector uses another version of the wire format than this doctor",
        "install the same version of both",
    ),
    "stranger": ("the answer is not that of a collector", "see socket.holder"),
    "error": ("the probe could not be sent", "correct what the error names, and run doctor again"),
}


def probe(result: Probe, absent: str = START) -> Finding:
    """Check ``socket.probe``: a datagram through the path is answered."""
    if result.outcome == "answered":
        return ok("socket.probe", f"answered in {result.seconds * 1000:.1f} ms")
    evidence, remedy = _PROBES[result.outcome]
    remedy = absent if remedy == START else remedy
    detail = f" ({result.detail})" if result.detail else ""
    if result.outcome == "denied":
        return not_known("socket.probe", f"{evidence}{detail}", remedy)
    failed = fail("socket.probe", f"{evidence}{detail}", remedy)
    return of_its_own(failed) if result.outcome == "held" else replace(failed, is_cause=False)


LEAST_QUEUE = 10  # the kernel's default


def queue(length: int | None, foreign: int | None, workers: int) -> Finding:
    """Check ``socket.queue``: net.unix.max_dgram_qlen, shared by all workers, is long enough.

    ``foreign``: a collector in another network namespace, which has a queue length of its own.
    """
    check = "socket.queue"
    if foreign is not None:
        evidence = f"process {foreign} runs in another network namespace, with its own net.unix.max_dgram_qlen"
        return not_known(check, evidence, f"nsenter --target {foreign} --net resty-metrics doctor")
    if length is None:
        return not_known(check, "net.unix.max_dgram_qlen cannot be read", "sysctl net.unix.max_dgram_qlen")
    needed = max(LEAST_QUEUE, workers // 4)
    if length < needed:
        evidence = (
            f"net.unix.max_dgram_qlen is {length}, for {workers} workers: they may have to wait for room in the queue"
        )
        return warn(check, evidence, f"sysctl -w net.unix.max_dgram_qlen={max(needed, 64)}, then restart the collector")
    return ok(check, f"net.unix.max_dgram_qlen is {length}")
