"""The lock beside the socket."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from collector.ingest.lock import LockedError, acquire


def test_it_names_its_holder_and_is_private(tmp_path: Path) -> None:
    lock = acquire(tmp_path / "lock")
    assert lock.held()
    assert lock.path.read_text() == f"{os.getpid()}\n"
    assert stat.S_IMODE(lock.path.stat().st_mode) == 0o600
    lock.release()


def test_the_directory_is_made(tmp_path: Path) -> None:
    acquire(tmp_path / "a" / "b" / "lock").release()
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o755


def test_a_second_one_is_told_who_has_it(tmp_path: Path) -> None:
    lock = acquire(tmp_path / "lock")
    before = lock.path.stat()
    with pytest.raises(LockedError, match=f"process {os.getpid()} already collects") as refused:
        acquire(tmp_path / "lock")
    assert refused.value.pid == os.getpid()
    after = lock.path.stat()
    assert (before.st_ino, before.st_size, before.st_mtime_ns) == (after.st_ino, after.st_size, after.st_mtime_ns)
    lock.release()
    acquire(tmp_path / "lock").release()


def test_a_holder_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    script = "import os, sys; from collector.ingest.lock import acquire; from pathlib import Path; "
    script += "acquire(Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "lock")], check=False)
    assert (tmp_path / "lock").exists()
    acquire(tmp_path / "lock").release()


@pytest.mark.parametrize("content", ["", "garbage", "999999999999999999999999999999999", "-5", "\0\0"])
def test_a_holder_that_does_not_say_who_it_is(tmp_path: Path, content: str) -> None:
    lock = acquire(tmp_path / "lock")
    lock.path.write_text(content)
    with pytest.raises(LockedError, match="already collects"):
        acquire(tmp_path / "lock")
    lock.release()


def test_a_lock_file_that_was_replaced_is_held_no_more(tmp_path: Path) -> None:
    lock = acquire(tmp_path / "lock")
    lock.path.unlink()
    assert not lock.held()
    other = acquire(tmp_path / "lock")
    assert other.held()
    assert not lock.held()
    lock.release()
    other.release()


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "lock").symlink_to(target)
    with pytest.raises(OSError, match="lock"):
        acquire(tmp_path / "lock")
    assert target.read_text() == "precious"
