"""What is said to do, against the bounds that it names."""

import pytest
from resty_metrics.advice import remedies
from resty_metrics.ingest.beats import MAX_INSTANCES, SENDER, TOTAL, Size
from resty_metrics.ingest.senders import SENDER_CAP


@pytest.mark.parametrize(("reason", "bound"), [("worker_cap", SENDER), ("total_cap", TOTAL)])
def test_a_gauge_that_finds_no_room_is_told_each_bound(reason: str, bound: Size) -> None:
    said = remedies.of_gauge_rows(reason)
    for number in (f"{bound.gauges:,} gauges", f"{bound.rows:,} rows", f"{bound.bytes >> 20} MiB"):
        assert number in said


@pytest.mark.parametrize(("reason", "bound"), [("sender_cap", SENDER_CAP), ("instance_cap", MAX_INSTANCES)])
def test_a_refusal_names_its_bound(reason: str, bound: int) -> None:
    assert f"{bound:,}" in remedies.of_refusal(reason)
