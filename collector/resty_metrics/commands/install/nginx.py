"""The nginx that is changed: the choice of it, the facts about it, the test of its configuration, and its reload."""

import os
import re
import shlex
import shutil
import signal
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from resty_metrics.commands.doctor.facts import Instance
from resty_metrics.commands.doctor.nginx_checks import Configured
from resty_metrics.commands.doctor.observe import nginx, nginx_commands
from resty_metrics.commands.doctor.observe.nginx_commands import Command
from resty_metrics.commands.install import listeners, manifest, optional, package, placement, privilege
from resty_metrics.commands.install.facts import Facts
from resty_metrics.commands.install.plan import SAVED
from resty_metrics.commands.install.refused import RefusedError
from resty_metrics.commands.install.transaction import read
from resty_metrics.health.reach import is_home
from resty_metrics.kernel import access
from resty_metrics.kernel import paths as files
from resty_metrics.kernel.access import Node, User
from resty_metrics.kernel.processes import arguments_of, link_of
from resty_metrics.nginx_config import command, hooks
from resty_metrics.nginx_config.dump import Configuration

RELOAD_SECONDS = 20.0
COMMAND_SECONDS = 60.0  # nginx -t looks up every name in upstreams
_WAIT = 0.05
_INACCURACY = 2.0  # seconds


@dataclass(frozen=True, slots=True)
class Nginx:
    """The nginx that is changed.

    ``master`` None: it is not running. ``socket_way``: the way to the socket; None where it cannot be looked at.
    """

    command: Command
    master: int | None
    label: str
    configured: Configured
    users: tuple[User, ...]
    socket_way: tuple[Node, ...] | None

    @property
    def configuration(self) -> Configuration:
        return self.configured.configuration


def find(command_line: str | None, socket_path: Path) -> Nginx:
    """Return the nginx that was named, or the only one. Raises RefusedError."""
    commands_found = nginx_commands.commands(command_line)
    if not commands_found:
        raise RefusedError(
            "no nginx was found. Start it, or name it, as in --nginx.command='/opt/nginx/sbin/nginx -c /path'"
        )
    if len(commands_found) > 1:
        ways = "; ".join(f"--nginx.command={shlex.quote(shlex.join(candidate.words))}" for candidate in commands_found)
        raise RefusedError(f"several nginx are running. Choose one: {ways}")
    chosen = replace(commands_found[0], seconds=COMMAND_SECONDS)
    _refuse_alone(chosen.master)
    if os.geteuid() not in (0, chosen.uid or os.geteuid()):
        raise RefusedError(f"{chosen.label} runs as another user: {privilege.as_root()}")
    if chosen.master is not None and files.root_of(chosen.master) != files.ROOT:
        raise RefusedError(
            f"{chosen.label} runs in a container or another mount namespace. Run this command there, or add the files "
            'and the include to its image: see "Install by hand" in README.md'
        )
    instance = nginx.examine(chosen, str(socket_path))
    if instance.configured is None:
        raise RefusedError(_trouble(instance))
    _refuse_alone(instance.master)
    return Nginx(chosen, instance.master, instance.label, instance.configured, instance.users, instance.socket_way)


def _refuse_alone(pid: int | None) -> None:
    """Refuse an nginx without a master: nothing can reload it."""
    if pid is not None and nginx_commands.is_alone(pid):
        words = shlex.join(arguments_of(pid))
        raise RefusedError(
            f"nginx process {pid} ({words}) runs with master_process off, and such an nginx cannot reload: remove that "
            'line, restart nginx, and run this again; or see "Install by hand" in README.md'
        )


def _trouble(instance: Instance) -> str:
    if instance.trouble is None:
        return f"{instance.label}: cannot read its configuration"
    if os.geteuid() != 0 and "ermission denied" in instance.trouble.evidence:
        return f"{instance.label}: {instance.trouble.evidence} -> {privilege.as_root()}"
    return f"{instance.label}: {instance.trouble.evidence} -> {instance.trouble.remedy}"


def observe(target: Nginx, socket_path: Path, share: Path) -> Facts:
    """Collect the facts that a plan is made from. Raises RefusedError, OSError."""
    configuration = target.configuration
    source = package.directory()
    present = _tree(share)
    written = (
        None if manifest.NAME not in present else manifest.read(present[manifest.NAME], f"{share}/{manifest.NAME}")
    )
    place = placement.line(configuration)
    return Facts(
        label=target.label,
        prefix=target.configured.prefix,
        modules=_modules(target.configured),
        lua=_has_lua(target),
        users=target.users,
        configuration=configuration,
        texts=target.configured.texts,
        socket_path=str(socket_path),
        share=str(share),
        ours=None if source.resolve() == share.resolve() else package.for_share(package.read(source), str(share)),
        present=present,
        manifest=written,
        snippets=_snippets(configuration, written),
        http_file=b"" if place is None else Path(place.file).read_bytes(),
        unreadable=_unreadable(target.users, share),
        unread=_unread(target),
        vanished=_vanished(written),
        resolved={host: _resolved(host) for host in listeners.hosts(configuration)},
        able=_able(target),
        busy=frozenset(port for port in optional.PORTS.values() if _is_busy(port)),
        absent=tuple(str(path) for path in reversed(share.parents) if not path.exists()),
    )


def _tree(top: Path) -> Mapping[str, bytes]:
    return {str(path.relative_to(top)): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}


def _snippets(configuration: Configuration, written: manifest.Manifest | None) -> dict[str, bytes | None]:
    paths = placement.files(configuration)
    for added in () if written is None else written.configurations:
        paths += [added.path, added.path + SAVED]
    return {path: read(Path(path)) for path in paths if Path(path).parent.is_dir()}


def _vanished(written: manifest.Manifest | None) -> frozenset[str]:
    mains = () if written is None else (added.main_file for added in written.configurations)
    return frozenset(main for main in mains if not Path(main).exists())


def _modules(configured: Configured) -> str:
    match = re.search(r"--modules-path=(\S+)", configured.build)
    return f"{configured.prefix}/modules" if match is None else match[1]


def _has_lua(target: Nginx) -> bool:
    """Return whether nginx has Lua for ``http{}``: it loads the module or has it built in, or ``http{}`` uses it."""
    uses = (
        directive.name.startswith("lua_") or "_by_lua" in directive.name
        for http in target.configuration.blocks("http")
        for directive in hooks.directives(http.block or ())
    )
    return any(uses) or _has_module(target, "ngx_http_lua_module")


def _able(target: Nginx) -> frozenset[str]:
    """Return the optional files that this nginx has the modules for."""
    able = {optional.LIFECYCLE, optional.UPSTREAMS}
    if "--with-http_stub_status_module" in target.configured.build:
        able.add(optional.STUB_STATUS)
    if _has_module(target, "ngx_http_vhost_traffic_status_module"):
        able.add(optional.VTS)
    return frozenset(able)


def _has_module(target: Nginx, name: str) -> bool:
    """Return whether a ``load_module`` names the module, or the program contains its name."""
    for directive in target.configuration.directives:
        if directive.name == "load_module" and directive.args and directive.args[0].endswith(f"{name}.so"):
            return True
    program = (None if target.master is None else link_of(target.master, "exe")) or shutil.which(
        target.command.words[0]
    )
    try:
        return program is not None and name.encode() in Path(program).read_bytes()
    except OSError:
        return False


def _resolved(host: str) -> tuple[str, ...]:
    """Return the addresses of a host name of this machine."""
    try:
        addresses = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return ()
    return tuple(dict.fromkeys(str(address[4][0]) for address in addresses))


def _is_busy(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _unreadable(users: tuple[User, ...], share: Path) -> str | None:
    """Return why a worker's user cannot read the directory, or None.

    Only existing directories are judged; the new ones will be open to all.
    """
    existing = next(path for path in (share, *share.parents) if path.exists())
    way = files.nodes_to(str(existing))
    for user in users:
        obstacle = access.obstacle(user, way, access.SEARCH)
        if obstacle is not None and obstacle.known:
            access_there = "" if is_home(obstacle.node.path) else "Give it access, or "
            return (
                f"nginx's workers run as {user.label}, who may not {obstacle.need_word} {obstacle.node.label}. "
                f"{access_there}{'use' if access_there else 'Use'} another --share-dir"
            )
    return None


def _unread(target: Nginx) -> tuple[str, ...]:
    """Return the files of the configuration that were written after the newest worker began."""
    began = [at for pid in nginx.workers_of(target.master) if (at := _began(pid)) is not None]
    if not began:
        return ()
    read_at = max(began) + _INACCURACY
    paths = {directive.file for directive in hooks.directives(target.configuration.directives)} | {
        target.configuration.main_file
    }
    return tuple(path for path in sorted(paths) if Path(path).stat().st_mtime > read_at)


def _began(pid: int) -> float | None:
    """Return the time when a process began, in seconds since the epoch. See proc(5).

    The kernel gives its boot time in whole seconds, so the result is no more exact.
    """
    boot, process = files.read(Path("/proc/stat")), files.read(Path(f"/proc/{pid}/stat"))
    if boot is None or process is None:
        return None
    booted = next(line for line in boot.splitlines() if line.startswith("btime ")).split()[1]
    return int(booted) + int(process.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")


def test(target: Nginx) -> None:
    """Run ``nginx -t``. Raises RefusedError with nginx's message."""
    outcome = nginx_commands.run(target.command, "-t")
    if outcome.returncode != 0:
        raise RefusedError(f"nginx -t: {command.reason(outcome.stderr)}")


def reload(master: int) -> None:
    """Send HUP, and wait until new workers serve and the old ones leave. Raises RefusedError."""
    before = frozenset(nginx.workers_of(master))
    try:
        os.kill(master, signal.SIGHUP)
    except OSError as error:
        raise RefusedError(f"nginx's master {master} cannot be reloaded: {error.strerror}") from None
    ends = time.monotonic() + RELOAD_SECONDS
    while time.monotonic() < ends:
        now = frozenset(nginx.workers_of(master))
        if now and not now & before:
            return
        time.sleep(_WAIT)
    if not frozenset(nginx.workers_of(master)) - before:
        raise RefusedError(f"nginx's master {master} started no new worker in {RELOAD_SECONDS:g} s: see its error log")
