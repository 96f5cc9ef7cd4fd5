"""The pipeline's own metrics."""

from collector.ingest.intake import Intake
from collector.ingest.streams import Streams
from collector.ingest.wire import Header, Kind, write_datagram
from collector.page import pipeline
from collector.page.exposition import render
from collector.page.pipeline import Socket
from collector.table.table import Table

SOCKET = Socket(up=True, oversized=2, without_descriptor=3, answers_failed=4)


def lines(intake: Intake, now: float = 100.0, socket: Socket = SOCKET) -> list[str]:
    page = render(pipeline.families(intake, intake.table, intake.streams, socket, now), openmetrics=False).decode()
    return [line for line in page.splitlines() if not line.startswith("#")]


def batch(sequence: int, rows: list[list[object]]) -> bytes:
    family = {"name": "x_total", "type": "counter", "labels": ["a"], "columns": ["value"], "rows": rows}
    return write_datagram(Header(1, Kind.BATCH, b"s" * 16, 1, sequence, 1), {"families": [family]})


def test_every_reason_is_there_from_the_start() -> None:
    """increase() would not see the first one of a series that appears with it."""
    found = lines(Intake(Table(), Streams(), lambda _: True))
    for reason in ("version", "not_ready", "stream_cap", "uid", "undecodable", "invalid", "truncated", "magic"):
        assert f'resty_metrics_refusals_total{{reason="{reason}"}} 0' in found
    assert 'resty_metrics_refusals_total{reason="oversized"} 2' in found
    assert 'resty_metrics_datagrams_total{result="oversized"} 2' in found
    assert "resty_metrics_answers_failed_total 4" in found
    assert "resty_metrics_datagrams_without_descriptor_total 3" in found


def test_an_age_that_is_not_known_is_absent() -> None:
    intake = Intake(Table(), Streams(), lambda _: True)
    assert not any("last_datagram" in line for line in lines(intake))
    intake.receive(batch(1, [["b", 1]]), 0, 90.0)
    intake.commit()
    assert "resty_metrics_last_datagram_age_seconds 10.0" in lines(intake, 100.0)


def test_what_came_and_what_became_of_it() -> None:
    intake = Intake(Table(), Streams(), lambda uid: uid == 0)
    datagrams = [batch(1, [["b", 1], ["c", 1]]), batch(1, [["b", 1]]), batch(3, [["b", 1]]), batch(2, [["b", -1]])]
    for datagram in datagrams:
        intake.receive(datagram, 0, 1.0)
        intake.commit()
    stranger = batch(3, [["b", 1]])
    intake.receive(stranger, 7, 1.0)
    size = sum(len(datagram) for datagram in [*datagrams, stranger])
    found = lines(intake)
    for line in (
        'resty_metrics_datagrams_total{result="applied"} 1',
        'resty_metrics_datagrams_total{result="duplicate"} 1',
        'resty_metrics_datagrams_total{result="out_of_order"} 1',
        'resty_metrics_datagrams_total{result="dropped"} 1',
        'resty_metrics_datagrams_total{result="held"} 1',
        'resty_metrics_refusals_total{reason="invalid"} 1',
        'resty_metrics_refusals_total{reason="uid"} 1',
        'resty_metrics_rows{family="x_total"} 2',
        "resty_metrics_rows_received_total 2",
        'resty_metrics_streams{state="open"} 1',
        f"resty_metrics_datagram_bytes_total {size}",
    ):
        assert line in found
