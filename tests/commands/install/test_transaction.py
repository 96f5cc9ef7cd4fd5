"""Files put back to the byte."""

import os
from pathlib import Path

import pytest
from resty_metrics.commands.install.facts import Change
from resty_metrics.commands.install.refused import RefusedError
from resty_metrics.commands.install.transaction import Transaction

Listing = dict[str, tuple[bytes, int, int, int, int, int]]


def listing(top: Path) -> Listing:
    """Content, mode, owner, inode and time of everything."""
    found: Listing = {}
    for path in [top, *top.rglob("*")]:
        status = path.lstat()
        content = os.fsencode(path.readlink()) if path.is_symlink() else b"" if path.is_dir() else path.read_bytes()
        found[str(path)] = content, status.st_mode, status.st_uid, status.st_gid, status.st_ino, status.st_mtime_ns
    return found


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir(mode=0o750)
    (tmp_path / "etc" / "a.conf").write_bytes(b"one\ntwo\nthree\n")
    (tmp_path / "etc" / "a.conf").chmod(0o640)
    (tmp_path / "etc" / "link.conf").symlink_to(tmp_path / "etc" / "a.conf")
    (tmp_path / "etc" / "gone.conf").write_bytes(b"gone\n")
    if os.geteuid() == 0:
        os.chown(tmp_path / "etc" / "a.conf", 33, 34)
    for path in [*tmp_path.rglob("*"), tmp_path]:
        os.utime(path, ns=(1_000_000_001, 1_500_000_000_123_456_789), follow_symlinks=False)
    return tmp_path


def changes(top: Path) -> list[Change]:
    return [
        Change(f"{top}/share/lua/new.lua", None, b"new"),
        Change(f"{top}/share/lua/other.lua", None, b""),
        Change(f"{top}/etc/link.conf", b"one\ntwo\nthree\n", b"1\n"),
    ]


def test_all_of_it_is_put_back(top: Path) -> None:
    before = listing(top)
    transaction = Transaction()
    transaction.apply(changes(top))
    assert (top / "share/lua/new.lua").read_bytes() == b"new"
    assert (top / "etc/a.conf").read_bytes() == b"1\n"
    assert (top / "etc/link.conf").is_symlink()
    assert (top / "etc/a.conf").stat().st_mode & 0o7777 == 0o640
    assert transaction.roll_back() == []
    assert listing(top) == before


def test_a_removed_file_comes_back_with_mode_owner_and_time(top: Path) -> None:
    (top / "etc/gone.conf").chmod(0o600)
    before = {path: entry[:4] + entry[5:] for path, entry in listing(top).items()}
    transaction = Transaction()
    transaction.apply([Change(f"{top}/etc/gone.conf", b"gone\n", None)])
    assert not (top / "etc/gone.conf").exists()
    assert transaction.roll_back() == []
    assert {path: entry[:4] + entry[5:] for path, entry in listing(top).items()} == before


def test_a_change_that_fails_leaves_the_others_to_be_put_back(top: Path) -> None:
    before = listing(top)
    transaction = Transaction()
    with pytest.raises(NotADirectoryError):
        transaction.apply([*changes(top), Change(f"{top}/etc/a.conf/below", None, b"")])
    assert (top / "etc/a.conf").read_bytes() == b"1\n"
    assert transaction.roll_back() == []
    assert listing(top) == before


@pytest.mark.parametrize("seen", [b"one\n", None])
def test_what_somebody_else_changed_is_left_alone(top: Path, seen: bytes | None) -> None:
    before = listing(top)
    transaction = Transaction()
    with pytest.raises(RefusedError, match="another program changed"):
        transaction.apply([Change(f"{top}/etc/a.conf", seen, b"x")])
    transaction.roll_back()
    assert listing(top) == before


def test_new_files_are_open_to_workers_whatever_the_umask(top: Path) -> None:
    old = os.umask(0o077)
    try:
        Transaction().apply(changes(top))
    finally:
        os.umask(old)
    assert (top / "share/lua/new.lua").stat().st_mode & 0o7777 == 0o644
    assert (top / "share/lua").stat().st_mode & 0o7777 == 0o755
    assert (top / "share").stat().st_mode & 0o7777 == 0o755


def test_what_cannot_be_put_back_is_said(top: Path) -> None:
    transaction = Transaction()
    transaction.apply(changes(top))
    (top / "etc/a.conf").unlink()
    (top / "etc/a.conf").mkdir()
    errors = transaction.roll_back()
    assert len(errors) == 1
    assert f"cannot restore {top}/etc/a.conf: " in errors[0]
    assert not (top / "share").exists()
