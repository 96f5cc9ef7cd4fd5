"""Arbitrary mixtures of all that may be on one page: what workers send through the real intake, sources, and ours.

Few names, labels and values, so that they meet: names of the user's, of ours and of the samples of others, labels that
we need ourselves, characters and numbers that a format has no place for.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from resty_metrics.exposition.text import MetricFamily
from resty_metrics.ingest import pipeline_metrics as pipeline
from resty_metrics.ingest.intake import Intake
from resty_metrics.journal import snapshot
from resty_metrics.journal.state import State, capture
from resty_metrics.page import assemble, instances, requests, series
from resty_metrics.process.steps import finish
from resty_metrics.shapes.shape import (
    COUNTER_COLUMNS,
    DURATION_LABELS,
    DURATION_SCALE,
    DURATIONS,
    HISTOGRAM_COLUMNS,
    REQUEST_COLUMNS,
    REQUEST_LABELS,
)
from resty_metrics.sources import source_metrics as report
from resty_metrics.sources import stub_status, vts
from resty_metrics.wire.datagram import VERSION, Header, Kind, write_datagram

UID = 33
INSTANCES = ("", "a", "b")
_NAMES = (
    *("x", "x_total", "x_created", "x_created_total", "x_bucket", "x_sum", "x_count", "_total", "le"),
    *("nginx_http_responses_total", "nginx_http_request_duration_seconds", "nginx_http_requests_total"),
    *("nginx_up", "nginx_vts_info", "nginx_vts_server_requests_total", "resty_metrics_rows", "resty_metrics_lua_info"),
    *("resty_metrics_worker_errors_total", "resty_metrics_family_conflict", "resty_metrics_source_up"),
)
_LABELS = ("nginx", "exported_nginx", "l", "le", "scope", "worker", "reason", "family", "source", "server")
_VALUES = (
    "a",
    "b",
    "",
    "_",
    "other",
    "lua",
    "x",
    "\x7f",
    "\x85\u2028",
    "\0",
    'q"\\\n',
    "{,} # 1",
    "é",
    "+Inf",
    "\\x7f",
)
_BOUNDS = (-1e308, -2, -0.5, 0, 5e-320, 0.5, 1, 2**53 + 1, 1.7e308)
_SUMS = (-1.7e308, -1, -0.0, 0, 0.5, 3, 2**60, 1.7e308)
_COUNTS = (0, 1, 2, 0.5, 2.0, 2**53)
_GAUGES = (-1, -0.0, 0.5, 2**60, math.inf, -math.inf, math.nan)
_HELP = ("", " ", "Text.", 'a "b" \\ \n\tc', '"', "a\0\x7f\x85\u2028b", "\r", "# HELP x y")
_VTS = {
    "hostName": "h",
    "moduleVersion": "0.2.2",
    "nginxVersion": "1.22",
    "connections": {"active": 1},
    "serverZones": {"s": {"requestCounter": 3, "inBytes": 1, "responses": {"2xx": 2}}},
}
_STATUS = {"accepted": 3, "handled": 3, "requests": 3, "active": 1, "reading": 0, "writing": 1, "waiting": 0}

_names = st.sampled_from(_NAMES)
_values = st.sampled_from(_VALUES)
_help = st.sampled_from(_HELP) | st.text(max_size=8)


def _label_lists(but: tuple[str, ...] = ()) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from([label for label in _LABELS if label not in but]), unique=True, max_size=3)


@st.composite
def _family(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    """A counter or a histogram."""
    labels = draw(_label_lists(("le",) if kind == "histogram" else ()))
    numbers = [st.sampled_from(_COUNTS)]
    family: dict[str, Any] = {"name": draw(_names), "type": kind, "labels": labels, "columns": COUNTER_COLUMNS}
    if kind == "histogram":
        bounds = sorted(draw(st.sets(st.sampled_from(_BOUNDS), max_size=3)))
        numbers = [*numbers * (len(bounds) + 1), st.sampled_from(_SUMS)]
        family |= {"bounds": bounds, "columns": HISTOGRAM_COLUMNS, "scale": draw(st.sampled_from([1, 1000]))}
    row = st.tuples(*[_values for _ in labels], *numbers)
    rows = draw(st.lists(row, min_size=1, max_size=3))
    custom = draw(st.booleans()) or family["name"] == DURATIONS  # a built-in one has its own form: _durations
    return family | {"rows": rows, "custom": custom, "help": draw(_help)}


@st.composite
def _requests(draw: st.DrawFn) -> dict[str, Any]:
    scope = draw(st.sampled_from(["", "a", "other"]))
    more = draw(_label_lists(("le", "scope", "server")))
    labels = [*REQUEST_LABELS, *(["scope"] if scope else []), *more]
    row = st.tuples(
        st.sampled_from(["s", "other"]),
        *(st.just("GET"), st.sampled_from(["101", "200"])),
        *([st.just(scope)] if scope else []),
        *(_values for _ in more),
        *(st.sampled_from(_COUNTS) for _ in REQUEST_COLUMNS),
    )
    family = {"name": "http_requests", "type": "requests", "labels": labels, "columns": REQUEST_COLUMNS}
    return family | {"scope": scope, "rows": draw(st.lists(row, min_size=1, max_size=3))}


@st.composite
def _durations(draw: st.DrawFn) -> dict[str, Any]:
    scope = draw(st.sampled_from(["", "a", "other"]))
    ours = [name for name in DURATION_LABELS if draw(st.booleans())]
    more = draw(_label_lists(("le", "scope", *DURATION_LABELS)))
    row = st.tuples(
        *(st.sampled_from(["s", "GET", "2xx", "other"]) for _ in ours),
        *([st.just(scope)] if scope else []),
        *(_values for _ in more),
        *(st.sampled_from(_COUNTS) for _ in range(2)),
        st.sampled_from(_SUMS),
    )
    labels = [*ours, *(["scope"] if scope else []), *more]
    family = {"name": DURATIONS, "type": "histogram", "labels": labels, "bounds": [5], "columns": HISTOGRAM_COLUMNS}
    rows = draw(st.lists(row, min_size=1, max_size=3))
    return family | {"scale": DURATION_SCALE, "scope": scope, "rows": rows}


@st.composite
def _gauge(draw: st.DrawFn) -> dict[str, Any]:
    labels = draw(_label_lists())
    row = st.tuples(*[_values for _ in labels], st.sampled_from(_GAUGES), st.just(1))
    combine = draw(st.sampled_from(["sum", "max", "min", "last"]))
    rows = draw(st.lists(row, max_size=3))
    return {"name": draw(_names), "labels": labels, "combine": combine, "rows": rows, "help": draw(_help)}


@dataclass(frozen=True)
class Message:
    """A batch or a heartbeat of one of several senders."""

    kind: Kind
    sender: int
    birth_ms: int
    body: dict[str, Any]


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """A batch, or a heartbeat with gauges, of one of a few senders, each of one nginx."""
    sender = draw(st.integers(0, 5))
    body: dict[str, Any] = {"instance": INSTANCES[sender % len(INSTANCES)]}
    if draw(st.booleans()):
        family = st.one_of(_family("counter"), _family("histogram"), _requests(), _durations())
        body["families"] = draw(st.lists(family, min_size=1, max_size=3))
        return Message(Kind.BATCH, sender, 10 + sender, body)
    body["families"] = draw(st.lists(_gauge(), max_size=3))
    body |= {"module": draw(_values), "worker": sender, "nginx": _STATUS, "master": {"pid": 7, "birth": 8}}
    return Message(Kind.HEARTBEAT, sender, 10 + sender, body)


@dataclass
class Sources:
    """The nginx whose status and whose vts are fetched; None: of one without a name."""

    status: Iterable[str | None] = ()
    vts: Iterable[str | None] = ()


sources = st.builds(
    Sources,
    st.sets(st.sampled_from([None, "a", "b"]), max_size=2),
    st.sets(st.sampled_from([None, "a", "b"]), max_size=2),
)


@dataclass
class Mixture:
    """A collector without sockets, and what was sent to it."""

    fetched: Sources
    intake: Intake = field(default_factory=lambda: _intake(State()))
    sequences: dict[int, int] = field(default_factory=dict)
    beats: int = 0

    def receive(self, message: Message) -> str:
        """Hand a message to the intake; what became of it."""
        sender = bytes([message.sender]) * 16
        if message.kind is Kind.BATCH:
            number = self.sequences[message.sender] = self.sequences.get(message.sender, 0) + 1
        else:
            number = self.beats = self.beats + 1
        base = max(1, self.sequences.get(message.sender, 0))
        header = Header(VERSION, message.kind, sender, message.birth_ms, number, base)
        outcome = self.intake.receive(write_datagram(header, message.body), UID, 0.0)
        self.intake.commit()
        return outcome.result

    def restart(self) -> None:
        """Go on with what the journal has; heartbeats are not in it."""
        state = State(self.intake.table, self.intake.senders)
        self.intake = _intake(snapshot.read([*snapshot.write(capture(state, 0.0))]))

    def page(self, shown_before: int | None = None) -> list[MetricFamily]:
        """All families, as a scrape puts them together."""
        table, senders = self.intake.table, self.intake.senders
        moment = assemble.capture(table, shown_before, senders.instances)
        rendered = [family for step in requests.in_steps(moment.families) for family in step]
        beats = senders.heartbeats(0.0)
        socket = pipeline.Socket(True, False, False, {}, 0, 0, 0, 0)
        own = [report.lua(senders.instances, INSTANCES), *pipeline.families(self.intake, socket, 0.0), series.PLACE]
        status = {name or "" for name in self.fetched.status}
        return finish(assemble.in_steps(moment, rendered, beats, list(self._scraped()), status, {"a": 0.5}, own))

    def _scraped(self) -> Iterable[MetricFamily]:
        for name in self.fetched.status:
            labels = instances.labels_of(name or "")
            yield from instances.mark(stub_status.families(stub_status.StubStatus(**_STATUS), labels), name or "")
        for name in self.fetched.vts:
            yield from instances.mark(vts.families(_VTS, instances.labels_of(name or "")), name or "")


def _intake(state: State) -> Intake:
    return Intake(state.table, state.senders, lambda uid: uid == UID)
