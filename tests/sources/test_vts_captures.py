"""Real vts documents: what vts's own Prometheus text has is on the page, with the same name, labels and value.

Where it is not, DIFFERENCES says so and why; a difference that is listed and does not occur fails as well.
"""

import re
from collections import Counter
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from resty_metrics.exposition.text import render
from resty_metrics.sources import vts

DATA = Path(__file__).parents[1] / "data" / "vts"
CAPTURES = sorted(str(path.relative_to(DATA)).removesuffix(".vts.json") for path in DATA.rglob("*.vts.json"))

Key = tuple[str, frozenset[tuple[str, str]]]

# Why a sample differs from vts's own.
ONE_REQUEST_LATER = "the text was fetched after the JSON, by a request that it counts itself"
SEPARATOR = "a name that begins with vts's separator 0x1f: text and JSON of vts disagree, and the JSON is what we read"
SURROGATE = "vts writes an encoded surrogate as it is, which no reader of UTF-8 accepts; we write it as \\xHH"
STALE_BUCKETS = "vts's reset leaves buckets above their count, which a strict reader refuses; they are left out"
PSEUDO_PEER = "v0.2.2 has the pseudo peer of `no live upstreams` in its text and not in its JSON"

DIFFERENCES = {
    "08-oddkeys": {SEPARATOR: 17, SURROGATE: 17},
    "08-oddkeys-utf8": {SEPARATOR: 17},
    "15-reset-histogram-2-upstreams": {STALE_BUCKETS: 80},
    "15-reset-histogram-4-all": {STALE_BUCKETS: 104},
    "v0.2.2/05-upstream": {PSEUDO_PEER: 22},
    "v0.2.2/14-reset-2-upstreams": {PSEUDO_PEER: 11},
    "v0.2.2/14-reset-4-all": {PSEUDO_PEER: 11},
    "v0.2.2/08-oddkeys": {SEPARATOR: 17, SURROGATE: 17},
    "v0.2.2/08-oddkeys-utf8": {SEPARATOR: 17},
}


def samples(text: str) -> dict[Key, float]:
    """Samples by name and labels; none may be there twice."""
    by_key: dict[Key, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in by_key, key
            by_key[key] = sample.value
    return by_key


def types(text: str) -> dict[str, str]:
    return {line.split()[2]: line.split()[3] for line in text.splitlines() if line.startswith("# TYPE ")}


def helps(text: str) -> dict[str, str]:
    lines = [line.split(" ", 3) for line in text.splitlines() if line.startswith("# HELP ")]
    return {words[2]: words[3] for words in lines}


def theirs_and_ours(name: str) -> tuple[str, str]:
    of_vts = (DATA / f"{name}.prometheus.txt").read_bytes().decode("utf-8", "surrogateescape")
    document = vts.parse((DATA / f"{name}.vts.json").read_bytes())
    return of_vts, render(vts.families(document, {}), openmetrics=False).decode()


def reason_of(key: Key) -> str:
    labels = dict(key[1])
    if labels == {"status": "requests"}:
        return ONE_REQUEST_LATER
    if "\x1f" in labels.get("filter_name", ""):
        return SEPARATOR
    if any("\udc80" <= character <= "\udcff" for character in labels.get("filter_name", "")):
        return SURROGATE
    if key[0].endswith("_bucket") and labels["le"] != "+Inf":
        return STALE_BUCKETS
    if labels.get("upstream", "") == labels.get("backend"):
        return PSEUDO_PEER
    return f"no known reason: {key}"


@pytest.mark.parametrize("name", CAPTURES)
def test_the_page_has_what_vts_has(name: str) -> None:
    of_vts, ours = theirs_and_ours(name)
    expected, actual = samples(of_vts), samples(ours)
    differing = [key for key, value in expected.items() if actual.get(key) != value]
    reasons = Counter(reason_of(key) for key in differing)
    assert reasons == {ONE_REQUEST_LATER: 1} | DIFFERENCES.get(name, {})
    requests = ("nginx_vts_main_connections", frozenset({("status", "requests")}))
    assert actual[requests] == expected[requests] - 1
    renamed = reasons[SEPARATOR] + reasons[SURROGATE]
    assert len(actual.keys() - expected.keys()) == renamed, "what vts has not is not on the page"


@pytest.mark.parametrize("name", CAPTURES)
def test_types_and_help_are_those_of_vts(name: str) -> None:
    of_vts, ours = theirs_and_ours(name)
    shown = types(ours)
    assert shown == {metric: kind for metric, kind in types(of_vts).items() if metric in shown}
    assert helps(ours) == {metric: text for metric, text in helps(of_vts).items() if metric in shown}


@pytest.mark.parametrize("name", CAPTURES)
def test_openmetrics_of_a_capture_is_valid(name: str) -> None:
    document = vts.parse((DATA / f"{name}.vts.json").read_bytes())
    text = render(vts.families(document, {"nginx": "edge"}), openmetrics=True).decode()
    read = list(parse_openmetrics(text))  # type: ignore[no-untyped-call]
    assert {sample.labels["nginx"] for family in read for sample in family.samples} == {"edge"}


@pytest.mark.parametrize("name", CAPTURES)
def test_without_derived_series_the_rest_is_there(name: str) -> None:
    document = vts.parse((DATA / f"{name}.vts.json").read_bytes())
    all_of_it, rest = (
        samples(render(vts.families(document, {}, derived=derived), openmetrics=False).decode())
        for derived in (True, False)
    )
    gone = all_of_it.keys() - rest.keys()
    assert rest == {key: value for key, value in all_of_it.items() if key not in gone}
    averages = re.compile("nginx_vts_(server|filter|upstream)_(request|response)_seconds")
    assert gone == {key for key in all_of_it if ("host", "*") in key[1] or averages.fullmatch(key[0])}
    assert gone, "a capture has the sum of its servers"
