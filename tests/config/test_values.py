"""Values of settings, from text and back."""

import pytest
from resty_metrics.config.values import read_expiry, show_expiry

EXPIRY = [
    ("off", None, "off"),
    ("1h", 3600.0, "1h"),
    ("60m", 3600.0, "1h"),
    ("3600s", 3600.0, "1h"),
    ("90m", 5400.0, "90m"),
    ("1.5h", 5400.0, "90m"),
    ("36h", 129_600.0, "36h"),
    ("30d", 2_592_000.0, "30d"),
    ("366d", 31_622_400.0, "366d"),
    ("3600.25s", 3600.25, "3600.25s"),
]


@pytest.mark.parametrize(("text", "seconds", "shown"), EXPIRY, ids=[text for text, _, _ in EXPIRY])
def test_the_time_after_which_rows_expire(text: str, seconds: float | None, shown: str) -> None:
    assert read_expiry(text) == seconds
    assert show_expiry(seconds) == shown
    assert read_expiry(shown) == seconds


@pytest.mark.parametrize("text", ["", "0", "59m", "3599.9s", "367d", "1w", "3600", "-1h", "1h ", "Off", "1e9s", "nan"])
def test_any_other_time_is_refused_with_what_to_give(text: str) -> None:
    with pytest.raises(ValueError, match="give a time between 1h and 366d, as in 6h or 30d, or off to keep all rows"):
        read_expiry(text)
