"""Who holds the socket, and who else is there."""

import pytest
from resty_metrics.commands.doctor import processes
from resty_metrics.commands.doctor.processes import ProcessFacts, Sight

PATH = "/run/c.sock"


def seen(
    pid: int, *, ours: bool = False, path: str | None = None, namespaces: dict[str, int] | None = None
) -> ProcessFacts:
    return ProcessFacts(pid, 0, f"program-{pid}", ("systemd (1)",), None, namespaces or {}, ours, path)


HOLDERS = [
    ("the collector", [seen(7)], Sight(7, root=True, answered=True), "OK", "process 7, the collector"),
    ("it and another", [seen(8), seen(7)], Sight(7, root=True, answered=True), "OK", "process 7"),
    ("an impostor", [seen(8)], Sight(7, root=True, answered=False), "FAIL", "uid 0, started by systemd (1)"),
    ("a stranger, no collector", [seen(8)], Sight(None, root=True, answered=False), "FAIL", "impostor"),
    ("ours without the lock", [seen(8, ours=True)], Sight(None, root=True, answered=True), "WARN", "without the lock"),
    ("nobody", [], Sight(7, root=True, answered=False), "FAIL", "no process holds"),
    ("nobody that we may see", [], Sight(7, root=False, answered=False), "WARN", "not known"),
    ("somebody of another pid namespace", [], Sight(None, root=True, answered=True), "WARN", "not known"),
]


@pytest.mark.parametrize(("name", "holders", "sight", "verdict", "words"), HOLDERS, ids=[one[0] for one in HOLDERS])
def test_the_holder(name: str, holders: list[ProcessFacts], sight: Sight, verdict: str, words: str) -> None:
    finding = processes.holder(PATH, holders, sight)
    assert (finding.check, finding.verdict) == ("socket.holder", verdict)
    assert words in finding.evidence


def test_namespaces_are_compared_with_ours() -> None:
    (finding,) = processes.opened([seen(7, namespaces={"pid": 1, "net": 5})], {"pid": 1, "net": 2, "mnt": 3})
    assert finding.evidence.endswith("namespaces pid: as ours, network: another (5), mount: not known")


def test_many_senders_are_cut() -> None:
    assert processes.senders([seen(7)], 7) == []
    (finding,) = processes.senders([seen(pid) for pid in range(10)], None)
    assert "10 processes" in finding.evidence
    assert finding.evidence.endswith("7 (program-7) and 2 more")


OTHERS = [
    ("none", [], ["OK"]),
    ("the collector itself", [seen(7, ours=True, path=PATH)], ["OK"]),
    ("a second one", [seen(7, ours=True, path=PATH), seen(8, ours=True, path=PATH)], ["WARN"]),
    ("one on another socket", [seen(8, ours=True, path="/x.sock")], ["OK"]),
    ("one on a path of another mount namespace", [seen(8, ours=True, path=PATH, namespaces={"mnt": 9})], ["OK"]),
    ("another command", [seen(8, ours=True), seen(9, ours=True)], ["OK", "OK"]),
]


@pytest.mark.parametrize(("name", "found", "verdicts"), OTHERS, ids=[one[0] for one in OTHERS])
def test_others(name: str, found: list[ProcessFacts], verdicts: list[str]) -> None:
    assert [one.verdict for one in processes.other_processes(found, 7, PATH, {"mnt": 3})] == verdicts
