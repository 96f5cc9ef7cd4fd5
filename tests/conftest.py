"""What all tests share."""

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from support.nginx import shared_directory

settings.register_profile("fast", max_examples=20)  # chosen by scripts/test --fast


def pytest_configure() -> None:
    """A shell starts what it runs in the background with SIGINT ignored, and so would every child of ours ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="the full counts of the chaos suite, at 5,000 requests/s")


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory that nginx's workers and the collector share, removed afterwards."""
    path = shared_directory()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def socket_path(shared: Path) -> Path:
    """Where the collector's socket goes."""
    return shared / "collector.sock"


@pytest.fixture(scope="session")
def states(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the tests' state directories."""
    return tmp_path_factory.mktemp("states")


@pytest.fixture(autouse=True)
def _state_of_its_own(states: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test starts without a state directory must not use the machine's."""
    # Not by tmp_path_factory: it looks through the directories of all tests before for the next number.
    monkeypatch.setenv("RESTY_METRICS_STATE_DIR", tempfile.mkdtemp(dir=states))
