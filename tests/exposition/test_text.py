"""The exposition formats, as literal text."""

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from resty_metrics.exposition.text import MetricFamily, MetricType, label_block, number, render, sample


def family(name: str, kind: MetricType, *lines: bytes, text: str = "Help.") -> MetricFamily:
    return MetricFamily(name, kind, text, lines)


# name, type, then the header in text 0.0.4 and in OpenMetrics
HEADERS: list[tuple[str, MetricType, str, str]] = [
    ("a_total", "counter", "# HELP a_total Help.\n# TYPE a_total counter\n", "# HELP a Help.\n# TYPE a counter\n"),
    (
        "nginx_connections_accepted",
        "counter",
        "# HELP nginx_connections_accepted Help.\n# TYPE nginx_connections_accepted counter\n",
        "# HELP nginx_connections_accepted Help.\n# TYPE nginx_connections_accepted unknown\n",
    ),
    ("g", "gauge", "# HELP g Help.\n# TYPE g gauge\n", "# HELP g Help.\n# TYPE g gauge\n"),
    ("h", "histogram", "# HELP h Help.\n# TYPE h histogram\n", "# HELP h Help.\n# TYPE h histogram\n"),
    ("u", "unknown", "# HELP u Help.\n# TYPE u untyped\n", "# HELP u Help.\n# TYPE u unknown\n"),
]


@pytest.mark.parametrize(("name", "kind", "plain", "openmetrics"), HEADERS, ids=[case[0] for case in HEADERS])
def test_headers(name: str, kind: MetricType, plain: str, openmetrics: str) -> None:
    line = sample(name, {}, 1)
    assert render([family(name, kind, line)], openmetrics=False).decode() == f"{plain}{name} 1\n"
    assert render([family(name, kind, line)], openmetrics=True).decode() == f"{openmetrics}{name} 1\n# EOF\n"


def test_a_counter_whose_openmetrics_name_is_taken_keeps_its_own() -> None:
    page = render(
        [family("s_total", "counter", b"s_total 1\n"), family("s", "gauge", b"s 2\n")], openmetrics=True
    ).decode()
    assert page == (
        "# HELP s_total Help.\n# TYPE s_total unknown\ns_total 1\n# HELP s Help.\n# TYPE s gauge\ns 2\n# EOF\n"
    )


@pytest.mark.parametrize(
    ("name", "rival", "kind"),
    [("s_total", "s_created", "gauge"), ("h_count_total", "h", "histogram"), ("h_total", "h", "histogram")],
)
def test_a_counter_whose_openmetrics_samples_are_taken_keeps_its_own(name: str, rival: str, kind: MetricType) -> None:
    line = b'h_bucket{le="+Inf"} 1\nh_sum 1\nh_count 1\n' if kind == "histogram" else b"s_created 1\n"
    page = render([family(name, "counter", f"{name} 1\n".encode()), family(rival, kind, line)], openmetrics=True)
    assert f"# TYPE {name} unknown" in page.decode()
    assert {shown.name for shown in parse_openmetrics(page.decode())} == {name, rival}  # type: ignore[no-untyped-call]


# counters, and the type that each has in OpenMetrics: of two that claim one name there the longer is unknown
COUNTERS: list[tuple[list[str], list[str]]] = [
    (["a_total", "a_created_total"], ["a counter", "a_created_total unknown"]),
    (["a_created_total", "a_total"], ["a_created_total unknown", "a counter"]),
    (["a_created_total"], ["a_created counter"]),
    (["a_total", "a_total_total"], ["a counter", "a_total_total unknown"]),
    (["_total"], ["_total unknown"]),
    (["_created_total", "_total"], ["_created_total unknown", "_total unknown"]),
]


@pytest.mark.parametrize(("names", "types"), COUNTERS)
def test_counters_whose_openmetrics_names_meet(names: list[str], types: list[str]) -> None:
    families = [family(name, "counter", f"{name} 1\n".encode()) for name in names]
    page = render(families, openmetrics=True).decode()
    assert [line.removeprefix("# TYPE ") for line in page.splitlines() if line.startswith("# TYPE ")] == types
    list(parse_openmetrics(page))  # type: ignore[no-untyped-call]
    list(text_string_to_metric_families(render(families, openmetrics=False).decode()))


def test_a_family_without_lines_gives_no_type_to_another_of_its_name() -> None:
    families = [family("m", "histogram", b""), family("m", "gauge", b"m 1\n")]
    assert render(families, openmetrics=False) == b"# HELP m Help.\n# TYPE m gauge\nm 1\n"


def test_a_histogram_with_sums_below_0_is_unknown_in_openmetrics() -> None:
    buckets, sums, counts = b'h_bucket{le="0.0"} 1\nh_bucket{le="+Inf"} 1\n', b"h_sum -2.0\n", b"h_count 1\n"
    signed = MetricFamily("h", "histogram", "Help.", [buckets, sums, counts], parts=([buckets], [sums], [counts]))
    assert render([signed], openmetrics=False) == b"# HELP h Help.\n# TYPE h histogram\n" + buckets + sums + counts
    assert render([signed, family("h_total", "counter", b"h_total 1\n")], openmetrics=True) == (
        b"# HELP h_bucket Help.\n# TYPE h_bucket unknown\n" + buckets
        + b"# HELP h_sum Help.\n# TYPE h_sum unknown\n" + sums
        + b"# HELP h_count Help.\n# TYPE h_count unknown\n" + counts
        + b"# HELP h_total Help.\n# TYPE h_total unknown\nh_total 1\n# EOF\n"
    )  # fmt: skip


def test_a_family_whose_lines_are_empty_is_not_there() -> None:
    assert render([family("a", "gauge", b"", b"")], openmetrics=False) == b""


def test_a_family_that_is_not_shown_takes_no_name() -> None:
    page = render([family("s_total", "counter", b"s_total 1\n"), family("s", "gauge")], openmetrics=True)
    assert page == b"# HELP s Help.\n# TYPE s counter\ns_total 1\n# EOF\n"


def test_a_histogram_is_the_same_in_both() -> None:
    lines = b'h_bucket{le="1.0"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3.5\nh_count 2\n'
    page = b"# HELP h Help.\n# TYPE h histogram\n" + lines
    assert render([family("h", "histogram", lines)], openmetrics=False) == page
    assert render([family("h", "histogram", lines)], openmetrics=True) == page + b"# EOF\n"


ODD = 'a"b\\c\nd\\n\t,}=#ü'


def test_odd_text_is_read_back_as_it_was() -> None:
    odd = family("g", "gauge", sample("g", {"a": ODD, "b": ""}, 0.1), text=ODD)
    plain = render([odd], openmetrics=False).decode()
    openmetrics = render([odd], openmetrics=True).decode()
    for (parsed,) in (text_string_to_metric_families(plain), parse_openmetrics(openmetrics)):  # type: ignore[no-untyped-call]
        assert [(s.labels, s.value) for s in parsed.samples] == [({"a": ODD, "b": ""}, 0.1)]
        assert parsed.documentation == ODD


def test_help_is_escaped_as_each_format_wants_it() -> None:
    gauge = family("g", "gauge", b"g 1\n", text='a "b"\\\n')
    assert render([gauge], openmetrics=False).startswith(b'# HELP g a "b"\\\\\\n\n')
    assert render([gauge], openmetrics=True).startswith(b'# HELP g a \\"b\\"\\\\\\n\n')


def test_families_of_one_name_are_contiguous() -> None:
    page = render(
        [
            family("a", "gauge", b'a{n="1"} 1\n'),
            family("b", "gauge", b"b 1\n"),
            family("a", "gauge", b'a{n="2"} 2\n', text="Another."),
        ],
        openmetrics=False,
    ).decode()
    assert page == ('# HELP a Help.\n# TYPE a gauge\na{n="1"} 1\na{n="2"} 2\n# HELP b Help.\n# TYPE b gauge\nb 1\n')


def test_a_family_without_lines_is_not_there() -> None:
    assert render([family("a", "gauge")], openmetrics=False) == b""
    assert render([family("a", "gauge")], openmetrics=True) == b"# EOF\n"


@pytest.mark.parametrize(
    ("labels", "block"),
    [
        ({}, ""),
        ({"a": "1"}, '{a="1"}'),
        ({"a": "1", "b": "2"}, '{a="1",b="2"}'),
        ({"a": 'quo"te'}, '{a="quo\\"te"}'),
        ({"a": "back\\slash"}, '{a="back\\\\slash"}'),
        ({"a": "new\nline"}, '{a="new\\nline"}'),
        ({"a": "\\n"}, '{a="\\\\n"}'),
        ({"a": "ü,}"}, '{a="ü,}"}'),
    ],
)
def test_label_blocks(labels: dict[str, str], block: str) -> None:
    assert label_block(labels) == block


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (2**64 - 1, "18446744073709551615"),
        (0.1, "0.1"),
        (1e22, "1e+22"),
        (float("inf"), "+Inf"),
        (float("-inf"), "-Inf"),
        (float("nan"), "NaN"),
        (-0.5, "-0.5"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text
