"""The commands that run an nginx: those of the processes here, else that of the installed program.

Rule: the program of a process is executed as that process's user, never as a more powerful one: any user may call a
process ``nginx: master process /my/program``.
"""

import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from resty_metrics.kernel import paths as files
from resty_metrics.kernel import users
from resty_metrics.kernel.processes import arguments_of, link_of, pids
from resty_metrics.kernel.procfs import text
from resty_metrics.nginx_config import command

SECONDS = 5.0
_ELSEWHERE = ":/usr/sbin:/usr/local/sbin:/usr/local/openresty/bin:/usr/local/openresty/nginx/sbin"
_DELETED = " (deleted)"
_TITLE = "nginx: "


@dataclass(frozen=True, slots=True)
class Command:
    """A command that runs an nginx.

    ``directory``: its working directory, None for ours; ``uid`` None: as ourselves; ``master``: the process that reads
    the configuration, None where it is not known to run.
    """

    words: tuple[str, ...]
    directory: str | None
    uid: int | None
    gid: int | None
    master: int | None
    seconds: float = SECONDS

    @property
    def label(self) -> str:
        name = shlex.join(self.words)
        return name if self.master is None else f"{kind(self.master)} {self.master} ({name})"

    @property
    def reload(self) -> str:
        """Return the command that tests the configuration of this nginx, and reloads it."""
        name = shlex.join(self.words)
        return f"{name} -t && {name} -s reload"

    @property
    def where(self) -> str:
        """Return the working directory. Raises OSError where ours was removed."""
        return self.directory or str(Path.cwd())


def commands(command_line: str | None) -> list[Command]:
    """Return the given command, else those of running nginx, else the installed one."""
    if command_line is not None:
        return [Command(tuple(shlex.split(command_line)), None, None, None, None)]
    running = [_of_process(pid, words) for pid in pids() if (words := _words_of(pid))]
    if running:
        return running
    search = os.environ.get("PATH", os.defpath) + _ELSEWHERE
    installed = next(filter(None, (shutil.which(name, path=search) for name in ("nginx", "openresty"))), None)
    return [] if installed is None else [Command((installed,), None, None, None, None)]


def title_of(pid: int) -> str:
    return " ".join(arguments_of(pid))


def kind(pid: int) -> str:
    """Return the name of the process, for messages."""
    return "nginx process" if is_alone(pid) else "nginx master"


def is_alone(pid: int) -> bool:
    """Return whether the process is an nginx that serves without a master, as ``master_process off`` makes it."""
    arguments = arguments_of(pid)
    if not arguments or arguments[0].startswith(_TITLE) or not command.stays(arguments):
        return False
    program = (link_of(pid, "exe") or arguments[0]).removesuffix(_DELETED)
    return PurePosixPath(program).name in command.PROGRAMS


def _words_of(pid: int) -> list[str]:
    """Return the command of a process that reads a configuration of nginx; empty for any other process."""
    title = title_of(pid)
    if command.is_master(title):
        return command.of_master(title)
    return list(arguments_of(pid)) if is_alone(pid) else []


def _of_process(pid: int, words: list[str]) -> Command:
    program = (link_of(pid, "exe") or words[0]).removesuffix(_DELETED)
    user = users.of_process(pid, files.ROOT)
    uid, gid = (None, None) if user is None else (user.uid, user.gid)
    directory = link_of(pid, "cwd")
    if directory is not None:
        words = command.with_absolute_prefix(words, directory)
    return Command((program, *words[1:]), directory, uid, gid, pid)


def run(nginx: Command, option: str) -> subprocess.CompletedProcess[str]:
    """Run the command with one more option. Its output keeps all bytes: those that are not UTF-8 are surrogates."""
    as_user: dict[str, Any] = {}
    if nginx.uid is not None and nginx.uid != os.geteuid():
        as_user = {"user": nginx.uid, "group": nginx.gid, "extra_groups": []}
    environment = {name: value for name, value in os.environ.items() if name != "NGINX"}  # sockets to inherit
    done = subprocess.run(
        [*nginx.words, option],
        cwd=nginx.directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=nginx.seconds,
        check=False,
        **as_user,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, text(done.stdout), text(done.stderr))
