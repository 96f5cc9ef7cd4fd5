"""Files of /proc, among them those that a stranger wrote a part of."""

import pytest
from resty_metrics.kernel.procfs import (
    CUT,
    MAX_ARGUMENT_CHARACTERS,
    MAX_ARGUMENTS,
    Lock,
    NamedSocket,
    ProcfsError,
    Stat,
    container_of,
    parse_arguments,
    parse_cgroup,
    parse_locks,
    parse_mount,
    parse_mounts,
    parse_namespace,
    parse_socket,
    parse_stat,
    parse_uid,
    parse_unix,
    runs,
    shortened,
)

ID = "3f1c0a9b" * 8


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"71 (bash) S 70 71 71 0 -1", Stat("bash", 70)),
        (b"71 (a) S 1 (b) c) R 9 71", Stat("a) S 1 (b) c", 9)),
        (b"1 (systemd) S 0 1", Stat("systemd", 0)),
        (b"1 (a\nb\xff) Z 4 1", Stat("a\nb\udcff", 4)),
    ],
)
def test_stat(data: bytes, expected: Stat) -> None:
    assert parse_stat(data) == expected


@pytest.mark.parametrize("data", [b"", b"71", b"71 (bash", b"71 (bash)", b"71 (bash) S", b"71 (bash) S -1"])
def test_a_stat_that_is_none(data: bytes) -> None:
    with pytest.raises(ProcfsError):
        parse_stat(data)


def test_the_effective_user() -> None:
    assert parse_uid(b"Name:\tUid:\nUmask:\t0022\nUid:\t1\t33\t2\t3\nGid:\t4\t4\t4\t4\n") == 33
    with pytest.raises(ProcfsError):
        parse_uid(b"Name:\tUid:\t1\t33\n")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", ()),
        (b"sh\0-c\0\0", ("sh", "-c", "")),
        (b"nginx: master process", ("nginx: master process",)),
        (b"a\xff\0", ("a\udcff",)),
    ],
)
def test_arguments(data: bytes, expected: tuple[str, ...]) -> None:
    assert parse_arguments(data) == expected


def test_of_arguments_only_the_beginning_is_reported() -> None:
    """They may hold secrets."""
    long = "--password=" + "x" * 100
    assert shortened(("a", long)) == ("a", long[:MAX_ARGUMENT_CHARACTERS] + CUT)
    assert shortened(("a",) * 100) == ("a",) * MAX_ARGUMENTS + (CUT,)
    assert shortened(("a", "x" * MAX_ARGUMENT_CHARACTERS)) == ("a", "x" * MAX_ARGUMENT_CHARACTERS)


CGROUPS = [
    ("unified", b"0::/system.slice/cron.service\n", "/system.slice/cron.service"),
    ("both", b"4:memory:/old\n0::/new:with\n", "/new:with"),
    ("old ones", b"2:cpu:/\n1:name=systemd:/user.slice\n", "/user.slice"),
    ("the root", b"0::/\n", "/"),
    ("mixed", b"2:memory:/user/71\n0::/\n", "/user/71"),
    ("a container in the old ones only", f"10:pids:/docker/{ID}\n0::/system.slice\n".encode(), f"/docker/{ID}"),
    ("none", b"", None),
    ("no lines of such", b"what\n\n", None),
]


@pytest.mark.parametrize(("data", "expected"), [case[1:] for case in CGROUPS], ids=[case[0] for case in CGROUPS])
def test_cgroup(data: bytes, expected: str | None) -> None:
    assert parse_cgroup(data) == expected


@pytest.mark.parametrize(
    ("cgroup", "expected"),
    [
        (f"/docker/{ID}", ID[:12]),
        (f"/system.slice/docker-{ID}.scope", ID[:12]),
        (f"/machine.slice/libpod-{ID}.scope/container", ID[:12]),
        (f"/kubepods.slice/kubepods-pod12.slice/cri-containerd-{ID}.scope", ID[:12]),
        (f"/kubepods/besteffort/pod12/{ID}", ID[:12]),
        (f"/docker/{'a' * 64}/docker/{ID}", ID[:12]),
        ("/lxc.payload.web1/system.slice/nginx.service", "web1"),
        ("/lxc/web1", "web1"),
        ("/machine.slice/systemd-nspawn@web1.service/payload", "web1"),
        ("/system.slice/nginx.service", None),
        (f"/user.slice/{ID}0", None),
        ("/", None),
    ],
)
def test_container(cgroup: str, expected: str | None) -> None:
    assert container_of(cgroup) == expected


def test_links() -> None:
    assert parse_namespace("net:[4026531840]") == 4026531840
    assert parse_namespace("") is None
    assert parse_socket("socket:[12345]") == 12345
    assert parse_socket("pipe:[12345]") is None
    assert parse_socket("/tmp/socket:[12345]") is None


def test_named_sockets() -> None:
    lines = [
        b"Num       RefCount Protocol Flags    Type St Inode Path\n",
        b"0000000000000000: 00000002 00000000 00000000 0002 01 17 /run/a b/.c.sock.7\n",
        b"0000000000000000: 00000002 00000000 00000000 0002 01 18\n",
        b"0000000000000000: 00000002 00000000 00000000 0002 01 19 @abstract\n",
        b"0000000000000000: 00000002 00000000 00000000 0002 01 x20 /run/a\n",
        b"0000000000000000: 00000002 00000000 00000000 0002 01 21 /run/\xff\n",
        b"a line break in a name\n",
    ]
    assert list(parse_unix(lines)) == [NamedSocket(17, "/run/a b/.c.sock.7"), NamedSocket(21, "/run/\udcff")]


def test_mounts() -> None:
    assert parse_mount(b"pos:\t0\nflags:\t012000000\nmnt_id:\t29\nino:\t2\n") == 29
    with pytest.raises(ProcfsError):
        parse_mount(b"pos:\t0\n")
    data = b"21 1 254:0 / / rw - ext4 /dev/vda rw\n29 21 0:25 / /a\\040b rw shared:1 - tmpfs t rw\nwhat\n"
    assert parse_mounts(data) == {21: (254, 0), 29: (0, 25)}


def test_locks() -> None:
    data = b"""\
1: FLOCK  ADVISORY  WRITE 1911 fe:00:2228322 0 EOF
1: -> FLOCK  ADVISORY  WRITE 1912 fe:00:2228322 0 EOF
2: POSIX  ADVISORY  READ 1622 fe:00:2228512 128 128
3: FLOCK  ADVISORY  WRITE -1 fe:00:2228323 0 EOF
10: FLOCK  ADVISORY  READ  7 103:0a:1 0 EOF
"""
    assert parse_locks(data) == [Lock(1911, 254, 0, 2228322), Lock(7, 259, 10, 1)]
    info = b"pos:\t0\nmnt_id:\t29\nlock:\t1: FLOCK  ADVISORY  WRITE 1911 fe:00:2228322 0 EOF\n"
    assert parse_locks(info) == [Lock(1911, 254, 0, 2228322)]


OURS = [
    ("/usr/bin/python3.11", ("/opt/bin/python3", "/opt/bin/resty-metrics", "-V")),
    ("/usr/bin/python3.11", ("python3", "-I", "-X", "dev", "-W", "error", "resty-metrics")),
    ("/usr/bin/python3.11", ("python", "-m", "resty_metrics", "serve")),
    ("/usr/bin/python3.11", ("python", "-mresty_metrics")),
    ("/usr/bin/python3.11", ("python", "-X", "dev", "-Im", "resty_metrics")),
    ("/usr/bin/python3.11", ("resty-metrics", "serve")),
    ("/usr/bin/dash", ("/bin/sh", "/opt/bin/resty-metrics", "serve")),
    ("/opt/resty-metrics", ("other",)),
    ("/opt/resty-metrics (deleted)", ("other",)),
    (None, ("/opt/bin/resty-metrics",)),
    ("/opt/resty-metrics", ()),
]
FOREIGN = [
    ("/usr/bin/python3.11", ("python", "-m", "pytest", "resty_metrics")),
    ("/usr/bin/python3.11", ("python", "-m")),
    ("/usr/bin/python3.11", ("python", "-c", "import resty_metrics", "resty-metrics-not")),
    ("/usr/bin/python3.11", ("python", "tests/resty-metrics.py")),
    ("/usr/bin/python3.11", ("python", "-X")),
    ("/usr/bin/vim", ("vim", "/opt/bin/resty-metrics")),
    ("/usr/bin/tail", ("tail", "-m", "resty_metrics")),
    ("/opt/resty-metrics/bin/nginx", ("nginx",)),
    (None, ()),
]


@pytest.mark.parametrize(("exe", "arguments"), OURS)
def test_a_command_that_runs_ours(exe: str | None, arguments: tuple[str, ...]) -> None:
    assert runs("resty-metrics", "resty_metrics", exe, arguments)


@pytest.mark.parametrize(("exe", "arguments"), FOREIGN)
def test_a_command_that_does_not(exe: str | None, arguments: tuple[str, ...]) -> None:
    assert not runs("resty-metrics", "resty_metrics", exe, arguments)
