"""The hot path under plain LuaJIT: what clients invent costs no memory."""

import pytest
from support.effort import examples
from support.luajit import ask


@pytest.mark.parametrize("length", [10, 32, 33, 4000])
def test_methods_that_clients_invent_fill_no_memory(length: int) -> None:
    """A method may be as long as large_client_header_buffers allows; each of 10,000 was kept for the look-up."""
    (result,) = ask(["methods", 10_000, length])
    kilobytes, rows, requests = result
    assert (rows, requests) == (1, 10_000)
    assert kilobytes < 5_000


@pytest.mark.parametrize(("hours", "seen_at_least"), [(0, 9_900), (10, 60_000)])
def test_a_flood_of_label_values_keeps_memory_flat_and_known_rows_exact(hours: int, seen_at_least: int) -> None:
    """Within an hour all that is new becomes "other"; later, rows that were idle for one make room."""
    flood = examples(1_000_000)
    (result,) = ask(["flood", flood, hours])
    grown_kilobytes, rows, exact, own_rows, overflow, timed_rows, observed = result
    assert grown_kilobytes < 1_000
    assert rows <= 10_001
    assert exact == 100
    assert own_rows >= seen_at_least
    assert own_rows + overflow == flood
    assert timed_rows <= 10_001
    assert observed == flood + 100 * (1 + flood // 1000)
