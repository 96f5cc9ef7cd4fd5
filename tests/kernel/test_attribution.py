"""Who holds the socket at a path: real impostors, in our network namespace and in another."""

import os
import socket
from pathlib import Path

import pytest
from support.child import Child
from support.collector import Collector

from collector.kernel import sock_diag
from collector.kernel.attribution import attribute, attribute_file, names

TAKES = """
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
if os.path.exists(sys.argv[1]):
    os.unlink(sys.argv[1])
sock.bind(sys.argv[1])
"""
RENAMES = """
path = sys.argv[1]
beside = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}")
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.bind(beside)
os.rename(beside, path)
"""
OTHER_NETWORK = ("unshare", "--net")


def pids_at(path: Path) -> list[int]:
    return [process.pid for process in attribute(path)]


def pids_of(path: Path, file: os.stat_result) -> list[int]:
    return [process.pid for process in attribute_file(path, file.st_dev, file.st_ino)]


def test_the_collector_itself(socket_path: Path) -> None:
    with Collector(socket_path) as collector:
        assert pids_at(socket_path) == [collector.pid]


@pytest.mark.parametrize("script", [TAKES, RENAMES])
@pytest.mark.parametrize("under", [(), OTHER_NETWORK])
def test_an_impostor(socket_path: Path, script: str, under: tuple[str, ...]) -> None:
    with Collector(socket_path), Child(script, str(socket_path), under=under) as impostor:
        assert pids_at(socket_path) == [impostor.pid]


def test_an_impostor_whose_file_was_renamed_over_in_the_meantime(socket_path: Path) -> None:
    """The collector heals first and asks then."""
    with Child(TAKES, str(socket_path)) as impostor:
        found = socket_path.stat()
        with Collector(socket_path) as collector:
            assert pids_of(socket_path, found) == [impostor.pid]
            assert pids_at(socket_path) == [collector.pid]


def test_an_impostor_in_another_network_after_the_heal(socket_path: Path) -> None:
    with Child(TAKES, str(socket_path), under=OTHER_NETWORK) as impostor:
        found = socket_path.stat()
        with Collector(socket_path):
            assert pids_of(socket_path, found) == [impostor.pid]


def test_a_socket_of_the_same_name_in_another_directory_is_not_meant(tmp_path: Path, socket_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(socket_path))
        found = socket_path.stat()
    with Child(TAKES, str(tmp_path / "collector.sock"), under=OTHER_NETWORK):
        assert pids_of(socket_path, found) == []


def test_a_container_that_has_the_directory_elsewhere(tmp_path: Path, socket_path: Path) -> None:
    """Bound there under another path: the directory counts, not what it is called."""
    mount = ("unshare", "--net", "--mount", "sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"')
    under = (*mount, str(socket_path.parent), str(tmp_path))
    with Child(TAKES, str(tmp_path / "collector.sock"), under=under) as impostor:
        assert pids_at(socket_path) == [impostor.pid]


def test_an_impostor_that_bound_a_relative_path(socket_path: Path) -> None:
    script = "os.chdir(sys.argv[1]); sys.argv[1] = 'collector.sock'" + TAKES
    with Child(script, str(socket_path.parent), under=OTHER_NETWORK) as impostor:
        assert pids_at(socket_path) == [impostor.pid]


def test_a_file_of_nobody(socket_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(socket_path))
    assert attribute(socket_path) == []


def test_a_path_with_nothing_there(socket_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        attribute(socket_path)
    assert attribute_file(socket_path / "no" / "directory", 1, 2) == []


def test_a_file_system_on_which_stat_has_another_device(socket_path: Path) -> None:
    """btrfs and some overlays: the inode counts, and the name."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(socket_path))
        found = socket_path.stat()
        assert [one.pid for one in attribute_file(socket_path, found.st_dev + 1, found.st_ino)] == [os.getpid()]
        assert attribute_file(socket_path.with_name("other"), found.st_dev + 1, found.st_ino) == []


def test_a_kernel_that_does_not_answer(socket_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No unix_diag, or a filter of system calls: the other namespaces are looked at all the same."""

    def refused() -> list[sock_diag.UnixSocket]:
        raise FileNotFoundError

    monkeypatch.setattr(sock_diag, "sockets", refused)
    with Child(TAKES, str(socket_path), under=OTHER_NETWORK) as impostor:
        assert pids_at(socket_path) == [impostor.pid]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("/run/collector.sock", True),
        ("/elsewhere/collector.sock", True),
        ("collector.sock", True),
        ("/run/.collector.sock.12", True),
        ("/run/.collector.sock.", False),
        ("/run/collector.sock.lock", False),
        ("/run/collectorxsock", False),
        ("/run/collector.sock/x", False),
        ("", False),
    ],
)
def test_names_of_ours(name: str, meant: bool) -> None:
    assert names(Path("/run/collector.sock"))(name) == meant
