"""The collector: found by its lock, described by /proc, its flags taken from how it was started."""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from resty_metrics.commands.doctor import flags
from resty_metrics.commands.doctor.descriptors import Descriptors, read_limits
from resty_metrics.commands.doctor.facts import Holders
from resty_metrics.commands.doctor.processes import ProcessFacts
from resty_metrics.commands.doctor.socket_file import LockFile, Running, SocketFile
from resty_metrics.config.file import read_file
from resty_metrics.config.problem import ConfigError
from resty_metrics.config.settings import Layer
from resty_metrics.endpoint.credentials import WORKER_USERS, read_uid
from resty_metrics.kernel import attribution, processes, sock_diag, users
from resty_metrics.kernel import paths as files
from resty_metrics.kernel.processes import Process
from resty_metrics.process.command_line import DEFAULT_SOCKET
from resty_metrics.process.lock import read_holder

_SOCK_DGRAM = 2
_QUEUE = Path("/proc/sys/net/unix/max_dgram_qlen")
_UNIT = "resty-metrics.service"
_UNIT_DIRECTORIES = (  # systemd.unit(5)
    "/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
    "/lib/systemd/system",
)  # fmt: skip


def lock_of(socket_path: Path) -> LockFile:
    """Look at the lock beside a socket, without trying to take it."""
    path = socket_path.with_name(socket_path.name + ".lock")
    if not path.exists():
        return LockFile(str(path), exists=False, holder=None, written=None)
    return LockFile(str(path), True, processes.lock_holder(path), read_holder(files.read(path) or ""))


def pid_of(lock: LockFile) -> int | None:
    """Return the collector's pid.

    It is that of the lock's holder, else the pid in the lock file if that process runs our program.
    """
    if lock.holder is not None:
        return lock.holder
    return lock.written if lock.written is not None and processes.is_ours(lock.written) else None


def running(pid: int | None) -> Running | None:
    process = None if pid is None else processes.describe(pid)
    if process is None:
        return None
    state, seconds = processes.state_of(process.pid), processes.seconds_of(process.pid)
    return Running(process.pid, _command(process), state or "?", process.ours, seconds)


def descriptors(pid: int | None) -> Descriptors | None:
    """Count the open descriptors and read their limit; None where there is no collector, or it has ended."""
    limits = None if pid is None else files.read(Path(f"/proc/{pid}/limits"))
    if limits is None:
        return None
    try:
        used = sum(1 for _ in os.scandir(f"/proc/{pid}/fd"))
    except FileNotFoundError:
        return None
    except OSError:
        used = None
    return Descriptors(used, *read_limits(limits))


def flags_of(pid: int) -> dict[str, tuple[str, ...]]:
    """Return the flags that a running collector was given, by command line or environment."""
    return flags.of(processes.arguments_of(pid), _environment(pid))


def settings_of(pid: int | None) -> tuple[dict[str, tuple[str, ...]], Path, Layer, ConfigError | None]:
    """Return a running collector's flags, working directory, settings from its file, and that file's fault or None."""
    if pid is None:
        return {}, files.ROOT, {}, None
    running_flags, directory = flags_of(pid), _directory(pid)
    if "--config.file" not in running_flags:
        return running_flags, directory, {}, None
    root = files.root_of(pid)

    def uid(text: str) -> int:
        known = None if text.isdigit() else users.uid_of(text, root)
        return read_uid(text) if known is None else known

    path = directory / running_flags["--config.file"][-1]
    try:
        return running_flags, directory, read_file(path, lambda path: files.below(root, str(path)), uid)[0], None
    except ConfigError as error:
        return running_flags, directory, {}, error


def confides(pid: int | None) -> bool:
    """Return whether the collector may read only what we may read. Ask after its settings were read.

    It must have our user in every respect, have our file system, and not be a setuid program, which runs as root with
    settings of whoever starts it.
    """
    if pid is None:
        return True
    uids = re.search(r"^Uid:((?:\t\d+)+)$", files.read(Path(f"/proc/{pid}/status")) or "", re.MULTILINE)
    if uids is None or set(uids[1].split()) != {str(os.geteuid())} or files.root_of(pid) != files.ROOT:
        return False
    try:
        return not Path(f"/proc/{pid}/exe").stat().st_mode & stat.S_ISUID
    except OSError:
        return False


def _directory(pid: int) -> Path:
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return files.ROOT


def _environment(pid: int) -> Mapping[str, str]:
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (os.fsdecode(entry).partition("=") for entry in raw.split(b"\0"))
    return {name: value for name, _, value in pairs if name.startswith("RESTY_METRICS_")}


def socket_of(pid: int) -> str | None:
    """Return the socket path of a process of ours that serves; None for any other process."""
    if not flags.serves(processes.arguments_of(pid)):
        return None
    running_flags, _, written, _ = settings_of(pid)
    default = str(written.get("socket_path", DEFAULT_SOCKET))
    return running_flags.get("--socket.path", (default,))[-1].removeprefix("unix:")


def serving() -> dict[int, str]:
    """Return pid and socket path of each collector in our mount namespace. Elsewhere its path may mean another file."""
    pids = [process.pid for process in processes.namesakes() if files.root_of(process.pid) == files.ROOT]
    return {pid: path for pid in pids if (path := socket_of(pid)) is not None}


def _command(process: Process) -> str:
    """Join the arguments on one line, without the blanks that nginx pads its title with."""
    return " ".join(" ".join(process.command).split())


def process_facts(process: Process) -> ProcessFacts:
    return ProcessFacts(
        process.pid,
        process.uid,
        _command(process),
        tuple(f"{parent.name} ({parent.pid})" for parent in process.parents),
        process.container,
        process.namespaces,
        process.ours,
        socket_of(process.pid) if process.ours else None,
        users.name_of(process.uid),
    )


def other_processes() -> list[ProcessFacts]:
    """Return the other processes of ours, except those that this one descends from (a wrapper)."""
    own = processes.describe(os.getpid())
    above = set() if own is None else {parent.pid for parent in own.parents}
    return [process_facts(process) for process in processes.namesakes() if process.pid not in above]


def holders(path: Path) -> Holders:
    """Look at the file at the path, and find the processes behind it."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return Holders(None, None, (), ())
    except OSError as error:
        return Holders(None, error.strerror, (), ())
    bound = attribution.attribute_file(path, status.st_dev, status.st_ino)
    kinds, connected = _by_kernel(status.st_dev, status.st_ino)
    datagram = None if not kinds else kinds == {_SOCK_DGRAM}
    owner = users.owner_of(status.st_uid, status.st_gid, files.ROOT)
    file = SocketFile(str(path), status.st_mode, status.st_uid, status.st_gid, datagram, owner)
    return Holders(file, None, tuple(map(process_facts, bound)), connected)


def _by_kernel(device: int, inode: int) -> tuple[set[int], tuple[ProcessFacts, ...]]:
    """Return the types of the sockets bound to the file, and the processes connected to them."""
    try:
        ours = sock_diag.bound_to(device, inode)
        targets = {sock.inode for sock in ours}
        connected = [sock.inode for sock in sock_diag.sockets() if sock.peer in targets]
    except OSError:
        return set(), ()
    by_pid = {process.pid: process for group in processes.holders(connected).values() for process in group}
    return {sock.type for sock in ours}, tuple(
        process_facts(by_pid[pid]) for pid in sorted(by_pid) if pid != os.getpid()
    )


def has_unit(path: Path) -> bool:
    """Return whether systemd has a unit of the package's name, which starts the collector at the default path."""
    return str(path) == DEFAULT_SOCKET and any(Path(directory, _UNIT).exists() for directory in _UNIT_DIRECTORIES)


def queue_length() -> int | None:
    """Return max_dgram_qlen of our network namespace, None where it cannot be read."""
    text = (files.read(_QUEUE) or "").strip()
    return int(text) if text.isdigit() else None


def in_another_network(pid: int | None) -> bool:
    network = None if pid is None else processes.namespaces_of(pid).get("net")
    return network is not None and network != processes.namespaces_of(os.getpid()).get("net")


def allowed_uids(pid: int | None, more: tuple[int, ...]) -> frozenset[int]:
    """Return the users that the collector accepts: root, ``more``, and the workers' users as it knows them."""
    root = files.root_of(pid)
    named = (users.uid_of(name, root) for name in WORKER_USERS)
    return frozenset({0, *more, *(uid for uid in named if uid is not None)})
