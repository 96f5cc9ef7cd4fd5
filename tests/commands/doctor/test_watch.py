"""``doctor --watch`` against a real kernel: culprits of all kinds, most of them gone before anyone could look."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.collector import COMMAND, Collector
from support.wait import wait_until
from support.watch import RUN, Watch, by, refused

IMPOSTOR = """
import os, socket, sys
path = sys.argv[1]
if os.path.exists(path):
    os.unlink(path)
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).bind(path)
"""
WITHOUT_ADMINISTRATION = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
OTHER_PIDS = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
NOT_OURS = ("collector.sock.bak", "collectorxsock", ".collector.sock.x", "x.collector.sock.1", ".collector.sock")
TMPFS = Path("/dev/shm")


pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(REASONS := refused()), reason="; ".join(REASONS))]


@pytest.fixture(params=["disk", "tmpfs"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A socket path in a directory, of a file system that uses inode numbers again and of one that does not."""
    if request.param == "disk":
        (tmp_path / "run").mkdir()
        yield tmp_path / "run" / "collector.sock"
        return
    directory = Path(tempfile.mkdtemp(dir=TMPFS))
    yield directory / "collector.sock"
    shutil.rmtree(directory, ignore_errors=True)


def run(*words: str) -> int:
    """A process from begin to end; its pid."""
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        assert process.wait(timeout=20) == 0
        return process.pid


def mount_namespace() -> int:
    return Path("/proc/self/ns/mnt").stat().st_ino


def test_a_program_that_takes_the_path_and_is_gone(path: Path) -> None:
    """The incident."""
    with Watch(path) as watch:
        path.write_text("")
        pid = run(sys.executable, "-c", IMPOSTOR, str(path))
        made = watch.act(path, "created", pid=pid)
        watch.act(path, "deleted", pid=pid)
    who = made["by"]
    assert not Path(f"/proc/{pid}").exists()
    assert who["exe"] == str(Path(sys.executable).resolve())
    assert who["command"][:2] == [sys.executable, "-c"]
    assert who["command"][3] == str(path)[: len(who["command"][3].removesuffix("…"))] + "…" * (len(str(path)) > 64)
    assert who["parents"][0]["pid"] == os.getpid()
    assert who["uid"] == 0
    assert who["namespaces"]["mnt"] == mount_namespace()
    assert who["collector"] is False
    assert who["same_mount_namespace"] is None
    assert made["state"]["mode"].startswith("s")


def test_programs_that_live_for_less_than_a_millisecond(path: Path) -> None:
    """Each is known by its pid and parents; what it ran can be missed where the machine is busy, but not as a rule."""
    pids = []
    with Watch(path) as watch:
        for _ in range(20):
            path.write_text("")
            pids.append(run("/usr/bin/unlink", str(path)))
        found = [watch.act(path, "deleted", pid=pid)["by"] for pid in pids]
    assert {who["parents"][0]["pid"] for who in found} == {os.getpid()}
    assert [who["exe"] for who in found].count(str(Path("/usr/bin/unlink").resolve())) >= 15


def test_a_process_that_was_there_before_and_ends_with_its_deed(path: Path) -> None:
    script = "import os, sys; sys.stdin.readline(); os.unlink(sys.argv[1]); os._exit(0)"
    path.write_text("")
    words = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as culprit, Watch(path) as watch:
        culprit.communicate(b"\n", timeout=20)
        assert watch.act(path, "deleted", pid=culprit.pid)["by"]["command"][1] == "-c"


def test_a_child_that_does_it_without_a_program_of_its_own(path: Path) -> None:
    script = "import os, sys\nif not os.fork(): os.unlink(sys.argv[1]); os._exit(0)\nos.wait()"
    with Watch(path) as watch:
        path.write_text("")
        parent = run(sys.executable, "-c", script, str(path))
        who = watch.act(path, "deleted")["by"]
        assert who["exe"] == str(Path(sys.executable).resolve())
        assert [one["pid"] for one in who["parents"][:2]] == [parent, os.getpid()]


def test_a_program_that_becomes_another_is_known_by_both(path: Path) -> None:
    then = "import os, sys; os.unlink(sys.argv[1])"
    first = "import os, sys; os.execv(sys.executable, [sys.executable, '-c', *sys.argv[1:]])"
    with Watch(path) as watch:
        path.write_text("")
        pid = run(sys.executable, "-c", first, then, str(path))
        who = watch.act(path, "deleted", pid=pid)["by"]
        assert who["command"][2] == then
        assert who["before"]["command"][3] == then


def test_the_binary_executed_a_second_time(path: Path) -> None:
    """What the scanner does: nothing happens to any file, but it is told."""
    with Watch(path) as watch:
        pid = run(COMMAND, "-V")
        executed = watch.command("executed", pid)["by"]
        assert executed["command"][-1] == "-V"
        assert executed["ours"] is True
        assert executed["parents"][0]["pid"] == os.getpid()
        assert watch.command("ended", pid)["status"] == 0
        module = run(sys.executable, "-m", "resty_metrics", "--version")
        watch.command("executed", module)
        other = run(sys.executable, "-c", "")
        last = run(COMMAND, "-V")
        watch.command("ended", last)
        assert not [one for one in watch.seen if one.get("by") and one["by"]["pid"] == other]


def test_the_collector_itself_is_called_so(path: Path) -> None:
    with Watch(path) as watch, Collector(path) as collector:
        assert watch.act(path, "moved_here", pid=collector.pid)["by"]["collector"] is True
        temporary = path.with_name(f".collector.sock.{collector.pid}")
        assert watch.act(temporary, "created")["by"]["collector"] is True
        assert watch.act(temporary, "moved_away")["by"]["collector"] is True
        intruder = run(sys.executable, "-c", IMPOSTOR, str(path))
        who = watch.act(path, "created", pid=intruder)["by"]
        assert (who["collector"], who["same_mount_namespace"]) == (False, True)
        collector.terminate()
        collector.start()
        assert watch.act(path, "moved_here", pid=collector.pid)["by"]["collector"] is True


@pytest.mark.parametrize(("options", "same"), [((), True), (("--mount-proc",), False)])
def test_a_culprit_of_another_pid_namespace(path: Path, options: tuple[str, ...], same: bool) -> None:
    """Named by the pid that it has here. ``--mount-proc`` gives it a mount namespace of its own too."""
    with Collector(path), Watch(path) as watch:
        below = run("unshare", "--pid", "--fork", *options, sys.executable, "-c", IMPOSTOR, str(path))
        who = watch.act(path, "created")["by"]
        assert who["exe"] == str(Path(sys.executable).resolve())
        assert who["parents"][0]["pid"] == below
        assert who["same_mount_namespace"] is same


def test_the_binary_executed_in_another_pid_namespace(path: Path) -> None:
    with Watch(path) as watch:
        below = run("unshare", "--pid", "--fork", "--mount-proc", COMMAND, "-V")
        seen = watch.wait_for(lambda one: "executed" in one.get("actions", ()) and below in parents(one))
        assert seen["by"]["command"][-1] == "-V"
        assert seen["by"]["namespaces"]["pid"] != Path("/proc/self/ns/pid").stat().st_ino


def parents(one: dict[str, object]) -> list[int]:
    who = one["by"]
    assert isinstance(who, dict)
    return [parent["pid"] for parent in who["parents"]]


def test_changes_of_mode_and_owner(path: Path) -> None:
    with Watch(path) as watch:
        path.write_text("")
        pid = run("/usr/bin/chmod", "0600", str(path))
        assert watch.act(path, "attributes_changed", pid=pid)["state"]["mode"] == "-rw-------"
        pid = run("/usr/bin/chown", "7:8", str(path))
        state = watch.act(path, "attributes_changed", pid=pid)["state"]
        assert (state["uid"], state["gid"]) == (7, 8)
        pid = run("/usr/bin/chmod", "0700", str(path.parent))
        assert watch.act(path.parent, "attributes_changed", pid=pid)["state"]["mode"] == "drwx------"


def test_a_rename_over_the_path_and_away(path: Path) -> None:
    with Watch(path) as watch:
        path.with_name("other").write_text("")
        pid = run("/usr/bin/mv", str(path.with_name("other")), str(path))
        watch.act(path, "moved_here", pid=pid)
        pid = run("/usr/bin/mv", str(path), str(path.with_name("away")))
        assert watch.act(path, "moved_away", pid=pid)["state"] is None


def test_what_does_not_concern_the_socket_is_not_told(path: Path) -> None:
    lock = path.with_name("collector.sock.lock")
    with Watch(path) as watch:
        for name in NOT_OURS:
            path.with_name(name).write_text("")
        lock.write_text("")
        watch.act(lock, "created", pid=os.getpid())
    assert {one["path"] for one in watch.seen if one.get("path")} == {str(lock)}


def test_a_directory_that_is_removed_and_made_again(path: Path) -> None:
    directory = path.parent
    with Watch(path) as watch:
        for _ in range(3):
            path.write_text("")
            watch.act(path, "created")
            before = len(watch.seen)
            removed, made = run("/usr/bin/rm", "-r", str(directory)), run("/usr/bin/mkdir", str(directory))
            watch.act(path, "deleted", pid=removed)
            watch.act(directory, "deleted", pid=removed)
            watch.act(directory, "created", pid=made)
            made_of(watch, path, run("/usr/bin/touch", str(path)), before)
            path.unlink()


def made_of(watch: Watch, path: Path, pid: int, before: int) -> None:
    """It is told that ``path`` was made: by whom, or that it was found in a directory that is new."""

    def told() -> bool:
        acts = [one for one in watch.seen[before:] if one.get("path") == str(path)]
        return any("found" in one["actions"] or ("created" in one["actions"] and by(one, pid)) for one in acts)

    wait_until(told, message=f"in {watch.seen}")


def test_a_directory_that_is_moved_away_with_all_that_is_above_it(path: Path) -> None:
    above = path.parent.parent / "above"
    nested = above / "run" / "collector.sock"
    nested.parent.mkdir(parents=True)
    away = above.with_name("away")
    with Watch(nested) as watch:
        watch.act(above, "moved_away", pid=run("/usr/bin/mv", str(above), str(away)))
        watch.act(above, "moved_here", pid=run("/usr/bin/mv", str(away), str(above)))
        path_event = run("/usr/bin/touch", str(nested))
        watch.act(nested, "created", pid=path_event)
        shutil.rmtree(above)
        watch.act(above, "deleted", pid=os.getpid())


def test_a_directory_that_is_not_there_yet(path: Path) -> None:
    nested = path.parent / "new" / "collector.sock"
    with Watch(nested) as watch:
        watch.act(nested.parent, "created", pid=run("/usr/bin/mkdir", str(nested.parent)))
        nested.write_text("")
        made_of(watch, nested, os.getpid(), 0)


def test_a_path_with_a_symbolic_link(path: Path) -> None:
    link = path.parent / "link"
    (path.parent / "target").mkdir()
    link.symlink_to("target")
    with Watch(link / "collector.sock") as watch:
        (link / "collector.sock").write_text("")
        watch.act(path.parent.resolve() / "target" / "collector.sock", "created", pid=os.getpid())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_even_if_told_twice(tmp_path: Path, number: signal.Signals) -> None:
    with Watch(tmp_path / "collector.sock") as watch:
        watch.process.send_signal(number)
        watch.process.send_signal(number)


def test_without_the_right_to_watch_files_the_other_half_goes_on(tmp_path: Path) -> None:
    with Watch(tmp_path / "collector.sock", *WITHOUT_ADMINISTRATION) as watch:
        refusal = watch.wait_for(lambda one: one.get("notice") == "refused")
        assert refusal["capability"] == "CAP_SYS_ADMIN"
        assert "CAP_SYS_ADMIN is missing" in refusal["text"]
        watch.command("executed", run(COMMAND, "-V"))


def test_in_another_pid_namespace_files_are_watched_all_the_same(path: Path) -> None:
    with Watch(path, *OTHER_PIDS) as watch:
        refusal = watch.wait_for(lambda one: one.get("notice") == "refused")
        assert "initial network, pid and user namespaces" in refusal["text"]
        path.write_text("")
        assert watch.act(path, "created")["by"]["pid"] == 0


def test_in_another_network_namespace_files_are_watched_all_the_same(path: Path) -> None:
    with Watch(path, "unshare", "--net") as watch:
        refusal = watch.wait_for(lambda one: one.get("notice") == "refused")
        assert "initial network, pid and user namespaces" in refusal["text"]
        path.write_text("")
        who = watch.act(path, "created", pid=os.getpid())["by"]
        assert who["exe"] == str(Path(sys.executable).resolve())


@pytest.mark.parametrize(
    "under", [("unshare", "--net", *WITHOUT_ADMINISTRATION), ("unshare", "--user", "--map-root-user")]
)
def test_where_nothing_can_be_seen_it_says_what_is_missing(tmp_path: Path, under: tuple[str, ...]) -> None:
    watch = Watch(tmp_path / "collector.sock", *under)
    assert watch.ended() == (2, "")
    assert [one["notice"] for one in watch.seen] == ["refused", "refused"]
    assert {one["capability"] for one in watch.seen} == {None, "CAP_SYS_ADMIN"}


def test_an_ordinary_user_is_told_what_is_missing(tmp_path: Path) -> None:
    """Newer kernels (6.6) let everybody listen to process events; files take a capability everywhere."""
    script = f"import os; import resty_metrics.commands.doctor.watch; os.setuid(65534)\n{RUN}"
    words = [sys.executable, "-c", script, str(tmp_path / "collector.sock"), "json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as watch:
        assert watch.stdout is not None
        notices = [json.loads(watch.stdout.readline()) for _ in range(2)]
        watch.terminate()
        assert watch.wait(timeout=20) in (0, 2)
    assert "CAP_SYS_ADMIN" in [notice["capability"] for notice in notices]


def test_lost_file_events_are_reported(tmp_path: Path) -> None:
    """More than the kernel keeps for a watch that does not come to read, though none of it is of concern."""
    directory = tmp_path / "run"
    directory.mkdir()
    with Watch(directory / "collector.sock") as watch:
        watch.process.send_signal(signal.SIGSTOP)
        try:
            for number in range(17000):
                os.close(os.open(directory / f"other.{number}", os.O_CREAT | os.O_WRONLY))
        finally:
            watch.process.send_signal(signal.SIGCONT)
        assert "file events" in watch.wait_for(lambda one: one.get("notice") == "lost")["text"]
        (directory / "collector.sock").write_text("")
        watch.act(directory / "collector.sock", "created", pid=os.getpid())


def test_a_reader_that_goes_away_ends_it(path: Path) -> None:
    words = [sys.executable, "-c", RUN, str(path), "json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as watch:
        assert watch.stdout is not None
        watch.stdout.readline()
        watch.stdout.close()
        path.write_text("")
        assert watch.wait(timeout=20) == 0


def test_a_reader_that_does_not_read_stops_nothing(path: Path) -> None:
    words = [sys.executable, "-c", RUN, str(path), "json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as watch:
        assert watch.stdout is not None
        watch.stdout.readline()
        for number in range(400):
            path.with_name(f".collector.sock.{number}").write_text("")
        watch.send_signal(signal.SIGTERM)
        assert watch.wait(timeout=20) == 0


def test_text_for_people(path: Path) -> None:
    words = [sys.executable, "-c", RUN, str(path), "text"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        assert "watching" in watch.stdout.readline()
        pid = run("/usr/bin/mkdir", str(path))
        # Another test may run a command of ours meanwhile, which is told as well.
        line = next(line for line in watch.stdout if str(path) in line)
        assert f"{path}: created (now drwxr-xr-x root:root (0:0)) by pid {pid}, root (uid 0), " in line
        assert f" {os.getpid()}" in line
        watch.terminate()
        assert watch.wait(timeout=20) == 0


def test_output_to_a_file(path: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-c", RUN, str(path), "json"]
    with (tmp_path / "out").open("ab") as out, subprocess.Popen(words, stdout=out) as watch:
        wait_until(lambda: "watching" in (tmp_path / "out").read_text())
        path.write_text("")
        wait_until(lambda: "created" in (tmp_path / "out").read_text())
        watch.terminate()
        assert watch.wait(timeout=20) == 0
    assert stat.S_ISREG((tmp_path / "out").stat().st_mode)
