"""Journals with a fault in any byte of any file: every start succeeds, says what it lost, and counts nothing twice."""

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from resty_metrics.journal.files import Directory
from resty_metrics.journal.store import Store
from support.journals import Life, append, begin, start, total

PAGE = 4096
FEW, MANY, PARTS = 150, 400, 10
MEMORY = Path("/dev/shm")
PRECIOUS = "of somebody else"


@dataclass(frozen=True)
class Left:
    """What a collector left: the files, and what it had counted."""

    path: Path
    life: Life


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> list[Left]:
    """Of one that was ended, and of one that was killed, whose log is in the write-ahead log for a good part."""
    top = tmp_path_factory.mktemp("left")
    ended, killed = top / "ended", top / "killed"
    ended.mkdir()
    life, directory = Life(), Directory(ended)
    for _ in range(20):
        life.send()
    path = directory.file(begin(directory, life))
    log = Store(path)
    append(log, life, 40)
    (ended / "lock").write_text("4711\n")
    shutil.copytree(ended, killed)
    log.close()
    return [Left(ended, life), Left(killed, life)]


def flip(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)


def cut(path: Path, rng: random.Random) -> None:
    os.truncate(path, rng.randrange(path.stat().st_size + 1))


def zero(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    at, size = rng.randrange(len(data) + 1), rng.randrange(1, 2 * PAGE)
    data[at : at + size] = bytes(min(size, len(data) - at))
    path.write_bytes(data)


def garble(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    at, size = rng.randrange(len(data) + 1), rng.randrange(1, 64)
    data[at : at + size] = rng.randbytes(min(size, len(data) - at))
    path.write_bytes(data)


def swap(path: Path, rng: random.Random) -> None:
    """Two pages; one of them goes to the other's place as well, as often as not."""
    data = bytearray(path.read_bytes())
    first, second = (rng.randrange(max(1, len(data) // PAGE)) * PAGE for _ in range(2))
    before = bytes(data[first : first + PAGE])
    data[first : first + PAGE] = data[second : second + PAGE]
    if rng.random() < 0.5:
        data[second : second + len(before)] = before
    path.write_bytes(data)


def grow(path: Path, rng: random.Random) -> None:
    with path.open("ab") as file:
        file.write(rng.randbytes(rng.randrange(1, 3 * PAGE)))


def remove(path: Path, _: random.Random) -> None:
    path.unlink()


def forbid(path: Path, _: random.Random) -> None:
    path.chmod(0)


def become(kind: Callable[[Path], None]) -> Callable[[Path, random.Random], None]:
    def change(path: Path, _: random.Random) -> None:
        path.unlink()
        kind(path)

    return change


def link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "precious")


CHANGES: list[tuple[int, Callable[[Path, random.Random], None]]] = [
    (8, flip), (2, cut), (2, zero), (2, garble), (2, swap), (1, grow), (1, remove), (1, forbid),
    (1, become(Path.mkdir)), (1, become(os.mkfifo)), (1, become(link)),
]  # fmt: skip


def check(left: Left, seed: int, top: Path, caplog: pytest.LogCaptureFixture) -> bool:
    """One fault, two starts. Was anything lost?"""
    rng = random.Random(seed)
    shutil.copytree(left.path, top / "state")
    (top / "precious").write_text(PRECIOUS)
    file = rng.choice(sorted((top / "state").iterdir()))
    (change,) = rng.choices([change for _, change in CHANGES], [weight for weight, _ in CHANGES])
    change(file, rng)
    case = f"seed {seed}: {left.path.name}, {file.name}, {change.__qualname__}"
    caplog.clear()
    kept, up = start(top / "state", top / "run")
    warnings = [record for record in caplog.records if record.levelname != "INFO"]
    counted = total(kept.state)
    assert counted <= total(left.life.state), case
    assert counted == total(left.life.state) or warnings, case
    assert up or kept.error is not None, case
    if counted:  # the last batch comes again, and is not counted twice
        again = Life(kept.state)
        again.intake.receive(left.life.datagram, 0, 1e6)
        again.intake.commit()
        assert total(again.state) <= total(left.life.state), case
    if up:
        caplog.clear()
        after, _ = start(top / "state", top / "run")
        assert after.loss.reason is None, case
        assert total(after.state) == counted, case
        assert all(record.levelname == "INFO" for record in caplog.records), case
    assert (top / "precious").read_text() == PRECIOUS, case
    shutil.rmtree(top)
    return counted < total(left.life.state)


@pytest.fixture
def top(tmp_path: Path) -> Iterator[Path]:
    """In memory where that is possible: each start waits for the disk a dozen times."""
    if not MEMORY.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as path:
        yield Path(path)


def run(left: list[Left], seeds: range, top: Path, caplog: pytest.LogCaptureFixture) -> int:
    lost = 0
    for seed in seeds:
        (top / str(seed)).mkdir()
        lost += check(left[seed % 2], seed, top / str(seed), caplog)
    return lost


def test_a_fault_in_any_file(left: list[Left], top: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert run(left, range(FEW), top, caplog) > FEW / 10


@pytest.mark.slow
@pytest.mark.parametrize("part", range(1, 1 + PARTS))
def test_many_faults_in_any_file(left: list[Left], top: Path, caplog: pytest.LogCaptureFixture, part: int) -> None:
    assert run(left, range(part * MANY, (part + 1) * MANY), top, caplog) > MANY / 10
