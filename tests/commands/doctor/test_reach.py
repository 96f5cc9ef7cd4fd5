"""Whether nginx's workers may do what they need."""

import stat

import pytest
from resty_metrics.commands.doctor import reach
from resty_metrics.commands.doctor.reach import Confinement, Filter
from resty_metrics.kernel.access import Node, User

WORKER = User(33, 33, frozenset(), "www-data")
UNNAMED = User(101, 101, frozenset(), None)


def way(directory: int = 0o755, socket: int = 0o666, acl: bool = False) -> list[Node]:
    return [
        Node("/", 0, 0, stat.S_IFDIR | 0o755),
        Node("/run", 0, 0, stat.S_IFDIR | directory, acl),
        Node("/run/c.sock", 0, 0, stat.S_IFSOCK | socket),
    ]


SOCKETS = [
    (way(), "OK", None),
    (way(directory=0o700), "FAIL", "chmod o+x /run,"),
    (way(socket=0o600), "FAIL", "--socket.mode"),
    (way(acl=True), "WARN", "getfacl /run"),
]


@pytest.mark.parametrize(("nodes", "verdict", "remedy"), SOCKETS)
def test_the_socket(nodes: list[Node], verdict: str, remedy: str | None) -> None:
    (finding,) = reach.socket([WORKER], nodes)
    assert (finding.check, finding.verdict) == ("reach.socket", verdict)
    assert (remedy or "") in str(finding.remedy)


def test_the_uid_filter_names_the_flag() -> None:
    allowed, refused = reach.uid_filter([WORKER, UNNAMED], Filter(0, frozenset({0, 33})))
    assert (allowed.verdict, refused.verdict) == ("OK", "FAIL")
    assert refused.evidence.startswith("uid 101 may not send")
    assert "add 101 to socket.allow_uid" in str(refused.remedy)
    assert "restart the collector with --socket.allow-uid=101, which replaces" in str(refused.remedy)
    assert reach.uid_filter([UNNAMED], Filter(101, frozenset()))[0].verdict == "OK"


def test_nobody_refuses_where_no_collector_runs() -> None:
    (finding,) = reach.uid_filter([UNNAMED], Filter(None, frozenset({0, 33})))
    assert finding.verdict == "SKIP"
    assert "would refuse the datagrams of uid 101, unless" in finding.evidence


def test_lua_files() -> None:
    assert reach.lua_files([WORKER], [way()])[0].verdict == "OK"
    (finding,) = reach.lua_files([WORKER], [way(), way(directory=0o700)])
    assert finding.verdict == "FAIL"
    assert "may not search /run" in finding.evidence
    assert finding.remedy == "chmod o+x /run; then: nginx -t && nginx -s reload"


@pytest.mark.parametrize("home", ["/root", "/home/me"])
def test_a_home_is_not_opened_to_others(home: str) -> None:
    """Neither for the socket nor for the module: a clone may lie there."""
    nodes = [
        Node("/", 0, 0, 0o40755),
        Node(home, 0, 0, 0o40700),
        Node(f"{home}/x/lua/resty/metrics/hook.lua", 0, 0, 0o100644),
    ]
    for finding in (*reach.lua_files([WORKER], [nodes]), *reach.socket([WORKER], nodes)):
        assert finding.verdict == "FAIL"
        assert "chmod" not in str(finding.remedy)
    (finding,) = reach.lua_files([WORKER], [nodes])
    assert str(finding.remedy).startswith(f"copy {home}/x to /usr/share/resty-metrics")


CONFINED = [
    (Confinement("SELinux", enforcing=True, subject="httpd_t", object="var_run_t"), "reach.selinux", "WARN"),
    (Confinement("SELinux", enforcing=False, subject="httpd_t", object=None), "reach.selinux", "OK"),
    (Confinement("SELinux", enforcing=True, subject="unconfined_t", object=None), "reach.selinux", "OK"),
    (
        Confinement("AppArmor", enforcing=True, subject="/usr/sbin/nginx (enforce)", object=None),
        "reach.apparmor",
        "WARN",
    ),
    (Confinement("AppArmor", enforcing=True, subject="unconfined", object=None), "reach.apparmor", "OK"),
]


@pytest.mark.parametrize(("found", "check", "verdict"), CONFINED)
def test_mandatory_access_control(found: Confinement, check: str, verdict: str) -> None:
    finding = reach.confinement(found)
    assert (finding.check, finding.verdict) == (check, verdict)
    assert finding.evidence.startswith("not known") is (verdict == "WARN")
