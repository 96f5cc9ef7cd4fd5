"""The lock beside the socket."""

import errno
import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from resty_metrics.process.lock import LockedError, acquire


def test_it_names_its_holder_and_is_private(tmp_path: Path) -> None:
    lock = acquire(tmp_path / "lock")
    assert lock.held()
    assert lock.path.read_text() == f"{os.getpid()}\n"
    assert stat.S_IMODE(lock.path.stat().st_mode) == 0o600
    lock.release()


def modes(path: Path, *names: str) -> list[int]:
    """The modes of directories, each in the one before."""
    below = [path := path / name for name in names]
    return [stat.S_IMODE(directory.stat().st_mode) for directory in below]


@pytest.mark.parametrize("umask", [0, 0o022, 0o027, 0o077, 0o777], ids=oct)
def test_the_directory_is_made_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """With those above it: other users pass these on their way to what is beside it."""
    before = os.umask(umask)
    try:
        acquire(tmp_path / "a" / "b" / "lock").release()
        acquire(tmp_path / "c" / "d" / "e" / "lock", 0o750).release()
    finally:
        os.umask(before)
    assert modes(tmp_path, "a", "b") == [0o755, 0o755]
    assert modes(tmp_path, "c", "d", "e") == [0o755, 0o755, 0o750]


def test_a_directory_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(0o700)
    acquire(tmp_path / "a" / "b" / "lock", 0o750).release()
    acquire(tmp_path / "a" / "lock").release()
    assert modes(tmp_path, "a", "b") == [0o700, 0o750]


def test_a_second_one_is_told_who_has_it(tmp_path: Path) -> None:
    lock = acquire(tmp_path / "lock")
    before = lock.path.stat()
    with pytest.raises(LockedError, match=f"process {os.getpid()}, holds") as refused:
        acquire(tmp_path / "lock")
    assert refused.value.pid == os.getpid()
    after = lock.path.stat()
    assert (before.st_ino, before.st_size, before.st_mtime_ns) == (after.st_ino, after.st_size, after.st_mtime_ns)
    lock.release()
    acquire(tmp_path / "lock").release()


def test_a_holder_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    script = "import os, sys; from resty_metrics.process.lock import acquire; from pathlib import Path; "
    script += "acquire(Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "lock")], check=False)
    assert (tmp_path / "lock").exists()
    acquire(tmp_path / "lock").release()


@pytest.mark.parametrize("content", ["", "garbage", "999999999999999999999999999999999", "-5", "\0\0"])
def test_a_holder_that_does_not_say_who_it_is(tmp_path: Path, content: str) -> None:
    lock = acquire(tmp_path / "lock")
    lock.path.write_text(content)
    with pytest.raises(LockedError, match=r"another collector(, process \d+,)? holds"):
        acquire(tmp_path / "lock")
    lock.release()


def test_a_lock_file_that_was_replaced_is_held_no_more(tmp_path: Path) -> None:
    lock = acquire(tmp_path / "lock")
    lock.path.unlink()
    assert not lock.held()
    second = acquire(tmp_path / "lock")
    assert second.held()
    assert not lock.held()
    lock.release()
    second.release()


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "lock").symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        acquire(tmp_path / "lock")
    assert target.read_text() == "precious"
    target.unlink()
    with pytest.raises(OSError, match="symbolic links"):
        acquire(tmp_path / "lock")
    assert not target.exists()


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def locking_after(change: Callable[[], None], times: int) -> Callable[[int, int], None]:
    """flock, before which ``change`` happens so many times: what another process may do between open and flock."""
    flock, left = fcntl.flock, times

    def changed(descriptor: int, operation: int) -> None:
        nonlocal left
        if left:
            left -= 1
            change()
        flock(descriptor, operation)

    return changed


def test_a_file_that_is_made_anew_while_it_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"

    def make_anew() -> None:
        path.unlink()
        path.write_text("1\n")

    before = open_descriptors()
    monkeypatch.setattr("resty_metrics.process.lock.fcntl.flock", locking_after(make_anew, 3))
    lock = acquire(path)
    assert lock.held()
    assert path.read_text() == f"{os.getpid()}\n"
    lock.release()
    assert open_descriptors() == before


def test_a_file_that_is_removed_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_descriptors()
    monkeypatch.setattr("resty_metrics.process.lock.fcntl.flock", locking_after((tmp_path / "lock").unlink, 1000))
    with pytest.raises(OSError, match="again and again"):
        acquire(tmp_path / "lock")
    assert open_descriptors() == before


def test_a_lock_that_is_not_had_leaves_no_descriptor(tmp_path: Path) -> None:
    lock = acquire(tmp_path / "lock")
    before = open_descriptors()
    with pytest.raises(LockedError):
        acquire(tmp_path / "lock")
    assert open_descriptors() == before
    lock.release()


def test_a_lock_on_a_full_disk_is_had_once_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A descriptor left open by the attempt would hold the lock against us for as long as we run."""

    def no_room(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = open_descriptors()
    with monkeypatch.context() as full:
        full.setattr("resty_metrics.process.lock.os.pwrite", no_room)
        with pytest.raises(OSError, match="No space"):
            acquire(tmp_path / "lock")
    assert open_descriptors() == before
    acquire(tmp_path / "lock").release()


def test_a_child_process_does_not_keep_the_lock(tmp_path: Path) -> None:
    """Or a helper that outlives us would keep the next collector out."""
    lock = acquire(tmp_path / "lock")
    words = [sys.executable, "-c", "print(); input()"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, close_fds=False, bufsize=0) as child:
        assert child.stdout is not None
        child.stdout.read(1)  # it is not a copy of us any more
        lock.release()
        acquire(tmp_path / "lock").release()
        child.communicate(b"\n", timeout=10)


def test_a_stale_journal_is_remembered_by_the_next_holder(tmp_path: Path) -> None:
    lock = acquire(tmp_path / "lock")
    assert lock.stale is None
    lock.note("0a" * 16)
    lock.release()
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\nstale-journal {'0a' * 16}\n"
    again = acquire(tmp_path / "lock")
    assert again.stale == "0a" * 16
    again.note(None)
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    again.release()


def test_the_pid_of_an_earlier_holder_is_written_over_whole(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("4294967295\nand more\n")
    lock = acquire(tmp_path / "lock")
    assert lock.path.read_text() == f"{os.getpid()}\n"
    lock.release()
