"""nginx on this machine: the configuration of each by ``nginx -T``, and its workers.

Rule: an nginx in another mount namespace is not executed; its finding says how to examine it.
"""

import os
import re
import shlex
import subprocess
import time
from dataclasses import replace
from pathlib import Path, PurePosixPath

from resty_metrics.commands.doctor import nginx_deaths as deaths
from resty_metrics.commands.doctor.facts import SETTLED_SECONDS, Instance
from resty_metrics.commands.doctor.finding import Finding, not_known
from resty_metrics.commands.doctor.nginx_checks import Configured, refused
from resty_metrics.commands.doctor.observe import nginx_lua, security
from resty_metrics.commands.doctor.observe.nginx_commands import Command, is_alone, kind, run, title_of
from resty_metrics.kernel import paths as files
from resty_metrics.kernel import users
from resty_metrics.kernel.access import Node, User
from resty_metrics.kernel.processes import describe, link_of, namespaces_of, pids, seconds_of, state_of
from resty_metrics.nginx_config import build, command, statements
from resty_metrics.nginx_config.dump import Configuration, ConfigurationError, read

LOG_BYTES = 4 * 1024 * 1024
STOPPED = ("T", "t")  # proc_pid_stat(5)


def examine(nginx: Command, socket_path: str) -> Instance:
    """Examine an nginx, and return all facts about it."""
    hindrance = _hindrance(nginx)
    if hindrance is not None:
        return _unknown(nginx, socket_path, hindrance)
    try:
        shown, built, directory = run(nginx, "-T"), run(nginx, "-V").stderr, nginx.where
    except (OSError, subprocess.SubprocessError) as error:
        trouble = not_known("nginx.configuration", f"{nginx.label}: {error}", "give --nginx.command")
        return _unknown(nginx, socket_path, trouble)
    if shown.returncode != 0:
        return _unknown(nginx, socket_path, _failed(shown.stderr))
    try:
        configuration = read(shown.stdout, directory)
    except ConfigurationError as error:
        trouble = not_known(
            "nginx.configuration", f"the output of nginx -T cannot be parsed: {error}", "please report this"
        )
        return _unknown(nginx, socket_path, trouble)
    return _examined(nginx, configuration, built, directory, socket_path)


def _hindrance(nginx: Command) -> Finding | None:
    if nginx.master is None:
        return None
    mount, own_mount = namespaces_of(nginx.master).get("mnt"), namespaces_of(os.getpid()).get("mnt")
    if mount is not None and mount != own_mount:
        enter = f"nsenter --target {nginx.master} --mount {shlex.join(nginx.words)}"
        return not_known(
            "nginx.configuration",
            "it runs in another mount namespace",
            f"resty-metrics doctor --nginx.command {shlex.quote(enter)}",
        )
    if nginx.uid != os.geteuid() and os.geteuid() != 0:
        return not_known("nginx.configuration", "it runs as another user", "run doctor as root")
    return None


def _failed(stderr: str) -> Finding:
    message = command.reason(stderr)
    if os.geteuid() != 0 and "ermission denied" in message:
        return not_known("nginx.configuration", message, "run doctor as root")
    return refused(message)


def _unknown(nginx: Command, socket_path: str, trouble: Finding) -> Instance:
    workers = workers_of(nginx.master)
    root = files.root_of(nginx.master)
    accounts = _users_of(workers, root)
    way = None if root == files.ROOT else _way(socket_path, root)
    return Instance(nginx.label, nginx.master, None, trouble, None, workers, accounts, None, way, (), {}, None, ())


def _examined(nginx: Command, configuration: Configuration, built: str, directory: str, socket_path: str) -> Instance:
    prefix = str(PurePosixPath(directory) / (command.value_of(nginx.words, "-p") or build.setting(built, "prefix")))
    pid_file = str(PurePosixPath(prefix) / (statements.pid_file(configuration) or build.setting(built, "pid-path")))
    master = nginx.master or _master_of(pid_file)
    root = files.root_of(master)
    started = (None if master is None else link_of(master, "cwd")) or directory
    directory = str(PurePosixPath(started) / (statements.working_directory(configuration) or ""))
    texts = nginx_lua.texts(configuration, prefix, directory, root)
    stated = [setting.value for setting in statements.sockets(configuration, prefix, texts)]
    aliases = frozenset(path for path in stated if _same(files.below(root, path), Path(socket_path)))
    workers = workers_of(master)
    running, directive = _users_of(workers, root), _configured_user(configuration, built, master, root)
    lua = nginx_lua.module_files(configuration, prefix, directory, texts, root)
    return Instance(
        label=nginx.label if nginx.master or master is None else f"{kind(master)} {master} ({nginx.label})",
        master=master,
        pid_file=pid_file,
        trouble=None,
        configured=Configured(configuration, prefix, built, texts, aliases),
        workers=workers,
        users=running or ((directive,) if directive else ()),
        stated=directive if running else None,
        socket_way=_way(socket_path if socket_path in stated or not aliases else min(aliases), root),
        lua_ways=tuple(way for path in lua if (way := _way(path, root)) is not None),
        module_versions=nginx_lua.versions(lua, root),
        confinement=security.confinement(workers[0] if workers else None, Path(socket_path)),
        settled=_settled(workers),
        stopped=tuple(pid for pid in workers if state_of(pid) in STOPPED),
        logs=_logs(statements.error_logs(configuration) or _default_log(nginx, built), prefix, root),
        reload=nginx.reload,
    )


def _default_log(nginx: Command, built: str) -> list[str]:
    return [command.value_of(nginx.words, "-e") or build.setting(built, "error-log-path")]


def _logs(names: list[str], prefix: str, root: Path) -> tuple[deaths.Log, ...]:
    """Read the logs of the last hour, in this machine's local time."""
    now = time.time()
    ago = (deaths.WITHIN_SECONDS, -60, deaths.MISSING_WITHIN_SECONDS, deaths.COVERAGE_WITHIN_SECONDS)
    times = [time.strftime(deaths.TIME_FORMAT, time.localtime(now - seconds)) for seconds in ago]
    paths = dict.fromkeys(str(PurePosixPath(prefix) / name) for name in names)
    return tuple(deaths.Log(path, files.tail(files.below(root, path), LOG_BYTES), *times) for path in paths)


def _same(path: Path, target: Path) -> bool:
    return (identity := files.identity(path)) is not None and identity == files.identity(target)


def _master_of(pid_file: str) -> int | None:
    """Return the master that the pid file names.

    Else return the master of the only container that has such a file with that master's own pid.
    """
    text = (files.read(Path(pid_file)) or "").strip()
    if text.isdigit() and (command.is_master(title_of(int(text))) or is_alone(int(text))):
        return int(text)
    masters = [pid for pid in pids() if command.is_master(title_of(pid))]
    contained = [pid for pid in masters if files.root_of(pid) != files.ROOT and _wrote(pid, pid_file)]
    return contained[0] if len(contained) == 1 else None


def _wrote(pid: int, pid_file: str) -> bool:
    """Return whether the pid file that the process sees names it, by its pid in its own namespace."""
    status = files.read(Path(f"/proc/{pid}/status")) or ""
    own = re.search(r"^NSpid:.*\t(\d+)$", status, re.MULTILINE)
    text = files.read(files.below(files.root_of(pid), pid_file))
    return own is not None and text is not None and text.strip() == own[1]


def workers_of(master: int | None) -> tuple[int, ...]:
    """Return the processes that serve requests. An nginx without a master serves itself."""
    if master is None:
        return ()
    if is_alone(master):
        return (master,)
    serving = [pid for pid in pids() if command.serving(title_of(pid))]
    described = ((pid, describe(pid)) for pid in serving)
    return tuple(
        pid for pid, process in described if process is not None and [up.pid for up in process.parents[:1]] == [master]
    )


def _settled(workers: tuple[int, ...]) -> bool:
    """Return whether each worker has run for long enough to have been heard of."""
    return all((seconds_of(pid) or 0.0) >= SETTLED_SECONDS for pid in workers)


def _users_of(workers: tuple[int, ...], root: Path) -> tuple[User, ...]:
    accounts = (users.of_process(pid, root) for pid in workers)
    return tuple(dict.fromkeys(user for user in accounts if user is not None))


def _configured_user(configuration: Configuration, built: str, master: int | None, root: Path) -> User | None:
    """Return the user of the workers.

    A master that is not root cannot change to another user, so it ignores the directive; so does an nginx without a
    master.
    """
    owner = None if master is None else users.of_process(master, root)
    if owner is not None and master is not None and (owner.uid != 0 or is_alone(master)):
        return owner
    words = statements.user(configuration) or (build.setting(built, "user"),)
    return users.configured(words[0], words[1] if len(words) > 1 else None, root)


def _way(path: str, root: Path) -> tuple[Node, ...] | None:
    try:
        return tuple(
            replace(node, owner=users.owner_of(node.uid, node.gid, root)) for node in files.nodes_to(path, root)
        )
    except OSError:
        return None
