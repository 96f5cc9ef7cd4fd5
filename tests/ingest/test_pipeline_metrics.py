"""The pipeline's own metrics."""

from dataclasses import replace

import pytest
from resty_metrics import __version__
from resty_metrics.exposition.text import render
from resty_metrics.ingest import pipeline_metrics as pipeline
from resty_metrics.ingest.beats import MAX_INSTANCES
from resty_metrics.ingest.intake import Intake
from resty_metrics.ingest.pipeline_metrics import Socket
from resty_metrics.ingest.senders import Senders
from resty_metrics.page import family_counts
from resty_metrics.process.steps import finish
from resty_metrics.shapes.shape import DURATIONS
from resty_metrics.table.table import Table
from resty_metrics.wire.datagram import VERSION, Header, Kind, write_datagram

SOCKET = Socket(
    up=True,
    contended=False,
    standing_by=False,
    rebinds={"missing": 5},
    failed_rebinds=6,
    oversized=2,
    without_descriptor=3,
    answers_failed=4,
)


def lines(intake: Intake, now: float = 100.0, socket: Socket = SOCKET) -> list[str]:
    counts = finish(family_counts.in_steps(family_counts.capture(intake.table)))
    page = render([*pipeline.families(intake, socket, now), *counts], openmetrics=False).decode()
    return [line for line in page.splitlines() if not line.startswith("#")]


def batch(sequence: int, rows: list[list[object]]) -> bytes:
    family = {"name": "x_total", "type": "counter", "labels": ["a"], "columns": ["value"], "rows": rows}
    return write_datagram(Header(VERSION, Kind.BATCH, b"s" * 16, 1, sequence, 1), {"families": [family]})


def test_every_reason_is_there_from_the_start() -> None:
    """increase() would not see the first one of a series that appears with it."""
    rendered = lines(Intake(Table(), Senders(), lambda _: True))
    for reason in (
        "version",
        "not_ready",
        "sender_cap",
        "uid",
        "undecodable",
        "invalid",
        "truncated",
        "magic",
        "internal",
    ):
        assert f'resty_metrics_refusals_total{{reason="{reason}"}} 0' in rendered
    assert 'resty_metrics_refusals_total{reason="oversized"} 2' in rendered
    assert 'resty_metrics_datagrams_total{result="oversized"} 2' in rendered
    for reason in ("dropped", "family_cap", "instance_cap", "type", "internal"):
        assert f'resty_metrics_lost_rows_total{{reason="{reason}"}} 0' in rendered
    assert "resty_metrics_answers_failed_total 4" in rendered


def test_families_of_an_nginx_with_a_name_say_so() -> None:
    intake = Intake(Table(max_instances=1), Senders(), lambda _: True)
    family = {"name": "x_total", "type": "counter", "labels": ["a"], "columns": ["value"], "rows": [["1", 1]]}
    for sequence, name in ((1, "edge"), (2, "other")):
        header = Header(VERSION, Kind.BATCH, b"s" * 16, 1, sequence, 1)
        intake.receive(write_datagram(header, {"instance": name, "families": [family]}), 0, 0.0)
    intake.commit()
    rendered = lines(intake)
    assert 'resty_metrics_rows{nginx="edge",family="x_total"} 1' in rendered
    assert 'resty_metrics_lost_rows_total{reason="instance_cap"} 1' in rendered
    assert not any("other" in line and "resty_metrics_rows{" in line for line in rendered)
    assert "resty_metrics_datagrams_without_descriptor_total 3" in rendered


def test_what_gave_its_place_to_others_is_counted() -> None:
    table = Table(max_instances=1, max_families=1)
    intake = Intake(table, Senders(), lambda _: True)
    assert "resty_metrics_evicted_instances_total 0" in lines(intake)
    assert "resty_metrics_evicted_families_total 0" in lines(intake)
    family = {"type": "counter", "labels": [], "columns": ["value"], "rows": [[1]]}
    names = [("edge", "x_total"), ("edge", "y_total"), ("other", "x_total")]
    for sequence, (instance, name) in enumerate(names, 1):
        header = Header(VERSION, Kind.BATCH, b"s" * 16, 1, sequence, 1)
        body = {"instance": instance, "families": [{**family, "name": name}]}
        intake.receive(write_datagram(header, body), 0, sequence * 3600.0)
    intake.commit()
    rendered = lines(intake)
    assert "resty_metrics_evicted_instances_total 1" in rendered
    assert "resty_metrics_evicted_families_total 1" in rendered
    assert [line for line in rendered if line.startswith("resty_metrics_rows{")] == [
        'resty_metrics_rows{nginx="other",family="x_total"} 1'
    ], "the series of what has gone have ended"


def test_an_age_that_is_not_known_is_absent() -> None:
    intake = Intake(Table(), Senders(), lambda _: True)
    assert not any("last_datagram" in line for line in lines(intake))
    intake.receive(batch(1, [["b", 1]]), 0, 90.0)
    intake.commit()
    assert "resty_metrics_last_datagram_age_seconds 10.0" in lines(intake, 100.0)


def test_what_came_and_what_became_of_it() -> None:
    intake = Intake(Table(), Senders(), lambda uid: uid == 0)
    datagrams = [batch(1, [["b", 1], ["c", 1]]), batch(1, [["b", 1]]), batch(3, [["b", 1]]), batch(2, [["b", -1]])]
    for datagram in datagrams:
        intake.receive(datagram, 0, 1.0)
        intake.commit()
    stranger = batch(3, [["b", 1]])
    intake.receive(stranger, 7, 1.0)
    size = sum(len(datagram) for datagram in [*datagrams, stranger])
    rendered = lines(intake)
    for line in (
        'resty_metrics_datagrams_total{result="applied"} 1',
        'resty_metrics_datagrams_total{result="duplicate"} 1',
        'resty_metrics_datagrams_total{result="out_of_order"} 1',
        'resty_metrics_datagrams_total{result="dropped"} 1',
        'resty_metrics_datagrams_total{result="held"} 1',
        'resty_metrics_refusals_total{reason="invalid"} 1',
        'resty_metrics_refusals_total{reason="uid"} 1',
        'resty_metrics_rows{family="x_total"} 2',
        "resty_metrics_table_used_ratio 2e-05",
        "resty_metrics_rows_received_total 2",
        'resty_metrics_lost_rows_total{reason="dropped"} 1',
        'resty_metrics_lost_rows_total{reason="family_cap"} 0',
        "resty_metrics_lost_state_total 0",
        'resty_metrics_senders{state="silent"} 1',
        f"resty_metrics_datagram_bytes_total {size}",
    ):
        assert line in rendered


def test_label_values_of_families_that_are_half_full() -> None:
    """And rows that could not be counted since their family has become of another type."""
    intake = Intake(Table(max_rows=8), Senders(), lambda _: True)
    intake.receive(batch(1, [[str(number), 1] for number in range(3)]), 0, 1.0)
    intake.commit()
    assert not any("label_values" in line for line in lines(intake))
    intake.receive(batch(2, [[str(number), 1] for number in range(12)]), 0, 1.0)
    intake.commit()
    rendered = lines(intake)
    assert 'resty_metrics_label_values{family="x_total",label="a"} 9' in rendered
    assert 'resty_metrics_overflow_rows_total{family="x_total"} 4' in rendered
    assert 'resty_metrics_evicted_rows_total{family="x_total"} 0' in rendered
    assert 'resty_metrics_lost_rows_total{reason="type"} 0' in rendered


def test_families_of_one_name_in_the_pipelines_own_metrics() -> None:
    """Each series once: a scope is a label, a custom family is added to the built-in one of its name."""
    intake = Intake(Table(), Senders(), lambda _: True)
    families: list[dict[str, object]] = [
        {"name": "x_total", "type": "counter", "labels": ["a"], "columns": ["value"], "rows": [["b", 1]]},
        {"name": "x_total", "type": "counter", "labels": ["a"], "columns": ["value"], "rows": [["b", 1], ["c", 1]]},
    ]
    families[1]["custom"] = True
    labels = ["server", "method", "status", "scope"]
    columns = ["count", "request_bytes", "response_bytes"]
    rows = [["a", "b", "c", "api", 1, 1, 1]]
    scoped = {"name": "http_requests", "type": "requests", "labels": labels, "columns": columns}
    families.append({**scoped, "scope": "api", "rows": rows})
    timed = {"name": DURATIONS, "type": "histogram", "bounds": [], "scale": 1000, "columns": ["sum"]}
    families.append({**timed, "labels": ["server"], "rows": [["a", 1, 1], ["b", 1, 1]]})
    families.append({**timed, "labels": ["server", "scope"], "scope": "api", "rows": [["a", "api", 1, 1]]})
    intake.receive(write_datagram(Header(VERSION, Kind.BATCH, b"s" * 16, 1, 1, 1), {"families": families}), 0, 1.0)
    intake.commit()
    assert [line for line in lines(intake) if line.startswith("resty_metrics_rows{")] == [
        'resty_metrics_rows{family="x_total"} 3',
        'resty_metrics_rows{family="http_requests",scope="api"} 1',
        f'resty_metrics_rows{{family="{DURATIONS}"}} 2',
        f'resty_metrics_rows{{family="{DURATIONS}",scope="api"}} 1',
    ]


def test_each_result_is_there_from_the_start() -> None:
    rendered = lines(Intake(Table(), Senders(), lambda _: True))
    for result in ("applied", "duplicate", "out_of_order", "heartbeat", "bye", "probe", "held", "dropped"):
        assert f'resty_metrics_datagrams_total{{result="{result}"}} 0' in rendered
    assert 'resty_metrics_datagrams_total{result="unanswerable"} 0' in rendered
    assert sum(line.startswith("resty_metrics_datagrams_total") for line in rendered) == 10


def test_what_is_a_refusal() -> None:
    """A heartbeat that cannot be read is dropped; bytes that are no datagram cannot be answered. Both are refusals."""
    intake = Intake(Table(), Senders(), lambda _: True)
    intake.receive(b"short", 0, 1.0)
    intake.receive(b"x" * 48, 0, 1.0)
    intake.receive(write_datagram(Header(VERSION, Kind.HEARTBEAT, b"s" * 16, 1, 1, 1), {"worker": -1}), 0, 1.0)
    intake.receive(write_datagram(Header(VERSION, Kind.HEARTBEAT, b"s" * 16, 1, 2, 1), {}), 0, 1.0)
    refusals = [line for line in lines(intake) if "refusals_total" in line and not line.endswith(" 0")]
    assert refusals == [
        'resty_metrics_refusals_total{reason="invalid"} 1',
        'resty_metrics_refusals_total{reason="truncated"} 1',
        'resty_metrics_refusals_total{reason="magic"} 1',
        'resty_metrics_refusals_total{reason="oversized"} 2',
    ]


def test_a_worker_that_was_told_more_than_is_remembered() -> None:
    intake = Intake(Table(), Senders(), lambda _: True)
    for sequence, base in ((1, 1), (9, 9)):
        family = {"name": "x_total", "type": "counter", "labels": [], "columns": ["value"], "rows": [[1]]}
        intake.receive(
            write_datagram(Header(VERSION, Kind.BATCH, b"s" * 16, 1, sequence, base), {"families": [family]}), 0, 1
        )
        intake.commit()
    assert "resty_metrics_lost_state_total 1" in lines(intake)


def test_senders_by_state() -> None:
    intake = Intake(Table(), Senders(), lambda _: True)
    for sender in (b"a", b"b", b"c"):
        intake.receive(write_datagram(Header(VERSION, Kind.HEARTBEAT, sender * 16, 1, 1, 1), {}), 0, 1.0)
    intake.receive(write_datagram(Header(VERSION, Kind.BYE, b"b" * 16, 1, 1, 1), {}), 0, 1.0)
    intake.receive(write_datagram(Header(VERSION, Kind.HEARTBEAT, b"c" * 16, 1, 2, 1), {}), 0, 90.0)
    rendered = lines(intake)
    for state, count in (("open", 1), ("silent", 1), ("ended", 1), ("departed", 0)):
        assert f'resty_metrics_senders{{state="{state}"}} {count}' in rendered


SOCKET_LINES = [
    (replace(SOCKET, up=True), "resty_metrics_socket_up 1"),
    (replace(SOCKET, up=False), "resty_metrics_socket_up 0"),
    (replace(SOCKET, contended=True), "resty_metrics_socket_contended 1"),
    (replace(SOCKET, standing_by=True), "resty_metrics_socket_standby 1"),
    (SOCKET, 'resty_metrics_socket_rebinds_total{reason="missing"} 5'),
    (SOCKET, 'resty_metrics_socket_rebinds_total{reason="replaced"} 0'),
    (SOCKET, "resty_metrics_socket_failed_rebinds_total 6"),
]


@pytest.mark.parametrize(("socket", "line"), SOCKET_LINES)
def test_the_socket(socket: Socket, line: str) -> None:
    assert line in lines(Intake(Table(), Senders(), lambda _: True), socket=socket)


def test_the_version() -> None:
    rendered = lines(Intake(Table(), Senders(), lambda _: True))
    assert f'resty_metrics_build_info{{version="{__version__}"}} 1' in rendered


def test_rows_of_gauges_that_found_no_room() -> None:
    intake = Intake(Table(), Senders(), lambda _: True)
    assert 'resty_metrics_heartbeat_rows_refused_total{reason="worker_cap"} 0' in lines(intake)
    family = {"name": "g", "labels": ["l"], "combine": "sum", "rows": [["x", 1, 1], ["x", 2, 1], ["y", 1, 1]]}
    datagram = write_datagram(Header(VERSION, Kind.HEARTBEAT, b"s" * 16, 1, 1, 1), {"families": [family]})
    outcome = intake.receive(datagram, 0, 1.0)
    assert (outcome.result, outcome.reason) == ("heartbeat", "duplicate")
    rendered = lines(intake)
    assert "resty_metrics_heartbeat_rows 2" in rendered
    assert 'resty_metrics_heartbeat_rows_refused_total{reason="duplicate"} 1' in rendered
    assert 'resty_metrics_datagrams_total{result="heartbeat"} 1' in rendered


def test_a_heartbeat_of_one_nginx_too_many_is_refused() -> None:
    intake = Intake(Table(), Senders(), lambda _: True)
    for number in range(MAX_INSTANCES + 1):
        header = Header(VERSION, Kind.HEARTBEAT, b"%016d" % number, 1, 1, 1)
        outcome = intake.receive(write_datagram(header, {"instance": f"n{number}", "worker": 1}), 0, 1.0)
    assert (outcome.result, outcome.reason, outcome.answer) == ("dropped", "instance_cap", True)
    assert 'resty_metrics_refusals_total{reason="instance_cap"} 1' in lines(intake)
    assert len(intake.senders.heartbeats(1.0)) == MAX_INSTANCES
