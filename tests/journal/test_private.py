"""Who may read the files of the journal, what lies in their place, and what is never removed."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from resty_metrics.journal import private, store
from resty_metrics.journal.errors import JournalError
from resty_metrics.journal.files import SET_ASIDE_MOST, Directory
from resty_metrics.journal.recovery import ANY, recover
from resty_metrics.journal.state import State, capture
from resty_metrics.journal.store import Store
from resty_metrics.journal.writer import Append, Check, Close, Replace, Report, Writer
from resty_metrics.process.lock import acquire
from support.journals import Life, append, begin, sides, start, total
from support.wait import wait_until

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
NOBODY = 65534
RECORDS = 5


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    (tmp_path / "state").mkdir()
    return Directory(tmp_path / "state")


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes(directory: Directory) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.path.iterdir()}


def written(directory: Directory) -> tuple[Path, Life]:
    life = Life()
    life.send()
    path = directory.file(begin(directory, life))
    log = Store(path)
    append(log, life, RECORDS)
    log.close()
    return path, life


def replace(directory: Directory, state: State | None) -> None:
    writer = Writer(directory, lambda: True, lambda _: None)
    writer._do([Replace(capture(state or State(), 0.0))])
    writer._close()


@pytest.mark.parametrize("mask", [0, 0o022, 0o777])
def test_every_file_is_ours_alone_whatever_the_umask(directory: Directory, mask: int) -> None:
    with umask(mask):
        acquire(directory.path / "lock").release()
        life = Life()
        path = directory.file(begin(directory, life))
        log = Store(path)
        append(log, life, RECORDS)
        names = {"current", "lock", *(f"journal-1.sqlite{side}" for side in ("", "-wal", "-shm", "-count"))}
        assert modes(directory) == dict.fromkeys(names, 0o600)
        log.close()


def test_the_files_of_an_earlier_collector_become_so(directory: Directory) -> None:
    _, life = written(directory)
    (directory.path / "set-aside-0-corrupt.sqlite").touch()
    for file in directory.path.iterdir():
        file.chmod(0o644)
    (directory.path / "somebody-elses").touch(0o644)
    recovered = recover(directory, None)
    assert recovered.state is not None
    assert total(recovered.state) == total(life.state)
    assert {name: mode for name, mode in modes(directory).items() if mode != 0o600} == {"somebody-elses": 0o644}


def test_the_lock_of_an_earlier_collector_too(tmp_path: Path) -> None:
    """Whoever may read it may lock it."""
    (tmp_path / "lock").touch(0o644)
    acquire(tmp_path / "lock").release()
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize(
    "name", ["current.new", "journal-1.sqlite", *(f"journal-1.sqlite{side}" for side in store.SIDES)]
)
def test_nothing_is_written_through_a_link(directory: Directory, name: str, exists: bool) -> None:
    precious = directory.path.parent / "precious"
    if exists:
        precious.write_text("precious")
    (directory.path / name).symlink_to(precious)
    life = Life()
    life.send()
    log = Store(directory.file(begin(directory, life)))
    append(log, life, RECORDS)
    log.close()
    assert (precious.read_text() if exists else precious.exists()) == ("precious" if exists else False)
    recovered = recover(directory, None)
    assert recovered.state is not None
    assert total(recovered.state) == total(life.state)


def test_a_link_that_lies_there_all_the_same_is_not_followed(directory: Directory) -> None:
    precious = directory.path.parent / "precious"
    precious.write_text("precious")
    for side in ("", "-count"):
        path = directory.path / "journal-1.sqlite"
        link = path.with_name(path.name + side)
        link.symlink_to(precious)
        with pytest.raises(JournalError, match="exists"):
            store.create(path, [b""])
        link.unlink()
        path.unlink(missing_ok=True)
    assert precious.read_text() == "precious"


def test_a_journal_that_is_a_link_is_not_read(directory: Directory, caplog: pytest.LogCaptureFixture) -> None:
    path, _ = written(directory)
    elsewhere = directory.path.parent / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    with pytest.raises(JournalError, match="not a regular file"):
        Store(path)
    assert recover(directory, None).state is None
    assert "not a regular file" in str([vars(record)["fields"] for record in caplog.records])
    assert (directory.path / "set-aside-1-foreign.sqlite").is_symlink()


KINDS: dict[str, Callable[[Path], None]] = {
    "directory": Path.mkdir,
    "pipe": os.mkfifo,
    "link": lambda path: path.symlink_to("/etc/hostname"),
    "device": lambda path: path.symlink_to("/dev/zero"),
}
NAMES = [
    "current",
    "lock",
    "journal-1.sqlite",
    "journal-1.sqlite-wal",
    "journal-1.sqlite-shm",
    "journal-1.sqlite-count",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_whatever_lies_in_place_of_a_file(
    directory: Directory, caplog: pytest.LogCaptureFixture, name: str, kind: str
) -> None:
    """The start ends, says what it could not use, and the one after it has all that this one had."""
    path, life = written(directory)
    for side in ("-wal", "-shm"):
        path.with_name(path.name + side).touch()
    (directory.path / "lock").touch()
    (directory.path / name).unlink()
    KINDS[kind](directory.path / name)
    kept, up = start(directory.path, directory.path.parent / "run")
    warnings = [record for record in caplog.records if record.levelname != "INFO"]
    assert warnings or total(kept.state) == total(life.state)
    if name == "lock":
        assert kept.error is not None
        assert {side.name for side in sides(path)} == {path.name + side for side in ("", "-wal", "-shm", "-count")}
        return
    assert up
    again, _ = start(directory.path, directory.path.parent / "run")
    assert total(again.state) == total(kept.state)


def as_nobody(work: Callable[[], None]) -> None:
    """Do this as a user who may not read everything. What it raises fails the test."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0, "see what the child wrote"


@pytest.fixture
def nobodys(shared: Path) -> Directory:
    """A state directory of a user's own, with a journal."""
    directory = Directory(shared / "state")
    directory.path.mkdir(0o700)
    os.chown(directory.path, NOBODY, NOBODY)
    (shared / "run").mkdir()
    os.chown(shared / "run", NOBODY, NOBODY)
    shared.chmod(0o755)
    as_nobody(lambda: written(directory) and None)
    return directory


def put_back(directory: Directory, aside: Path) -> None:
    """As docs/troubleshooting.md says it."""
    for side in list(sides(aside)):
        side.rename(directory.path / f"journal-1.sqlite{side.name.removeprefix(aside.name)}")
    (directory.path / "current").write_text(f"1 {'0' * 31}1\n")
    for path in directory.path.iterdir():
        path.chmod(0o600)
        os.chown(path, NOBODY, NOBODY)


@only_root
@pytest.mark.parametrize("name", ["journal-1.sqlite", "current", "lock"])
@pytest.mark.parametrize("how", ["mode 000", "root's"])
def test_a_journal_that_was_only_unreadable_is_never_removed(nobodys: Directory, name: str, how: str) -> None:
    """Neither by the next snapshot, nor because of what was set aside after it."""
    path, run = nobodys.path / name, nobodys.path.parent / "run"
    if name == "lock":
        path.touch()
    if how == "mode 000":
        os.chown(path, NOBODY, NOBODY)
        path.chmod(0)
    else:
        os.chown(path, 0, 0)
        path.chmod(0o600)

    def starts() -> None:
        kept, _ = start(nobodys.path, run)
        assert total(kept.state) == 0
        assert kept.loss.reason == "read_only"
        assert (kept.error is not None) is (name == "lock")

    as_nobody(starts)
    if name == "lock":  # somebody mends it: from now on there is a journal again
        assert (nobodys.path / "journal-1.sqlite").exists()
        path.unlink()
    as_nobody(lambda: start(nobodys.path, run) and None)
    for _ in range(SET_ASIDE_MOST + 2):
        newest = max(nobodys.path.glob("journal-*.sqlite"))
        os.truncate(newest, 0)
        as_nobody(lambda: start(nobodys.path, run) and None)
    reason = {"lock": "unread"}.get(name, "read_only")
    aside = nobodys.path / f"set-aside-1-{reason}.sqlite"
    assert aside.exists()
    assert len(list(nobodys.path.glob("set-aside-*-foreign.sqlite"))) == SET_ASIDE_MOST
    for side in list(nobodys.path.glob("journal-*")):
        side.unlink()
    put_back(nobodys, aside)

    def reads() -> None:
        kept, _ = start(nobodys.path, run)
        assert total(kept.state) == 31 * (RECORDS + 1)

    as_nobody(reads)


def test_what_a_collector_wrote_that_had_the_directory_meanwhile_is_set_aside(directory: Directory) -> None:
    """Nobody has read it. Its number is one of ours: the directory was made anew."""
    replace(directory, None)
    for path in list(directory.path.iterdir()):
        path.unlink()
    written(Directory(directory.path))
    foreign = (directory.path / "journal-1.sqlite").read_bytes()
    replace(directory, None)
    assert (directory.path / "set-aside-1-unread.sqlite").read_bytes() == foreign


def test_one_that_could_not_be_read_by_the_collector_before_is_set_aside(directory: Directory) -> None:
    """It noted that any journal is stale, since it did not know which one is there."""
    written(directory)
    recovered = recover(Directory(directory.path), ANY)
    assert recovered.state is None
    replace(Directory(directory.path), None)
    assert (directory.path / "set-aside-1-unread.sqlite").exists()


def test_journal_files_without_a_current_one_are_set_aside(
    directory: Directory, caplog: pytest.LogCaptureFixture
) -> None:
    written(directory)
    (directory.path / "current").unlink()
    assert recover(Directory(directory.path), None).state is None
    assert "no journal file is marked as current" in caplog.text
    assert (directory.path / "set-aside-1-unnamed.sqlite").exists()


def test_a_current_that_names_a_file_that_is_not_there(directory: Directory, caplog: pytest.LogCaptureFixture) -> None:
    """One flipped bit in a number: the journal itself is whole, and must not go."""
    written(directory)
    (directory.path / "current").write_text(f"9 {'0a' * 16}\n")
    assert recover(Directory(directory.path), None).state is None
    assert "Counters begin at 0" in caplog.text
    assert (directory.path / "set-aside-1-removed.sqlite").exists()


def test_a_directory_whose_journal_was_removed_is_told_from_a_new_one(
    directory: Directory, caplog: pytest.LogCaptureFixture
) -> None:
    run = directory.path.parent / "run"
    start(directory.path, run)
    assert not caplog.records or {record.levelname for record in caplog.records} == {"INFO"}
    for path in directory.path.iterdir():
        if path.name != "lock":
            path.unlink()
    start(directory.path, run)
    assert "the journal of the previous collector is missing" in caplog.text


class Thread:
    """A writer of the test's own, with a journal that has a record."""

    def __init__(self, directory: Directory) -> None:
        self.life = Life()
        self.reports: list[Report] = []
        self.writer = Writer(directory, lambda: True, self.reports.append)
        self.writer.start()
        assert self.do(self.replace()).up
        assert self.do(Append(self.life.send(), None, 31)).up

    def replace(self) -> Replace:
        return Replace(capture(self.life.state, self.life.state.now))

    def do(self, job: Replace | Append | Check | Close) -> Report:
        done = len(self.reports)
        self.writer.give(job)
        wait_until(lambda: len(self.reports) > done, message="the report")
        return self.reports[-1]


def replaced(path: Path) -> None:
    data = path.read_bytes()
    path.rename(path.with_name("elsewhere"))
    path.write_bytes(data)


def linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def cut(path: Path) -> None:
    os.truncate(path, 20)


SIDES = ("", "-wal", "-shm", "-count")
DAMAGE = [
    *((side, damage) for side in SIDES for damage in (Path.unlink, replaced, linked)),
    *((side, cut) for side in SIDES if side != "-shm"),  # is mapped: test_collector.py
]


@pytest.mark.parametrize(("side", "damage"), DAMAGE)
def test_what_happens_to_a_file_is_missed_and_a_new_snapshot_written(
    directory: Directory, side: str, damage: Callable[[Path], None]
) -> None:
    """SQLite would go on writing to what is not there any more, and the next start find nothing of it."""
    thread = Thread(directory)
    assert thread.do(Check()).error is None
    damage(directory.path / f"journal-1.sqlite{side}")
    report = thread.do(Check())
    assert report.error is not None
    assert (report.error.reason, report.up) == ("removed", False)
    assert directory.current() is None
    assert thread.do(Check()).usable
    assert thread.do(thread.replace()).up
    thread.do(Close())
    thread.writer.join(10)
    recovered = recover(directory, None)
    assert recovered.state is not None
    assert total(recovered.state) == total(thread.life.state)


def test_a_file_that_grows_is_none_of_that(directory: Directory) -> None:
    """A checkpoint begins the write-ahead log anew, and keeps its length."""
    thread = Thread(directory)
    for _ in range(40):
        for _ in range(40):
            thread.writer.give(Append(thread.life.send() + bytes(4000), None, 31))
        assert thread.do(Check()).error is None
    thread.do(Close())


def test_a_directory_in_the_place_of_a_file_is_moved_away(tmp_path: Path) -> None:
    (tmp_path / "current" / "precious").mkdir(parents=True)
    private.clear(tmp_path / "current")
    (aside,) = tmp_path.iterdir()
    assert aside.name.startswith("set-aside-current-")
    assert (aside / "precious").is_dir()
