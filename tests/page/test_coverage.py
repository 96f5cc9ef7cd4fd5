"""Coverage: requests that the hook saw, of those that nginx finished."""

import pytest
from resty_metrics.ingest.sender import LiveHeartbeat
from resty_metrics.page.coverage import ENDED, LEAST_REQUESTS, SAMPLE_SECONDS, WINDOW_SECONDS, Coverage, Sample, Window
from resty_metrics.shapes.shape import Shape, family_batch
from resty_metrics.table.table import Table
from resty_metrics.wire.heartbeat import Heartbeat, Master, NginxCounters


def observed(*samples: tuple[float, float, float, float], master: str = "1-1") -> Window:
    window = Window()
    for sample in samples:
        window.keep(master, Sample(*sample))
    return window


# seconds, ended, requests begun, in flight
CASES = [
    ("nothing", [], None),
    ("one sample", [(0, 10, 10, 0)], None),
    ("a window that is too short", [(0, 0, 0, 0), (WINDOW_SECONDS - 1, 500, 500, 0)], None),
    ("all seen", [(0, 0, 0, 0), (WINDOW_SECONDS, 500, 500, 0)], 1.0),
    ("half seen", [(0, 100, 200, 0), (WINDOW_SECONDS, 350, 700, 0)], 0.5),
    ("those in flight are not missing", [(0, 0, 0, 0), (WINDOW_SECONDS, 480, 500, 20)], 1.0),
    ("those in flight before are not too many", [(0, 0, 20, 20), (WINDOW_SECONDS, 500, 500, 0)], 1.0),
    ("too few requests", [(0, 0, 0, 0), (WINDOW_SECONDS, 10, LEAST_REQUESTS - 1, 0)], None),
    ("begun, and none finished", [(0, 0, 0, 0), (WINDOW_SECONDS, 0, 500, 500)], None),
]


@pytest.mark.parametrize(("samples", "ratio"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_ratio(samples: list[tuple[float, float, float, float]], ratio: float | None) -> None:
    assert observed(*samples).ratio() == ratio


def test_the_youngest_window_counts() -> None:
    """A location that lost its hook shows after five minutes, however long all was well before."""
    window = Window()
    ended = requests = 0.0
    for step in range(int(4 * WINDOW_SECONDS / SAMPLE_SECONDS)):
        requests += 100
        ended += 100 if step < 3 * WINDOW_SECONDS / SAMPLE_SECONDS else 25
        window.keep("1-1", Sample(step * SAMPLE_SECONDS, ended, requests, 0))
    assert window.ratio() == 0.25


def test_another_master_begins_anew() -> None:
    window = observed((0, 0, 0, 0), (WINDOW_SECONDS, 500, 500, 0))
    window.keep("2-2", Sample(WINDOW_SECONDS + 10, 5000, 5000, 0))
    assert window.ratio() is None


def test_a_counter_that_begins_anew_begins_a_window() -> None:
    """That of the hook does, where an nginx gave its place to another and came back."""
    window = observed((0, 5000, 5000, 0), (WINDOW_SECONDS, 200, 5200, 0))
    assert window.ratio() is None
    window.keep("1-1", Sample(2 * WINDOW_SECONDS, 300, 5400, 0))
    assert window.ratio() == 0.5


def test_a_counter_that_was_made_again_begins_a_window() -> None:
    """Though it has passed its old value: its family had given way, and came back under much traffic."""
    window = Window()
    window.keep("1-1", Sample(0, 150, 150, 0), 7)
    window.keep("1-1", Sample(WINDOW_SECONDS, 1000, 1150, 0), 9)
    assert window.ratio() is None
    window.keep("1-1", Sample(2 * WINDOW_SECONDS, 2000, 2150, 0), 9)
    assert window.ratio() == 1.0


def test_a_counter_that_has_gone_ends_its_window() -> None:
    coverage = Coverage()
    coverage.observe([beat(0.0, 100)], ended(100), 0.0)
    coverage.observe([beat(WINDOW_SECONDS, 100)], Table(), WINDOW_SECONDS)
    coverage.observe([beat(WINDOW_SECONDS + 20, 1100)], ended(1000), WINDOW_SECONDS + 20)
    assert coverage.ratios() == {}


def test_samples_are_apart() -> None:
    """One a second comes in, one in ten is kept: the window ends at the last one kept, whose numbers it uses."""
    window = Window()
    for second in range(int(WINDOW_SECONDS + SAMPLE_SECONDS)):
        ended = 1000.0 if second % SAMPLE_SECONDS == 0 else -1.0
        window.keep("1-1", Sample(float(second), ended + second, 10.0 * second, 0))
    assert window.ratio() == 0.1


def test_just_enough_requests() -> None:
    assert observed((0, 0, 0, 0), (WINDOW_SECONDS, LEAST_REQUESTS / 4, LEAST_REQUESTS, 0)).ratio() == 0.25


def beat(last_seen: float, requests: int) -> LiveHeartbeat:
    nginx = NginxCounters(1, 1, requests, 1, 0, 1, 0)
    return LiveHeartbeat(b"s" * 16, 1, last_seen, Heartbeat(master=Master(7, 8), nginx=nginx))


def ended(count: int) -> Table:
    table = Table()
    shape = Shape(ENDED, "counter", ("master",), None, ("value",))
    table.merge([family_batch(shape, "", False, [("7-8", count)])], 1, 0.0)
    return table


def test_a_heartbeat_of_before_a_burst_makes_no_sample() -> None:
    """nginx's counter in it is older than the hook's: their ratio would be the burst's, not the hook's."""
    coverage = Coverage()
    coverage.observe([beat(0.0, 100)], ended(100), 0.5)
    coverage.observe([beat(WINDOW_SECONDS + 1, 1000)], ended(4000), WINDOW_SECONDS + 5)
    assert coverage.ratios() == {}
    coverage.observe([beat(WINDOW_SECONDS + 6, 4000)], ended(4000), WINDOW_SECONDS + 6)
    assert coverage.ratios() == {"": 1.0}
