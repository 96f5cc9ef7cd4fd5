"""Whatever is sent: a page has no series twice, and every parser reads it, in both formats."""

import re
import subprocess
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from resty_metrics.exposition.text import MetricFamily, render
from resty_metrics.page.conflicts import CONFLICT
from resty_metrics.page.series import SERIES
from support.effort import examples
from support.mixtures import Message, Mixture, Sources, messages, sources

Series = tuple[str, frozenset[tuple[str, str]]]


def samples(page: str) -> list[str]:
    return sorted(line for line in page.split("\n") if line and not line.startswith("#"))


def series(page: str) -> Counter[Series]:
    """The series of all sample lines, without headers: a parser leaves some of those out that are there twice, and
    gives some counters another name."""
    lines = "".join(f"{line}\n" for line in samples(page))
    return Counter(
        (sample.name, frozenset(sample.labels.items())) for family in parse_text(lines) for sample in family.samples
    )


def sound(families: Iterable[MetricFamily]) -> set[Series]:
    """The series of a page that holds what is promised."""
    families = list(families)
    text, openmetrics = (render(families, openmetrics=which).decode() for which in (False, True))
    shown = series(text)
    assert [series for series, count in shown.items() if count > 1] == []
    assert samples(openmetrics) == samples(text)
    counted(shown, text)
    list(parse_text(text))
    list(parse_openmetrics(openmetrics))  # type: ignore[no-untyped-call]
    for page in (text, openmetrics):
        assert page.splitlines() == page.removesuffix("\n").split("\n")
    return set(shown)


def counted(shown: Iterable[Series], text: str) -> None:
    """The page says of each family its number of series, unless a family of the user's has that metric's name."""
    said: Counter[str] = Counter()
    for labels, value in said_series(text):
        said[labels["family"]] += int(value)
    assert said.total() == len(list(shown))
    # Of a name of ours that is the user's in another nginx, only those series stand for themselves.
    ours = ("resty_metrics", "process_", "nginx_vts_", "nginx_connections", "nginx_up", "nginx_http_requests_total")
    for family in (family for family in said if not family.startswith((*ours, "vts", "stub_status"))):
        assert said[family] == len([name for name, _ in shown if named(name, family, text)]), family


def said_series(text: str) -> list[tuple[dict[str, str], float]]:
    samples = (sample for family in parse_text(text) for sample in family.samples)
    return [(sample.labels, sample.value) for sample in samples if sample.name == SERIES]


def named(name: str, family: str, text: str) -> bool:
    """Whether a sample of that name is one of the family. A histogram of the name "_total" has no type on the page,
    since OpenMetrics takes that name for a suffix.
    """
    histogram = f"# TYPE {family} histogram\n" in text or family == "_total"
    return name == family or (histogram and name in {f"{family}{suffix}" for suffix in ("_bucket", "_sum", "_count")})


def is_held_by_another(name: str, shown: Iterable[Series]) -> bool:
    """Whether a sample on the page stands where the family would: they differ in what a format puts behind a name."""
    return stem(name) in {stem(sample) for sample, _ in shown}


def stem(name: str) -> str:
    return re.sub("(_created|_total|_bucket|_sum|_count)+$", "", name)


SOME_MESSAGES = st.lists(messages(), min_size=1, max_size=10)
FEW = settings(
    max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@FEW
@given(SOME_MESSAGES, sources, st.integers(0, 12), st.sampled_from([None, 0, 3]))
def test_any_mixture(sent: list[Message], fetched: Sources, restart: int, shown_before: int | None) -> None:
    mixture = Mixture(fetched)
    for number, message in enumerate(sent):
        result = mixture.receive(message)
        assert result in ("applied", "heartbeat"), message
        if number == restart:
            mixture.restart()
        if number % 3 == 0:
            sound(mixture.page(shown_before))
    families = mixture.page()
    shown, conflicts = sound(families), [family for family in families if family.name == CONFLICT and not family.custom]
    withheld = [dict(labels)["family"] for _, labels in series(render(conflicts, openmetrics=False).decode())]
    event("something is withheld" if withheld else "nothing is")
    assert [name for name in withheld if not is_held_by_another(name, shown)] == []


@pytest.mark.slow
@settings(FEW, max_examples=examples(40))
@given(SOME_MESSAGES, sources)
def test_promtool_reads_any_mixture(sent: list[Message], fetched: Sources) -> None:
    mixture = Mixture(fetched)
    for message in sent:
        mixture.receive(message)
    page = render(mixture.page(), openmetrics=False)
    done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, check=False, timeout=60)
    assert done.returncode in (0, 3), done.stderr.decode()  # 3: it can be read, and could be named better
