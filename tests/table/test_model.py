"""The table as a model: everything that can happen to it, at small caps, against a table in the plainest way.

Batches go through the real intake, and into a journal: at any moment the collector restarts, with a snapshot and the
records since, and must be the same to the byte. Labels are few, and ``other`` and ``_`` are among them: what a worker
overflowed itself, what a ``map ... default other`` says, and what is empty.
"""

from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from resty_metrics.exposition import text as exposition
from resty_metrics.ingest.intake import Intake
from resty_metrics.journal.records import of_drain, of_expiry, replay
from resty_metrics.journal.snapshot import read, write
from resty_metrics.journal.state import State, capture
from resty_metrics.page import assemble
from resty_metrics.page.requests import render
from resty_metrics.process.steps import finish
from resty_metrics.shapes.shape import FamilyKey
from resty_metrics.table.expiry import Expiry, ExpirySearch
from resty_metrics.table.table import Table
from resty_metrics.wire.datagram import VERSION, Header, Kind, write_datagram
from support.effort import examples
from support.plain_table import PlainTable

CAP = 5
VALUES = st.sampled_from(["a", "b", "other", "_", ""])
FILLING = [f"t{number}" for number in range(CAP)]
BUILT_IN = ["server", "method", "status"]
REQUEST_COLUMNS = ["count", "request_bytes", "response_bytes"]
DURATIONS = "nginx_http_request_duration_seconds"
INSTANCES = ("", "edge", "pod-1", "pod-2")
MAX_INSTANCES, MAX_FAMILIES, MAX_TABLE_FAMILIES = 2, 5, 8
SENDERS = 4

# name, type, custom, scope, the labels and bounds that it may have
KINDS: list[tuple[str, str, bool, str, list[list[str]], list[list[int] | None]]] = [
    ("http_requests", "requests", False, "", [BUILT_IN, [*BUILT_IN, "tenant"], [*BUILT_IN, "scheme"]], [None]),
    ("http_requests", "requests", False, "api", [[*BUILT_IN, "scope", "tenant"]], [None]),
    (DURATIONS, "histogram", False, "", [["server"], ["server", "status_class", "tenant"], ["zone"]], [[5], [5, 10]]),
    (DURATIONS, "histogram", False, "api", [["scope"], ["scope", "tenant"], ["scheme", "scope", "tenant"]], [[5]]),
    ("attempts_total", "counter", False, "", [["upstream", "peer", "status"], ["upstream"]], [None]),
    ("mine_total", "counter", True, "", [["tenant"], ["tenant", "zone"], ["zone", "tenant"]], [None]),
    ("mine_seconds", "histogram", True, "", [["tenant"]], [[1, 2], [2], []]),
    ("changing", "counter", True, "", [["tenant"]], [None]),
    ("changing", "histogram", True, "", [["tenant"]], [[1]]),
]
COLUMNS = {"requests": REQUEST_COLUMNS, "counter": ["value"], "histogram": ["sum"]}
TIMES = st.sampled_from([0.0, 60.0, 3600.0, 7200.0])
COUNTS = st.integers(0, 3)
AMOUNTS = st.sampled_from([0, 1, 2**53, 0.5])


@st.composite
def families(draw: st.DrawFn) -> dict[str, Any]:
    name, kind, custom, scope, shapes, all_bounds = draw(st.sampled_from(KINDS))
    labels, bounds = draw(st.sampled_from(shapes)), draw(st.sampled_from(all_bounds))
    values = st.tuples(*(st.just(scope) if label == "scope" else VALUES for label in labels))
    buckets = 0 if bounds is None else len(bounds) + 1
    numbers = st.tuples(*[COUNTS] * buckets, *[AMOUNTS] * len(COLUMNS[kind]))
    rows = draw(st.lists(st.tuples(values, numbers), max_size=4))
    # A family that is full: of the values of the last label, or of all if there is but one.
    if labels[-1] != "scope" and draw(st.booleans()):
        filled, more = draw(st.tuples(values, numbers))
        rows += [((*filled[:-1], value), more) for value in FILLING]
    return {
        "name": name,
        "type": kind,
        "custom": custom,
        "scope": scope,
        "labels": labels,
        "bounds": bounds,
        "scale": 1000 if name == DURATIONS else 1,
        "columns": COLUMNS[kind],
        "inherited": draw(st.sampled_from([False, False, False, True])),
        "reset": draw(st.sampled_from([False] * 9 + [True])),
        "del": draw(st.lists(values, max_size=1)),
        "rows": [[*values, *more] for values, more in rows],
    }


class TableModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.plain = PlainTable(CAP, MAX_INSTANCES, MAX_FAMILIES, MAX_TABLE_FAMILIES)
        self.sequences = [0] * SENDERS
        self.begin(State(Table(CAP, MAX_FAMILIES, MAX_INSTANCES, MAX_TABLE_FAMILIES)))
        self.snapshot, self.records = list(write(capture(self.state, self.now))), list[bytes]()

    def begin(self, state: State) -> None:
        self.state = state
        self.intake = Intake(state.table, state.senders, lambda uid: True)

    @rule(
        sender=st.integers(0, SENDERS - 1),
        instance=st.sampled_from(INSTANCES),
        batch=st.lists(families(), max_size=3),
        passed=TIMES,
    )
    def a_batch_comes(self, sender: int, instance: str, batch: list[dict[str, Any]], passed: float) -> None:
        """Sender n is born at n."""
        self.now += passed
        self.sequences[sender] += 1
        header = Header(
            VERSION, Kind.BATCH, bytes([sender]) * 16, sender, self.sequences[sender], self.sequences[sender]
        )
        sent = [{key: value for key, value in family.items() if value is not None} for family in batch]
        outcome = self.intake.receive(write_datagram(header, {"instance": instance, "families": sent}), 0, self.now)
        assert outcome.result == "applied"
        self.plain.merge(instance, batch, sender, self.now)

    @rule(period=st.sampled_from([60.0, 3600.0]), ago=TIMES, newest=st.integers(0, 4), passed=TIMES)
    def rows_expire(self, period: float, ago: float, newest: int, passed: float) -> None:
        """Every scraper was shown what is older than ``ago``, and the ``newest`` rows at 0 alone."""
        self.commit()
        self.now += passed
        creation = self.state.table.next_creation - newest
        expiry = Expiry(self.now, period, self.now - ago, creation)
        keys = ExpirySearch().step(self.state.table.families, expiry)
        self.records.append(of_expiry(keys, expiry))
        finish(self.state.table.expire_in_steps(keys, expiry))
        for family in self.plain.families.values():
            family.expire(self.now, period, self.now - ago, creation)

    @rule()
    def a_drain_ends(self) -> None:
        self.commit()

    def commit(self) -> None:
        drain = self.intake.take()
        record = of_drain(drain)
        assert self.intake.settle(drain).failures == ()
        if record is not None:
            self.records.append(record)

    @rule()
    def a_snapshot_is_taken(self) -> None:
        self.commit()
        self.snapshot, self.records = list(write(capture(self.state, self.now))), []

    @rule()
    def the_collector_restarts(self) -> None:
        self.commit()
        state = read(self.snapshot)
        for record in self.records:
            replay(state, record)
        assert list(write(capture(state, 0.0))) == list(write(capture(self.state, 0.0)))
        assert self.page(state.table, openmetrics=False) == self.page(self.state.table, openmetrics=False)
        self.begin(state)

    @invariant()
    def the_table_is_the_plain_one(self) -> None:
        self.commit()
        actual = {
            (key.instance, key.name, key.scope, key.custom): [
                (row.labels, row.created, list(row.numbers)) for row in family.rows
            ]
            for key, family in self.state.table.families.items()
        }
        assert actual == {
            key: [(labels, row.created, row.numbers) for labels, row in family.rows.items()]
            for key, family in self.plain.families.items()
        }
        table, model = self.state.table, self.plain
        assert (table.mistyped_rows, table.refused_rows, table.lost_rows) == (model.mistyped, model.refused, model.lost)
        assert (table.evicted_instances, table.evicted_families) == (model.evicted_instances, model.evicted_families)
        keys = [(key.instance, key.name, key.scope, key.custom) for key in table.families]
        assert keys == list(model.families)
        for (instance, name, scope, custom), plain in self.plain.families.items():
            family = self.state.table.families[FamilyKey(name, custom, scope, instance)]
            counts = (family.overflow, family.evicted, family.expired)
            assert counts == (plain.overflow, plain.evicted, plain.expired)

    @invariant()
    def no_label_set_is_there_twice_and_the_index_agrees(self) -> None:
        for family in self.state.table.families.values():
            assert len({row.labels for row in family.rows}) == len(family.rows)
            assert family._index == {row.labels: row for row in family.rows}
            # A shape that gained labels has a last row of all for each number of them that it had.
            assert len(family.rows) <= CAP + CAP // 10 + 1 + len(family.shape.labels)
            assert [row.created for row in family.rows] == sorted(row.created for row in family.rows)

    def teardown(self) -> None:
        self.commit()
        for openmetrics, parse in ((False, parse_text), (True, parse_openmetrics)):
            text = self.page(self.state.table, openmetrics=openmetrics)
            samples = [sample for family in parse(text.decode()) for sample in family.samples]
            series = [(sample.name, frozenset(sample.labels.items())) for sample in samples]
            assert len(set(series)) == len(series)

    def page(self, table: Table, *, openmetrics: bool) -> bytes:
        shown = finish(assemble.in_steps(assemble.capture(table), render(table), [], [], (), {}, []))
        return exposition.render(shown, openmetrics=openmetrics)


# Without Phase.shrink: to make a failing run small takes longer than a test may.
TableModel.TestCase.settings = settings(
    max_examples=examples(100),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=set(Phase) - {Phase.shrink},
    report_multiple_bugs=False,
)
TestTableModel = TableModel.TestCase
