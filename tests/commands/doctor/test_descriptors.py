"""How many file descriptors the collector has left."""

import pytest
from resty_metrics.commands.doctor.descriptors import Descriptors, check, read_limits

LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max processes             127235               127235               processes
Max open files            {}                 524288               files
Max locked memory         8388608              8388608              bytes
"""

FOUND = [
    (Descriptors(20, 1024), "OK", "20 open, and may have 1024"),
    (Descriptors(20, None), "OK", "without limit"),
    (Descriptors(818, 1024), "OK", "818 open"),
    (Descriptors(820, 1024), "WARN", "few are left"),
    (Descriptors(1023, 1024), "WARN", "few are left"),
    (Descriptors(1024, 1024), "FAIL", "none is left"),
    (Descriptors(20, 3), "FAIL", "20 open, and may have 3: none is left"),
    (Descriptors(None, 1024), "WARN", "not known"),
]


@pytest.mark.parametrize(("found", "verdict", "words"), FOUND)
def test_what_is_left(found: Descriptors, verdict: str, words: str) -> None:
    finding = check(7, found)
    assert (finding.check, finding.verdict) == ("collector.descriptors", verdict)
    assert words in finding.evidence
    assert (finding.remedy is None) is (verdict == "OK")


@pytest.mark.parametrize(
    ("limit", "ceiling", "more"),
    [
        (1024, 1024, "65536:65536"),
        (65_536, 65_536, "262144:262144"),
        (1024, 524_288, "65536:"),
        (1024, 4096, "4096:"),
        (1024, None, "65536:"),
    ],
)
def test_the_remedy_is_a_command(limit: int, ceiling: int | None, more: str) -> None:
    """The hard limit is raised only where it must be, since root alone may do that."""
    remedy = str(check(7, Descriptors(limit, limit, ceiling)).remedy)
    assert remedy.startswith(f"prlimit --pid 7 --nofile={more} ")


@pytest.mark.parametrize(("soft", "expected"), [("1024", 1024), ("unlimited", None)])
def test_both_limits_are_read(soft: str, expected: int | None) -> None:
    assert read_limits(LIMITS.format(soft)) == (expected, 524_288)


def test_a_text_without_it() -> None:
    assert read_limits("") == (None, None)
