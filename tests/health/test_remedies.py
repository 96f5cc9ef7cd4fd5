"""Remedies by reason: each reason has one, with the bounds that it names."""

from collections.abc import Callable, Sequence

import pytest
from resty_metrics.health import remedies
from resty_metrics.ingest.beats import MAX_INSTANCES, SENDER, TOTAL, Size
from resty_metrics.ingest.senders import SENDER_CAP
from resty_metrics.journal.errors import REASONS as JOURNAL_REASONS
from resty_metrics.sources.errors import REASONS as SOURCE_REASONS


@pytest.mark.parametrize(("reason", "bound"), [("worker_cap", SENDER), ("total_cap", TOTAL)])
def test_a_gauge_that_finds_no_room_is_told_each_bound(reason: str, bound: Size) -> None:
    said = remedies.of_gauge_rows(reason)
    for number in (f"{bound.gauges:,} gauges", f"{bound.rows:,} rows", f"{bound.bytes >> 20} MiB"):
        assert number in said


@pytest.mark.parametrize(("reason", "bound"), [("sender_cap", SENDER_CAP), ("instance_cap", MAX_INSTANCES)])
def test_a_refusal_names_its_bound(reason: str, bound: int) -> None:
    assert f"{bound:,}" in remedies.of_refusal(reason)


@pytest.mark.parametrize(
    ("of", "reasons"), [(remedies.of_source, SOURCE_REASONS), (remedies.of_journal, JOURNAL_REASONS)]
)
def test_most_reasons_have_a_remedy_of_their_own(of: Callable[[str], str], reasons: Sequence[str]) -> None:
    own = {of(reason) for reason in reasons} - {of("something else")}
    assert len(own) >= len(reasons) - 2


def test_a_refused_user_is_allowed_only_if_it_runs_nginx() -> None:
    words = remedies.of_refusal("uid", [33, 101], {33: "www-data"})
    assert words.startswith("If www-data (uid 33) or uid 101 runs nginx's workers")
    assert "--socket.allow-uid=33 --socket.allow-uid=101" in words
    assert "stop it" in words
