"""The table against a plain dictionary, over batches of changing shapes: requests, and their durations."""

from bisect import bisect_left
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from resty_metrics.shapes.shape import FamilyKey
from resty_metrics.table.table import Table
from resty_metrics.wire.batch import read_batch
from resty_metrics.wire.datagram import HEADER_BYTES, VERSION, Header, Kind, write_datagram
from support.effort import examples

BUILT_IN = ["server", "method", "status"]
COLUMNS = ["count", "request_bytes", "response_bytes"]
DURATIONS = "nginx_http_request_duration_seconds"
TIMED = ["server", "status"]
BOUNDS = st.lists(st.integers(0, 30), unique=True, max_size=4).map(sorted)
USER_LABELS = st.lists(st.sampled_from(["zone", "path", "tenant"]), unique=True, max_size=2)

# One observation: label values by name, duration in ms, bytes in and out.
OBSERVATION = st.tuples(
    st.fixed_dictionaries({name: st.sampled_from("ab") for name in [*BUILT_IN, "zone", "path", "tenant"]}),
    st.integers(0, 40),
    st.integers(0, 1000),
    st.integers(0, 2**53),
)
SHAPE = st.tuples(USER_LABELS, BOUNDS)
BATCH = st.tuples(st.integers(0, 3), st.lists(OBSERVATION, max_size=6))


def row_of(observation: tuple[dict[str, str], int, int, int], labels: list[str], bounds: list[int]) -> list[str | int]:
    values, duration, _, _ = observation
    buckets = [0] * (len(bounds) + 1)
    buckets[bisect_left(bounds, duration)] = 1
    return [*(values[name] for name in labels), *buckets, duration]


def claimed(duration: int, path: list[list[int]]) -> float:
    """The bound that an observation ends at when it goes through shapes one after the other."""
    bound: float = duration
    for bounds in path:
        place = bisect_left(bounds, bound)
        bound = bounds[place] if place < len(bounds) else float("inf")
    return bound


@given(st.lists(SHAPE, min_size=1, max_size=4), st.lists(BATCH, max_size=12))
@settings(max_examples=examples(300), deadline=None)
def test_table_equals_a_dictionary(shapes: list[tuple[list[str], list[int]]], batches: list) -> None:  # type: ignore[type-arg]
    """Generation n of workers is born at n and has shape n; batches of all generations come in any order."""
    table = Table()
    current: int | None = None
    # Each observation: its values, what labels it still has, the path of bounds it went through.
    observed: list[tuple[dict[str, str], int, int, int, list[list[int]], set[str]]] = []
    for generation, observations in batches:
        generation %= len(shapes)
        user_labels, bounds = shapes[generation]
        labels, timed = [*BUILT_IN, *user_labels], [*TIMED, *user_labels]
        counted = [[*map(values.get, labels), 1, received, sent] for values, _, received, sent in observations]
        rows = [row_of(observation, timed, bounds) for observation in observations]
        requests = {"name": "http_requests", "type": "requests", "labels": labels, "columns": COLUMNS, "rows": counted}
        durations = {
            "name": DURATIONS, "type": "histogram", "labels": timed, "bounds": bounds, "scale": 1000,
            "columns": ["sum"],
        }  # fmt: skip
        header = Header(VERSION, Kind.BATCH, bytes(16), 0, 1, 1)
        datagram = write_datagram(header, {"families": [requests, {**durations, "rows": rows}]})
        table.merge(read_batch(datagram[HEADER_BYTES:]), generation, 0.0)
        if current is None or generation > current:
            current = generation
            for observation in observed:
                observation[4].append(shapes[current][1])
                observation[5].intersection_update([*BUILT_IN, *shapes[current][0]])
        for values, duration, received, sent in observations:
            path = [bounds] if generation == current else [bounds, shapes[current][1]]
            kept = set(labels) & {*BUILT_IN, *shapes[current][0]}
            observed.append((values, duration, received, sent, path, kept))
    if current is None:
        assert table.families == {}
        return
    labels, final = [*BUILT_IN, *shapes[current][0]], shapes[current][1]
    timed = [*TIMED, *shapes[current][0]]
    expected_requests: dict[tuple[str, ...], Counter[object]] = {}
    expected_durations: dict[tuple[str, ...], Counter[object]] = {}
    for values, duration, received, sent, path, kept in observed:
        key = tuple(values[name] if name in kept else "_" for name in labels)
        expected_requests.setdefault(key, Counter()).update(
            {"count": 1, "request_bytes": received, "response_bytes": sent}
        )
        key = tuple(values[name] if name in kept else "_" for name in timed)
        expected_durations.setdefault(key, Counter()).update({claimed(duration, path): 1, "sum": duration})
    for name, columns, expected in (
        ("http_requests", COLUMNS, expected_requests),
        (DURATIONS, [*final, float("inf"), "sum"], expected_durations),
    ):
        actual = {row.labels: list(row.numbers) for row in table.families[FamilyKey(name)].rows}
        assert actual == {key: [counts[name] for name in columns] for key, counts in expected.items()}
