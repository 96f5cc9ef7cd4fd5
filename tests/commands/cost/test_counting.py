"""Sizes without a label, held against the page that the collector itself makes of the rows without it."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resty_metrics.commands.cost.counting import FamilyCost, Size, count, total
from resty_metrics.commands.cost.reading import read
from resty_metrics.exposition.text import MetricFamily, render, sample
from resty_metrics.page import requests
from resty_metrics.shapes.shape import REQUEST_COLUMNS, Shape, family_batch
from resty_metrics.table.table import Table
from support.effort import examples

BUILD = MetricFamily(
    "resty_metrics_build_info", "gauge", "Version.", [sample("resty_metrics_build_info", {"version": "1"}, 1)]
)
HOSTILE = [
    "plain",
    'a "quoted" one',
    "back\\slash\\n",
    "two\nlines",
    "\n# TYPE a counter\na 1",
    'x",le="5',
    "x,le=",
    "blank } {and} 5",
    "\u2028 \x85 \x0b",
    "ünï 漢字",
    "ends with \\",
    "100 %s",
]
LABELS = ("server", "status", "tenant")
BOUNDS = (5, 1000)
SHAPES = {
    "counter": (("value",), None, 1),
    "histogram": (("sum",), BOUNDS, 1000),
    "requests": (REQUEST_COLUMNS, None, 1),
}
Rows = dict[tuple[str, ...], list[int]]
numbers = st.lists(st.integers(0, 10**7), min_size=6, max_size=6)
rows_of_labels = st.dictionaries(st.tuples(*[st.sampled_from(HOSTILE)] * 3), numbers, min_size=1, max_size=12)


def page_of(kind: str, labels: Sequence[str], rows: Rows) -> bytes:
    """A page as the collector makes it. Row of requests need their three labels, so that these are added there."""
    columns, bounds, scale = SHAPES[kind]
    width = len(columns) + (0 if bounds is None else len(bounds) + 1)
    fixed = ("_", "GET", "200") if kind == "requests" else ()
    names = ("server", "method", "status", *(f"my_{name}" for name in labels)) if fixed else tuple(labels)
    name = "http_requests" if kind == "requests" else "shop_items_total"
    shape = Shape(name, kind, names, bounds, columns, scale, custom=kind != "requests")  # type: ignore[arg-type]
    table = Table()
    table.merge([family_batch(shape, "", False, [(*fixed, *key, *row[:width]) for key, row in rows.items()])], 1, 0.0)
    return render([*requests.render(table), BUILD], openmetrics=False)


def costs_of(body: bytes) -> dict[str, FamilyCost]:
    return {cost.name: cost for cost in count(read(body))}


def merged(rows: Rows, place: int) -> Rows:
    result: Rows = {}
    for key, row in rows.items():
        rest = (*key[:place], *key[place + 1 :])
        result[rest] = [sum(pair) for pair in zip(result.get(rest, [0] * len(row)), row, strict=True)]
    return result


@pytest.mark.parametrize("kind", SHAPES)
@settings(max_examples=examples(60), deadline=None)
@given(rows_of_labels, st.integers(0, 2))
def test_without_a_label_it_is_the_page_that_the_collector_would_make(kind: str, rows: Rows, place: int) -> None:
    label = LABELS[place]
    body = page_of(kind, LABELS, rows)
    costs = costs_of(body)
    assert total(costs.values()).bytes == len(body)
    fewer = costs_of(page_of(kind, [name for name in LABELS if name != label], merged(rows, place)))
    shown = label if kind != "requests" else f"my_{label}"
    assert costs.keys() == fewer.keys()
    for name in costs.keys() - {BUILD.name}:
        (cost,) = (one for one in costs[name].labels if one.name == shown)
        assert cost.without == fewer[name].size, name
        assert cost.saves == costs[name].size - cost.without
        assert cost.values == len({key[place] for key in rows})


def page(*families: tuple[str, str, Sequence[str]]) -> bytes:
    lines = [
        f"# HELP {name} x\n# TYPE {name} {kind}\n" + "".join(f"{line}\n" for line in of) for name, kind, of in families
    ]
    return "".join([*lines, "# HELP resty_metrics_build_info x\n# TYPE resty_metrics_build_info gauge\n"]).encode()


ENDS = ('h_sum{a="x"} 3', 'h_count{a="x"} 2')


def test_bounds_are_no_labels_of_a_histogram_and_a_summary_alone() -> None:
    body = page(
        ("h", "histogram", ['h_bucket{le="1.0",a="x"} 1', 'h_bucket{a="x",le="+Inf"} 2', *ENDS]),
        ("s", "summary", ['s{quantile="0.5"} 1', 's{quantile="0.9"} 2', "s_sum 3", "s_count 2"]),
        ("g", "gauge", ['g{le="1"} 1', 'g{le="2"} 1', 'g{quantile="2"} 1']),
    )  # fmt: skip
    costs = costs_of(body)
    assert {name: [label.name for label in cost.labels] for name, cost in costs.items()} == {
        "g": ["le", "quantile"],
        "h": ["a"],
        "s": [],
    }
    assert {name: (cost.size.rows, cost.size.series) for name, cost in costs.items()} == {
        "g": (3, 3),
        "h": (1, 4),
        "s": (1, 4),
    }
    assert costs["h"].labels[0].saves.series == 0
    assert costs["h"].labels[0].saves.bytes == 4 * len('a="x"') + 2 * len(",") + 2 * len("{}")


def test_rows_with_other_labels() -> None:
    """A scope has a label more or fewer: what lacks the label already is the row that the others become."""
    body = page(("c", "counter", ['c{a="1"} 5', 'c{a="1",b="x"} 6', 'c{b="y",a="1"} 7', 'c{a="2",b="x"} 8', "c 9"]))
    cost = costs_of(body)["c"]
    assert cost.size.rows == 5
    by_name = {label.name: (label.without.rows, label.values) for label in cost.labels}
    assert by_name == {"a": (3, 2), "b": (3, 2)}


def test_rows_of_a_histogram_may_differ_in_their_buckets() -> None:
    """As while a scope has buckets of its own: the merged row has a series for each bound of either."""
    bounds = [("a", "1"), ("a", "2"), ("b", "2"), ("b", "3")]
    lines = [f'h_bucket{{s="{server}",le="{bound}"}} 1' for server, bound in bounds]
    (label,) = costs_of(page(("h", "histogram", lines)))["h"].labels
    assert (label.without.rows, label.without.series) == (1, 3)


@pytest.mark.parametrize(
    ("values", "merged_value"),
    [
        (("9", "1"), "10"),
        (("0.1", "0.2"), "0.3"),
        (("0.5", "0.5"), "1.0"),
        (("+Inf", "1"), "+Inf"),
        (("+Inf", "-Inf"), "NaN"),
        (("NaN", "1"), "NaN"),
        (("1e+300", "1e+300"), "2e+300"),
        (("1.7e+308", "1.7e+308"), "+Inf"),
        (("-3", "3"), "0"),
        (("9" * 30, "1"), "1" + "0" * 30),
    ],
)
def test_values_are_added_up(values: tuple[str, str], merged_value: str) -> None:
    body = page(("g", "gauge", [f'g{{a="{number}"}} {value}' for number, value in enumerate(values)]))
    (label,) = costs_of(body)["g"].labels
    header = len("# HELP g x\n# TYPE g gauge\n")
    assert label.without == Size(1, 1, header + len(f"g {merged_value}\n"))


def test_the_order_is_what_would_save_most() -> None:
    many = [f'c{{a="{number}",b="{number % 2}"}} 1' for number in range(10)]
    body = page(
        ("few", "gauge", ['few{a="1"} 1', 'few{a="2"} 1']), ("none", "gauge", ["none 1"]), ("c", "counter", many)
    )
    costs = count(read(body))
    assert [cost.name for cost in costs] == ["c", "few", "none"]
    assert [(label.name, label.saves.series) for label in costs[0].labels] == [("a", 8), ("b", 0)]


NO_PAGES = [b"", b"ok\n", b"a 1\n", b"<html>\n", b"# TYPE a gauge\na 1\n"]


@pytest.mark.parametrize("body", [*NO_PAGES, *(page(("a", "gauge", [line])) for line in ("a x", "a sNaN", "a"))])
def test_what_is_no_page_of_ours(body: bytes) -> None:
    with pytest.raises(ValueError, match="is not a page of resty-metrics"):
        count(read(body))
