"""All facts that were seen, as values: ``observe`` collects them for the judges.

Rule: None means "could not be looked at"; an empty tuple means "looked, and there is nothing".
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resty_metrics.commands.doctor.descriptors import Descriptors
from resty_metrics.commands.doctor.finding import Finding
from resty_metrics.commands.doctor.folding import CONFIGURATION
from resty_metrics.commands.doctor.nginx_checks import RELOAD, Configured
from resty_metrics.commands.doctor.nginx_deaths import Log
from resty_metrics.commands.doctor.page import Answer, Page
from resty_metrics.commands.doctor.processes import ProcessFacts
from resty_metrics.commands.doctor.reach import Confinement, Filter
from resty_metrics.commands.doctor.socket_file import LockFile, Probe, Running, SocketFile
from resty_metrics.config.problem import ConfigError
from resty_metrics.kernel.access import Node, User

SETTLED_SECONDS = 30.0  # after which a worker that sends heartbeats was heard of, also while it retried for 5 seconds


@dataclass(frozen=True, slots=True)
class Subject:
    """The collector that is examined, and how far we can see it.

    ``state_dir``: empty if there is none. ``applied_flags``: the running collector's, as far as they were applied.
    ``in_another_network``: its network namespace is not ours. ``queue``: max_dgram_qlen of our namespace. ``own``: our
    namespaces. ``root``: we may see all processes. ``configuration``: the fault of the collector's file; ``unread``:
    the settings that are not known for that reason. ``confides``: it has our user and our file system, so it may read
    no more than we may. ``candidates``: sockets of running collectors, where none is at ``socket_path`` and no path was
    given: the choice between them is open. ``unit``: systemd has a unit that starts the collector at ``socket_path``.
    ``nginx_command``: from the command line.
    """

    socket_path: str
    state_dir: str
    applied_flags: Mapping[str, Sequence[str]]
    lock: LockFile
    running: Running | None
    descriptors: Descriptors | None
    filter: Filter
    in_another_network: bool
    queue: int | None
    own: Mapping[str, int]
    root: bool
    configuration: ConfigError | None = None
    unread: frozenset[str] = frozenset()
    confides: bool = True
    candidates: tuple[str, ...] = ()
    unit: bool = False
    nginx_command: str | None = None

    @property
    def pid(self) -> int | None:
        return None if self.running is None else self.running.pid

    @property
    def unknown(self) -> Mapping[str, str]:
        """Return the settings of the collector that are not known, each with the check that gives the reason."""
        undecided = {"socket_path": "collector.process"} if self.candidates else {}
        return undecided | dict.fromkeys(self.unread, CONFIGURATION)

    @property
    def choice(self) -> str | None:
        """Tell how to choose one of several collectors; None where there is no choice."""
        ways = " or ".join(f"--socket.path={shlex.quote(path)}" for path in self.candidates)
        return f"several collectors are running. Choose one: {ways}" if ways else None


@dataclass(frozen=True, slots=True)
class Holders:
    """The processes behind the socket's file.

    ``file``: the file at the path; ``bound``: its holders; ``connected``: its senders.
    """

    file: SocketFile | None
    error: str | None
    bound: tuple[ProcessFacts, ...]
    connected: tuple[ProcessFacts, ...]


@dataclass(frozen=True, slots=True)
class Fetched:
    """A source as doctor fetched it.

    ``error`` None: it was read. ``withheld``: doctor did not fetch it. ``nginx``: the name of its nginx, or "".
    """

    name: str
    url: str
    error: str | None
    families: int
    withheld: bool = False
    nginx: str = ""


@dataclass(frozen=True, slots=True)
class Instance:
    """One nginx.

    ``trouble``: the reason why its configuration is not known; ``master``: None where none is seen to run;
    ``pid_file``: from its configuration; ``users``: those of its running workers, else of its ``user`` directive;
    ``stated``: the user of that directive where workers run; ``socket_way``: the way to the socket, as its workers see
    it; ``logs``: the files in which its master reports how workers ended; ``reload``: the command that reloads it;
    ``settled``: its workers have run for SETTLED_SECONDS; ``stopped``: those of them that are stopped by a signal.
    """

    label: str
    master: int | None
    pid_file: str | None
    trouble: Finding | None
    configured: Configured | None
    workers: tuple[int, ...]
    users: tuple[User, ...]
    stated: User | None
    socket_way: tuple[Node, ...] | None
    lua_ways: tuple[tuple[Node, ...], ...]
    module_versions: Mapping[str, str]
    confinement: Confinement | None
    logs: tuple[Log, ...]
    reload: str = RELOAD
    settled: bool = False
    stopped: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Looked:
    """All the rest."""

    holders: Holders | None
    probe: Probe | None
    answer: Answer | None
    page: Page | None
    ready: Answer | None
    sources: Sequence[Fetched]
    instances: Sequence[Instance]
    other_processes: Sequence[ProcessFacts] | None
