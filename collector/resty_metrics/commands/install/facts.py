"""Facts that are collected before anything is planned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from resty_metrics.commands.install.manifest import Manifest
from resty_metrics.kernel.access import User
from resty_metrics.nginx_config.dump import Configuration

INCLUDES = ("resty-metrics.conf", "resty-metrics-own-hook.conf")
CONF = "nginx.conf.d"


@dataclass(frozen=True, slots=True)
class Facts:
    """One nginx, and the directory that our files go to.

    ``lua``: nginx has the Lua module; ``texts``: Lua files by path; ``share``: the directory; ``ours``: the files that
    belong there, by path below it, None where a package of the system put them there; ``present``: the files that are
    there; ``snippets``: by path, the present content where a file of ours may be put (None: no file), only where its
    directory exists; ``http_file``: the file with ``http {``; ``unreadable``: the reason why a worker's user cannot
    read the directory; ``unread``: files of the configuration that changed after nginx read them; ``vanished``: main
    files of other configurations that the manifest names and that are gone; ``resolved``: the addresses of host names
    in ``listen``; ``able``: the optional files that this nginx has the modules for; ``busy``: the ports of optional
    files that somebody listens on; ``absent``: the directories above ``share`` that do not exist, outermost first.
    """

    label: str
    prefix: str
    modules: str
    lua: bool
    users: tuple[User, ...]
    configuration: Configuration
    texts: Mapping[str, str | None]
    socket_path: str
    share: str
    ours: Mapping[str, bytes] | None
    present: Mapping[str, bytes]
    manifest: Manifest | None
    snippets: Mapping[str, bytes | None]
    http_file: bytes
    unreadable: str | None
    unread: tuple[str, ...]
    vanished: frozenset[str] = frozenset()
    resolved: Mapping[str, Sequence[str]] = field(default_factory=dict)
    able: frozenset[str] = frozenset()
    busy: frozenset[int] = frozenset()
    absent: tuple[str, ...] = ()

    def include(self, name: str) -> str:
        return f"{self.share}/{CONF}/{name}"


@dataclass(frozen=True, slots=True)
class Change:
    """A file before and after; None: it is not there. ``diff``: shown line by line."""

    path: str
    before: bytes | None
    after: bytes | None
    diff: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """The planned changes. ``files``: below the directory; ``configuration``: files that nginx reads.

    ``notes``: further facts for a person.
    """

    files: tuple[Change, ...]
    configuration: tuple[Change, ...]
    notes: tuple[str, ...]

    @property
    def changes(self) -> tuple[Change, ...]:
        return (*self.files, *self.configuration)
