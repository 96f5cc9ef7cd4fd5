"""Who holds the socket at a path: real impostors, in our network namespace and in another."""

import os
import socket
from pathlib import Path

import pytest
from resty_metrics.kernel import attribution, sock_diag
from resty_metrics.kernel.attribution import attribute, attribute_file, names
from resty_metrics.kernel.namespaces import in_network
from support.child import Child
from support.collector import Collector

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


@pytest.fixture(params=["exact", "by name"])
def manner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Other network namespaces are entered, or that is refused, as to anybody but root."""

    def refuse(pid: int, question: object) -> set[int]:
        raise PermissionError

    if request.param == "by name":
        monkeypatch.setattr(attribution, "in_network", refuse)
    return str(request.param)


def pids_at(path: Path) -> list[int]:
    return [process.pid for process in attribute(path)]


def pids_of(path: Path, file: os.stat_result) -> list[int]:
    return [process.pid for process in attribute_file(path, file.st_dev, file.st_ino)]


def test_the_collector_itself(socket_path: Path) -> None:
    with Collector(socket_path) as collector:
        assert pids_at(socket_path) == [collector.pid]


@pytest.mark.parametrize("script", [TAKES, RENAMES])
@pytest.mark.parametrize("under", [(), OTHER_NETWORK])
@pytest.mark.usefixtures("manner")
def test_an_impostor(socket_path: Path, script: str, under: tuple[str, ...]) -> None:
    with Child(TAKES, str(socket_path)), Child(script, str(socket_path), under=under) as impostor:
        assert pids_at(socket_path) == [impostor.pid]


def test_an_impostor_whose_file_was_renamed_over_in_the_meantime(socket_path: Path) -> None:
    """The collector heals first and asks then."""
    with Child(TAKES, str(socket_path)) as impostor:
        status = socket_path.stat()
        with Collector(socket_path) as collector:
            assert pids_of(socket_path, status) == [impostor.pid]
            assert pids_at(socket_path) == [collector.pid]


@pytest.mark.usefixtures("manner")
def test_an_impostor_in_another_network_after_the_heal(socket_path: Path) -> None:
    with Child(TAKES, str(socket_path), under=OTHER_NETWORK) as impostor:
        status = socket_path.stat()
        with Collector(socket_path):
            assert pids_of(socket_path, status) == [impostor.pid]


@pytest.mark.usefixtures("manner")
def test_a_socket_of_the_same_name_in_another_directory_is_not_meant(tmp_path: Path, socket_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(socket_path))
        status = socket_path.stat()
    with Child(TAKES, str(tmp_path / "collector.sock"), under=OTHER_NETWORK):
        assert pids_of(socket_path, status) == []


@pytest.mark.usefixtures("manner")
def test_a_container_that_has_the_directory_elsewhere(tmp_path: Path, socket_path: Path) -> None:
    """Bound there under another path: the directory counts, not what it is called."""
    mount = ("unshare", "--net", "--mount", "sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"')
    under = (*mount, str(socket_path.parent), str(tmp_path))
    with Child(TAKES, str(tmp_path / "collector.sock"), under=under) as impostor:
        assert pids_at(socket_path) == [impostor.pid]


@pytest.mark.usefixtures("manner")
def test_an_impostor_that_bound_a_relative_path(socket_path: Path) -> None:
    script = "os.chdir(sys.argv[1]); sys.argv[1] = 'collector.sock'" + TAKES
    with Child(script, str(socket_path.parent), under=OTHER_NETWORK) as impostor:
        assert pids_at(socket_path) == [impostor.pid]


def test_one_that_was_bound_there_earlier_is_named_only_where_nothing_better_is_known(
    socket_path: Path, manner: str
) -> None:
    """Two have bound the path one after the other, each in a network of its own: only one has the file."""
    with (
        Child(TAKES, str(socket_path), under=OTHER_NETWORK) as earlier,
        Child(TAKES, str(socket_path), under=OTHER_NETWORK) as impostor,
    ):
        expected = {impostor.pid} if manner == "exact" else {earlier.pid, impostor.pid}
        assert set(pids_at(socket_path)) == expected


def test_we_are_where_we_were_after_another_network_was_asked(socket_path: Path) -> None:
    before = Path("/proc/thread-self/ns/net").stat().st_ino
    with Child(TAKES, str(socket_path), under=OTHER_NETWORK) as impostor:
        network = Path(f"/proc/{impostor.pid}/ns/net").stat().st_ino
        assert in_network(impostor.pid, lambda: Path("/proc/thread-self/ns/net").stat().st_ino) == network
        with pytest.raises(ZeroDivisionError):
            in_network(impostor.pid, lambda: 1 // 0)
    assert Path("/proc/thread-self/ns/net").stat().st_ino == before
    with pytest.raises(FileNotFoundError):
        in_network(impostor.pid, lambda: None)


def test_a_user_without_rights_may_not_enter(socket_path: Path) -> None:
    with Child("", under=OTHER_NETWORK) as elsewhere:
        script = f"""
from resty_metrics.kernel.namespaces import in_network
os.setuid(65534)
try:
    in_network({elsewhere.pid}, list)
except PermissionError:
    pass
else:
    sys.exit("entered")
"""
        with Child(script):
            pass


@pytest.mark.usefixtures("manner")
def test_a_file_of_nobody(socket_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(socket_path))
    assert attribute(socket_path) == []


def test_a_path_with_nothing_there(socket_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        attribute(socket_path)
    assert attribute_file(socket_path / "no" / "directory", 1, 2) == []


def test_an_overlay_for_which_stat_has_another_device_than_the_kernel(tmp_path: Path) -> None:
    """Its two sides are on different file systems, as in a container whose directory is a tmpfs."""
    script = """
from pathlib import Path
from resty_metrics.kernel import sock_diag
from resty_metrics.kernel.attribution import attribute
path = Path(sys.argv[1], "merged", "collector.sock")
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.bind(str(path))
assert sock_diag.bound_to(path.stat().st_dev, path.stat().st_ino) == []
assert [process.pid for process in attribute(path)] == [os.getpid()]
"""
    mounts = """
cd "$0" && mkdir lower merged tmpfs && mount -t tmpfs tmpfs tmpfs && mkdir tmpfs/upper tmpfs/work || exit
options=lowerdir=lower,upperdir=tmpfs/upper,workdir=tmpfs/work
mount -t overlay -o "$options" overlay merged || { echo none; cat >/dev/null; exit; }
cd "$1" && shift && exec "$@"
"""
    under = ("unshare", "--mount", "sh", "-c", mounts, str(tmp_path), str(Path.cwd()))
    with Child(script, str(tmp_path), under=under) as child:
        if child.said == "none":
            pytest.skip("this kernel has no overlays")


def test_a_file_system_on_which_stat_has_another_device(socket_path: Path) -> None:
    """btrfs: the kernel's device, the inode and the name count."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(socket_path))
        status = socket_path.stat()
        assert [process.pid for process in attribute_file(socket_path, status.st_dev + 1, status.st_ino)] == [
            os.getpid()
        ]
        assert attribute_file(socket_path.with_name("other"), status.st_dev + 1, status.st_ino) == []


def test_two_file_systems_with_the_same_numbers_and_names(tmp_path: Path) -> None:
    """Each tmpfs counts its inodes from the beginning; the file of one has a holder, that of the other has none."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    script = """
from pathlib import Path
from resty_metrics.kernel.attribution import attribute
one, other = (Path(sys.argv[1], name, "collector.sock") for name in ("one", "other"))
sock, left = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
sock.bind(str(one))
left.bind(str(other))
left.close()
assert one.stat().st_ino == other.stat().st_ino
assert [process.pid for process in attribute(one)] == [os.getpid()]
assert attribute(other) == []
"""
    mounts = 'mount -t tmpfs one "$0/one" && mount -t tmpfs other "$0/other" && exec "$@"'
    with Child(script, str(tmp_path), under=("unshare", "--mount", "sh", "-c", mounts, str(tmp_path))):
        pass


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
