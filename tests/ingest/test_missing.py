"""Workers that fell silent without an end."""

from typing import Any

import pytest
from resty_metrics.ingest.beats import GAUGES_SECONDS
from resty_metrics.ingest.missing import MISSING_SECONDS, missing, refused
from resty_metrics.ingest.sender import Sender
from resty_metrics.wire.heartbeat import Master

NOW = 1000.0
OLD, NEW = Master(1, 100), Master(2, 200)


def sender(seen: float = 0.0, **changes: Any) -> Sender:
    """A worker that was last heard of ``seen`` seconds ago."""
    fields = {"instance": "", "master": OLD, "worker": 0, "birth_ms": 1}
    return Sender(0, 0, last_seen=NOW - seen, **{**fields, **changes})


SILENT = GAUGES_SECONDS + 1
CASES: list[tuple[str, list[Sender], dict[str, int]]] = [
    ("nobody", [], {}),
    ("heard", [sender(), sender(worker=1)], {}),
    ("silent", [sender(SILENT), sender(worker=1)], {"": 1}),
    ("all silent", [sender(SILENT), sender(SILENT, worker=1)], {"": 2}),
    ("said bye, as after an idle reload", [sender(SILENT, ended=NOW - SILENT)], {}),
    ("said that it is leaving", [sender(SILENT, leaving=True)], {}),
    ("never sent a heartbeat to this collector", [sender(SILENT, worker=None, master=None)], {}),
    ("is refused, so it is alive", [sender(SILENT, refused=NOW - 5)], {}),
    ("was refused once", [sender(SILENT, refused=NOW - SILENT)], {"": 1}),
    ("its number has a younger worker", [sender(SILENT), sender(birth_ms=2)], {}),
    ("its number has a younger worker that ended", [sender(SILENT), sender(SILENT, birth_ms=2, ended=NOW - 1)], {}),
    ("its nginx has a younger master", [sender(SILENT), sender(master=NEW)], {}),
    ("its nginx had a younger master that ended", [sender(SILENT), sender(SILENT, master=NEW, ended=NOW - 1)], {}),
    ("another nginx", [sender(SILENT, instance="edge"), sender(master=NEW)], {"edge": 1}),
    ("silent for long: the event is over", [sender(MISSING_SECONDS + 1), sender(SILENT, worker=1)], {"": 1}),
    ("a master that is not known", [sender(SILENT, master=None)], {"": 1}),
]


@pytest.mark.parametrize(("name", "senders", "expected"), CASES, ids=[name for name, _, _ in CASES])
def test_missing(name: str, senders: list[Sender], expected: dict[str, int]) -> None:
    assert missing(senders, NOW) == expected
    assert missing(reversed(senders), NOW) == expected


def test_workers_whose_master_is_gone_are_not_missing() -> None:
    silent = [sender(SILENT), sender(SILENT, instance="edge", master=NEW), sender(SILENT, instance="x", master=None)]
    assert missing(silent, NOW, lambda master: master == OLD) == {"edge": 1, "x": 1}


def test_the_nginx_whose_known_workers_are_refused() -> None:
    senders = [
        sender(SILENT, refused=NOW - 5),
        sender(SILENT, worker=1),
        sender(SILENT, instance="edge"),
        sender(SILENT, instance="ended", ended=NOW - SILENT),
        sender(MISSING_SECONDS + 1, instance="long ago"),
    ]
    assert refused(senders, NOW) == {"": True, "edge": False}
