"""Real processes: described as they are, found by what they hold."""

import contextlib
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from resty_metrics.kernel import procfs
from resty_metrics.kernel.processes import (
    Parent,
    describe,
    holders,
    holds_lock,
    is_ours,
    lock_holder,
    namesakes,
    namespaces_of,
    pids,
)
from resty_metrics.kernel.procfs import CUT, MAX_PARENTS, ProcfsError
from support.child import Child
from support.collector import Collector
from support.wait import wait_until

CGROUPS = Path("/sys/fs/cgroup")


def inode(sock: socket.socket) -> int:
    return os.fstat(sock.fileno()).st_ino


def test_ourselves() -> None:
    process = describe(os.getpid())
    assert process is not None
    assert (process.pid, process.uid) == (os.getpid(), os.geteuid())
    assert process.exe == str(Path(sys.executable).resolve())
    assert process.parents[0].pid == os.getppid()
    assert set(process.namespaces) == {"pid", "net", "mnt"}
    assert process.namespaces["net"] == Path("/proc/self/ns/net").stat().st_ino


def test_a_child_with_its_arguments_and_parents() -> None:
    with Child("", "one", "two") as child:
        process = describe(child.pid)
        assert process is not None
        assert process.command[-2:] == ("one", "two")
        assert process.parents[0] == Parent(os.getpid(), Path("/proc/self/comm").read_text().strip())


def test_a_secret_that_comes_late_in_an_argument_is_not_reported() -> None:
    with Child("", "--token=" + "x" * 60 + "secret") as child:
        process = describe(child.pid)
        assert process is not None
        assert "secret" not in repr(process)
        assert process.command[-1].endswith(CUT)


def test_a_process_that_is_gone() -> None:
    child = Child("")
    child.end()
    assert describe(child.pid) is None
    assert not is_ours(child.pid)
    assert namespaces_of(child.pid) == {}


def test_what_was_known_of_a_process_stays(tmp_path: Path) -> None:
    """Its parents as they were before they ended; and all of it when it ends itself while it is read."""
    with Child("", "one") as child:
        known = describe(child.pid)
        assert known is not None
        orphan = replace(known, parents=(Parent(7, "gone"),))
        assert describe(child.pid, orphan) == orphan
    assert describe(child.pid, known) is None


def test_a_process_that_ends_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with Child("", "one") as child:
        known = describe(child.pid)
        assert known is not None

        def gone(status: bytes) -> int:
            raise ProcfsError("status")

        monkeypatch.setattr(procfs, "parse_uid", gone)
        assert describe(child.pid) is None
        assert describe(child.pid, replace(known, exe="/bin/sh", command=("sh",))) == known


def test_who_holds_a_lock(tmp_path: Path) -> None:
    script = "import fcntl; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX)"
    path = tmp_path / "lock"
    assert lock_holder(path) is None
    with Child(script, str(path)) as child:
        assert lock_holder(path) == child.pid
        assert holds_lock(child.pid, path)
        assert not holds_lock(os.getpid(), path)
        assert not holds_lock(child.pid, tmp_path)
    assert not holds_lock(child.pid, path)
    assert lock_holder(path) is None


def test_who_holds_a_lock_in_another_pid_namespace(tmp_path: Path) -> None:
    script = "import fcntl; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX)"
    with Child(script, str(tmp_path / "lock"), under=("unshare", "--pid", "--fork", "--mount-proc")) as child:
        holder = lock_holder(tmp_path / "lock")
        assert child.said == "1"
        assert holder is not None
        assert parents(holder)[0].pid == child.pid


def test_a_process_that_ended_and_was_not_waited_for() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    process = describe(child.pid)
    assert process is not None
    assert process.exe is None
    assert process.command == (f"[{Path(f'/proc/{child.pid}/comm').read_text().strip()}]",)
    child.wait(10)


def test_a_kernel_thread() -> None:
    process = describe(2)
    if process is None:
        pytest.skip("no kernel threads in this pid namespace")
    assert process.exe is None
    assert process.command == ("[kthreadd]",)
    assert process.parents == ()


def test_a_chain_of_parents_has_an_end() -> None:
    script = f"""
for _ in range({MAX_PARENTS + 4}):
    if os.fork():
        os.wait()
        os._exit(0)
"""
    with Child(script) as child:
        process = describe(int(child.said))
        assert process is not None
        assert len(process.parents) == MAX_PARENTS


def test_namespaces_of_its_own() -> None:
    with Child("", under=("unshare", "--net", "--mount")) as child:
        process, ours = describe(child.pid), namespaces_of(os.getpid())
        assert process is not None
        assert process.namespaces["net"] != ours["net"]
        assert process.namespaces["mnt"] != ours["mnt"]
        assert process.namespaces["pid"] == ours["pid"]


def test_a_process_of_another_pid_namespace() -> None:
    with Child("", under=("unshare", "--pid", "--fork", "--mount-proc")) as child:
        assert child.said == "1"
        below = [pid for pid in pids() if any(parent.pid == child.pid for parent in parents(pid))]
        (pid,) = below
        assert namespaces_of(pid)["pid"] != namespaces_of(os.getpid())["pid"]


def parents(pid: int) -> tuple[Parent, ...]:
    process = describe(pid)
    return process.parents if process is not None else ()


def test_a_process_in_a_container() -> None:
    """A control group as Docker names it; there is no Docker here."""
    name = "3f1c0a9b" * 8
    group = next(
        (directory for directory in (CGROUPS / "unified", CGROUPS) if (directory / "cgroup.procs").exists()),
        CGROUPS / "pids",
    )
    group = group / f"docker-{name}.scope"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control groups are to be had: {error}")
    try:
        with Child("") as child:
            (group / "cgroup.procs").write_text(str(child.pid))
            process = describe(child.pid)
            assert process is not None
            assert (process.container, process.cgroup) == (name[:12], f"/docker-{name}.scope")
    finally:
        wait_until(lambda: removed(group))


def removed(group: Path) -> bool:
    """It takes the kernel a moment to see a control group empty."""
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()


def test_who_holds_a_socket() -> None:
    """A child that inherited it, and we; not a child that did not."""
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
        Child("") as bystander,
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[sock.fileno()]) as child,
    ):
        by_inode = holders([inode(sock)])
        assert {process.pid for process in by_inode[inode(sock)]} == {os.getpid(), child.pid}
        assert bystander.pid != child.pid
        child.communicate(b"\n", timeout=10)
    assert holders([inode_of_nothing()]) == {}
    assert holders([]) == {}


def inode_of_nothing() -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        return inode(sock)


def test_processes_come_and_go_while_one_is_looked_for() -> None:
    """A child that makes one short process after the other, until its input ends."""
    script = """
import select
if not os.fork():
    while not select.select([0], [], [], 0)[0]:
        os.waitpid(os.posix_spawn(sys.executable, [sys.executable, "-V"], {}, file_actions=CLOSED), 0)
    os._exit(0)
"""
    script = script.replace("CLOSED", "[(os.POSIX_SPAWN_CLOSE, 1)]")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, Child(script):
        for _ in range(50):
            assert [process.pid for process in holders([inode(sock)])[inode(sock)]] == [os.getpid()]


def test_without_rights_others_are_seen_in_part() -> None:
    script = f"""
from resty_metrics.kernel import procfs
from resty_metrics.kernel.processes import describe, holders
os.setuid(65534)
seen = describe({os.getpid()})
assert seen is not None and seen.command and seen.parents
assert (seen.exe, dict(seen.namespaces)) == (None, {{}}), seen
assert holders([1, 2, 3]) == {{}}
"""
    with Child(script):
        pass


def test_namesakes_are_the_other_processes_of_ours(socket_path: Path) -> None:
    with Collector(socket_path) as collector, Child("", name="/opt/bin/resty-metrics") as namesake:
        pids_found = {process.pid for process in namesakes()}
        assert {collector.pid, namesake.pid} <= pids_found
        assert os.getpid() not in pids_found
        with Child("") as stranger:
            assert stranger.pid not in {process.pid for process in namesakes()}


def test_a_module_that_python_runs_is_ours(socket_path: Path) -> None:
    words = [sys.executable, "-m", "resty_metrics", "serve", f"--socket.path={socket_path}", "--web.listen-address=:0"]
    assert not is_ours(os.getpid())
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: is_ours(process.pid))
        described = describe(process.pid)
        assert described is not None
        assert described.ours
        process.kill()
