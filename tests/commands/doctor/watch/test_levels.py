"""The directories that are watched: real ones; a refusal only where no file system here refuses."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from resty_metrics.commands.doctor.watch import fanotify
from resty_metrics.commands.doctor.watch.errors import FormatError, RefusedError
from resty_metrics.commands.doctor.watch.file_events import CREATED, FileEvent
from resty_metrics.commands.doctor.watch.levels import Levels, concerns_socket
from support.wait import wait_until

try:
    os.close(fanotify.group())
except RefusedError as error:
    pytestmark = pytest.mark.skip(reason=str(error))


@contextmanager
def watching(path: Path) -> Iterator[Levels]:
    levels = Levels(path)
    levels.open()
    yield levels
    levels.close()


def refusing(accepts: Callable[[Path], bool]) -> Callable[[int, Path, int], bool]:
    watch = fanotify.watch

    def refuse(descriptor: int, directory: Path, mask: int) -> bool:
        if accepts(directory):
            raise RefusedError("the file system has no events")
        return watch(descriptor, directory, mask)

    return refuse


@pytest.mark.parametrize(
    ("entry", "concerned"),
    [
        ("c.sock", True),
        ("c.sock.lock", True),
        (".c.sock.12", True),
        (".", True),
        ("", False),
        ("c-sock", False),
        ("c.sock.lock.1", False),
        (".c.sock.", False),
        ("..", False),
    ],
)
def test_what_concerns_a_socket(entry: str, concerned: bool) -> None:
    assert concerns_socket("c.sock")(entry) is concerned


def test_an_event_and_who_made_it(tmp_path: Path) -> None:
    with watching(tmp_path / "c.sock") as levels:
        (tmp_path / "c.sock").write_text("")
        (tmp_path / "d.sock").write_text("")
        (event,) = wait_until(levels.read)
        assert (event.path, event.event) == (tmp_path / "c.sock", FileEvent(CREATED, os.getpid(), "c.sock"))
        assert not levels.stale
        assert levels.read() == []


def test_what_is_in_a_directory_that_is_new(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    with watching(directory / "c.sock") as levels:
        assert levels.renew() == []
        directory.rename(tmp_path / "away")
        directory.mkdir()
        (directory / "c.sock").write_text("")
        (directory / "other").write_text("")
        assert [event.path for event in wait_until(levels.read)] == [directory]
        assert levels.stale
        assert levels.renew() == [directory / "c.sock"]
        assert levels.renew() == []
        (tmp_path / "away" / "c.sock").write_text("")
        (directory / "c.sock").unlink()
        assert [event.path for event in wait_until(levels.read)] == [directory / "c.sock"]


def test_what_happened_before_a_directory_went_is_told_first(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    with watching(directory / "c.sock") as levels:
        (directory / "c.sock").write_text("")
        directory.rename(tmp_path / "away")
        levels.renew()
        assert [event.path for event in wait_until(levels.read)] == [directory / "c.sock", directory]


def test_a_symbolic_link_that_leads_elsewhere(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    link = tmp_path / "run"
    link.symlink_to("one")
    with watching(link / "c.sock") as levels:
        link.unlink()
        link.symlink_to("other")
        levels.renew()
        (link / "c.sock").write_text("")
        assert [event.path for event in wait_until(levels.read)] == [tmp_path.resolve() / "other" / "c.sock"]


def test_a_directory_above_that_cannot_be_watched_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    monkeypatch.setattr(fanotify, "watch", refusing(lambda event: event != directory))
    with watching(directory / "c.sock") as levels:
        (directory / "c.sock").write_text("")
        assert wait_until(levels.read)
        levels.renew()
        (directory / "c.sock").unlink()
        directory.rmdir()
        directory.mkdir()
        wait_until(levels.read)
        levels.renew()
        (directory / "c.sock").write_text("")
        assert [event.path for event in wait_until(levels.read)] == [directory / "c.sock"]


def test_the_directory_itself_must_be_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanotify, "watch", refusing(lambda directory: directory == tmp_path))
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(RefusedError):
        Levels(tmp_path / "c.sock").open()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_bytes_that_make_no_sense_are_told_as_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def torn(descriptor: int) -> list[FileEvent]:
        raise FormatError("truncated")

    with watching(tmp_path / "c.sock") as levels:
        monkeypatch.setattr(fanotify, "read", torn)
        assert levels.read() == []
        assert levels.lost > 0


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with watching(tmp_path / "file" / "c.sock") as levels:
        (tmp_path / "file").unlink()
        assert [event.path for event in wait_until(levels.read)] == [tmp_path / "file"]


def test_no_more_watches_are_to_be_had(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The limit is 128 for a user; all of them would be taken from others here."""

    def none_left() -> int:
        raise RefusedError(os.strerror(errno.EMFILE))

    monkeypatch.setattr(fanotify, "group", none_left)
    with pytest.raises(RefusedError, match="Too many"):
        Levels(tmp_path / "c.sock").open()
