"""Label values, cleaned."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from resty_metrics.exposition.text import sample
from resty_metrics.shapes.labels import clean


@pytest.mark.parametrize(
    ("name", "raw", "expected"),
    [
        ("plain", "example.com", "example.com"),
        ("empty", "", "_"),
        ("NUL", "a\0b", r"a\x00b"),
        ("escape and carriage return", "\x1b\r", r"\x1b\x0d"),
        ("newline and tab stay", "a\n\tb", "a\n\tb"),
        ("control among kept ones", "\n\x01", "\n\\x01"),
        ("DEL and C1", "\x7f\x80\x85\x9f\xa0", "\\x7f\\x80\\x85\\x9f\xa0"),
        ("line and paragraph separators", "a\u2028b\u2029", "a\\u2028b\\u2029"),
        ("lone surrogates", "\ud800\udfff", r"\ud800\udfff"),
        ("letters, marks and blanks of any script stay", "\ufeffé\u0301\u3000\u200f😀", "\ufeffé\u0301\u3000\u200f😀"),
        ("an escape in the place of what is cut", "x" * 252 + "\x85" * 2, "x" * 252 + "\\…"),
        ("256 bytes", "x" * 256, "x" * 256),
        ("257 bytes", "x" * 257, "x" * 253 + "…"),
        ("128 characters of 2 bytes", "ö" * 128, "ö" * 128),
        ("129 characters of 2 bytes", "ö" * 129, "ö" * 126 + "…"),
        ("65 characters of 4 bytes", "😀" * 65, "😀" * 63 + "…"),
    ],
)
def test_clean(name: str, raw: str, expected: str) -> None:
    assert clean(raw) == expected


@given(st.text(max_size=300))
def test_any_text_can_be_read_back_by_prometheus_client(raw: str) -> None:
    value = clean(raw)
    assert value
    assert len(value.encode()) <= 256
    assert clean(value) == value
    assert value.splitlines() == value.split("\n")[: len(value.splitlines())]
    (family,) = text_string_to_metric_families(sample("m", {"l": value}, 1).decode())
    assert family.samples[0].labels == {"l": value}
