"""(a) The worker's cost per request: bare nginx, an empty handler, an access_log, ours, and peers.

Each of these is its own nginx with one worker on one CPU. The load, and the backend of proxied requests, run on another
CPU. CPU is the worker's own; requests are nginx's own count. The access_log is nginx's ``combined``, unbuffered.

Each round starts new nginx processes: two of the same kind may differ by a microsecond per request for as long as they
live, depending on the memory they got. Any number of rounds on the same processes would not show that.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from support.collector import Collector, counts_of
from support.nginx import Nginx, shared_directory
from support.wait import free_port, wait_until

from benchmarks import cpu, load, peers, sites
from benchmarks.figures import Figure, Reach
from benchmarks.load import Latency
from benchmarks.rounds import Measurement, Series, Spread, series, spread, take
from benchmarks.scale import Scale
from benchmarks.sites import Handler

SUBJECT = "requests"
EMPTY = "empty handler"
BARE, AGAIN, OURS, ROWS = "bare", "bare, once more", "ours, 3 labels", "ours, 10,000 live rows"
LABELLED, UPSTREAMS, BEFORE = "ours, 6 labels", "ours, upstream timings", "ours, the other checkout"
WHOLE = "ours, upstream timings and 6 labels"
TENANTS = 10_000
WARM_SECONDS = 2  # of load before a handler is measured, for page faults and LuaJIT
LATENCY_MARGIN = 1.1  # times the upper quartile of the ratio that the control shows
PER_PEER = 0.25  # the cost that ours may add, relative to nginx-lua-prometheus
PER_VTS = 1.0  # the cost that ours may add beyond an empty handler, relative to vts with the same counts
WHOLE_MOST = 2.0  # the cost of upstream timings and three user labels, relative to the default labels


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of request. ``reach``: microseconds that ours may add; None: nothing was promised. ``left_out``: the
    handlers that are not measured with it.
    """

    name: str
    path: str
    reach: float | None
    left_out: tuple[str, ...] = ()


KINDS = (
    Kind("return 200", "/", 0.5, (UPSTREAMS, WHOLE, ROWS)),
    Kind("1 KiB file", "/file/1k", 0.9, (UPSTREAMS, WHOLE, ROWS)),
    Kind("passed on", "/upstream", None, (EMPTY, LABELLED, ROWS)),
)
TENANTS_KIND = Kind("return 200 to 10,000 tenants", "/", None)
LATENCY_KINDS = (
    Kind("return 200", "/", 0.5, (UPSTREAMS, WHOLE, BEFORE)),
    Kind("passed on", "/upstream", None, (EMPTY, "access_log", LABELLED, ROWS, BEFORE)),
)


def handlers(socket_path: Path, backend: int, before: Path | None) -> list[Handler]:
    compared = [
        sites.bare(BARE, socket_path, backend),
        sites.bare(AGAIN, socket_path, backend),
        sites.empty(EMPTY, socket_path, backend),
        sites.access_log("access_log", socket_path, backend),
        sites.ours(OURS, socket_path, backend),
        sites.ours(LABELLED, socket_path, backend, labels=sites.LABELS),
        sites.ours(UPSTREAMS, socket_path, backend, upstreams=True),
        sites.ours(WHOLE, socket_path, backend, labels=sites.LABELS, upstreams=True),
        sites.ours(ROWS, socket_path, backend, labels=sites.TENANT_LABEL),
        *(sites.of_peer(peer, socket_path, backend) for peer in peers.known()),
    ]
    return compared if before is None else [*compared, sites.ours(BEFORE, socket_path, backend, code=before)]


def _added(kind: Kind, name: str, measured: Series) -> Figure:
    reach = Reach(kind.reach) if name == OURS and kind.reach is not None else None
    return Figure(
        SUBJECT,
        f"{kind.name}: {name} adds",
        "us of CPU",
        measured.above.scaled(1e6),
        len(measured.costs),
        ("bare", measured.reference.middle * 1e6, measured.ratio),
        reach,
    )


def _against_peer(kind: Kind, by_handler: dict[str, Series]) -> Iterator[Figure]:
    """Yield the cost that ours adds relative to each peer and to the other checkout, in the same rounds.

    The last figure is the cost of ours with upstream timings and 6 labels, relative to ours with the default labels.
    """
    for name in sorted({*peers.FOLDERS, peers.VTS_SAME, BEFORE} & by_handler.keys()):
        peer_cost, our_cost = by_handler[name].above, by_handler[OURS].above
        ratio = spread([our_cost.middle / peer_cost.middle]) if peer_cost.middle > 0 else spread([float("nan")])
        reach = Reach(PER_PEER) if name == "nginx-lua-prometheus" and kind.reach is not None else None
        title = f"{kind.name}: what ours adds, of what {name} adds"
        yield Figure(SUBJECT, title, "times", ratio, 1, reach=reach)
    if WHOLE in by_handler and by_handler[OURS].above.middle > 0:
        times = by_handler[WHOLE].above.middle / by_handler[OURS].above.middle
        title = f"{kind.name}: what {WHOLE} add, of what {OURS} add"
        yield Figure(SUBJECT, title, "times", spread([times]), 1, reach=Reach(WHOLE_MOST))


def beyond_empty(kind: Kind, by_handler: Mapping[str, Series]) -> Iterator[Figure]:
    """Yield the cost that ours adds beyond an empty Lua handler, relative to all that vts adds for the same counts.

    This compares our code with code in C, without the call to Lua, which any Lua handler pays.
    """
    if not {EMPTY, peers.VTS_SAME} <= by_handler.keys():
        return
    ours, empty, vts = (by_handler[name].above.middle for name in (OURS, EMPTY, peers.VTS_SAME))
    times = (ours - empty) / vts if vts > 0 else float("nan")
    title = f"{kind.name}: what ours adds beyond an {EMPTY}, of what {peers.VTS_SAME} adds"
    yield Figure(SUBJECT, title, "times", spread([times]), 1, reach=Reach(PER_VTS))


def _take_kind(
    scale: Scale, number: int, kind: Kind, compared: list[Handler], script: Path | None
) -> list[Measurement]:
    works = {
        handler.name: partial(load.cpu_per_request, handler, kind.path, scale.seconds, script)
        for handler in compared
        if handler.name not in kind.left_out
    }
    say = scale.within(f"{SUBJECT}, {scale.rounds} rounds, {kind.name}")
    for handler in compared:
        if handler.name in works:
            say(f"round {number + 1}: {handler.name} gets warm")
            load.cpu_per_request(handler, kind.path, WARM_SECONDS, script)
    return take(works, BARE, number, say)


def _take_latencies(
    scale: Scale, number: int, kind: Kind, compared: list[Handler], rate: float
) -> list[tuple[str, Latency]]:
    """Measure the latencies of all handlers in one round, in an open loop."""
    works = {
        handler.name: partial(load.latency, handler, kind.path, rate, 2 * scale.seconds)
        for handler in compared
        if handler.name not in kind.left_out
    }
    return take(works, BARE, number, scale.within(f"{SUBJECT}, {scale.rounds} rounds, {kind.name} at half load"))


def _latencies(kind: Kind, measured: list[tuple[str, Latency]], rate: float) -> Iterator[Figure]:
    for field in ("p50", "p99", "p999"):
        by_handler = series([(name, getattr(result, field)) for name, result in measured], BARE)
        most = LATENCY_MARGIN * max(1.0, by_handler[AGAIN].ratio.high)
        for name, result in by_handler.items():
            promised = name == OURS and field == "p99" and kind.reach is not None
            reach = Reach(result.reference.middle * 1e6 * most) if promised else None
            reference = ("bare", result.reference.middle * 1e6, result.ratio)
            title = f"{kind.name}, {field} at {rate:,.0f} requests/s: {name}"
            yield Figure(SUBJECT, title, "us", result.cost.scaled(1e6), len(result.costs), reference, reach)


def _lost(collector: Collector, handler: Handler) -> Figure:
    """Count the requests of full load that are not on the page once everything has been sent."""
    before = _shown(collector)
    begun = load.requests_begun(handler.nginx)
    load.cpu_per_request(handler, "/", 3)
    sent = load.requests_begun(handler.nginx) - begun - 3  # without the requests for the counts themselves
    with suppress(AssertionError):
        wait_until(lambda: _shown(collector) - before >= sent, 10, "the page")
    lost = sent - (_shown(collector) - before)
    title = f"requests lost of {sent:,} at full load of a worker"
    return Figure(SUBJECT, title, "requests", Spread(lost, lost, lost), 1, reach=Reach(0))


def _shown(collector: Collector) -> int:
    counts = counts_of(collector.samples())
    return sum(count for (server, _, _), count in counts.items() if server == sites.SERVER)


@contextmanager
def _started(before: Path | None) -> Iterator[tuple[Collector, list[Handler]]]:
    """Start a collector, all handlers and their backend, all of them new."""
    directory, port = shared_directory(), free_port()
    socket_path = directory / "collector.sock"
    backend = Nginx(socket_path, sites.BACKEND.format(port=port), workers=1, include="")
    compared = handlers(socket_path, port, before)
    with Collector(socket_path) as collector, ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        for nginx in (backend, *(handler.nginx for handler in compared)):
            stack.enter_context(nginx)
        for worker in backend.worker_pids():
            cpu.pin(worker, cpu.LOAD)
        yield collector, compared
        for handler in compared:
            for line in handler.nginx.errors()[:3]:
                sys.stderr.write(f"\r\033[K{handler.name}: {line}\n")


def run(scale: Scale, before: Path | None = None) -> Iterator[Figure]:
    measured: dict[Kind, list[Measurement]] = {kind: [] for kind in (*KINDS, TENANTS_KIND)}
    latencies: dict[Kind, list[tuple[str, Latency]]] = {kind: [] for kind in LATENCY_KINDS}
    rates: dict[Kind, float] = {}
    lost: list[Figure] = []
    with tempfile.NamedTemporaryFile("w") as script:
        script.write(load.TENANTS.format(tenants=TENANTS))
        script.flush()
        for number in range(scale.rounds):
            with _started(before) as (collector, compared):
                for kind in KINDS:
                    measured[kind] += _take_kind(scale, number, kind, compared, None)
                with_tenants = [handler for handler in compared if handler.name in (BARE, AGAIN, OURS, ROWS)]
                measured[TENANTS_KIND] += _take_kind(scale, number, TENANTS_KIND, with_tenants, Path(script.name))
                by_name = {handler.name: handler for handler in compared}
                for kind, of_kind in latencies.items():
                    if kind not in rates:  # half of the full load
                        rates[kind] = 0.5 / load.cpu_per_request(by_name[BARE], kind.path, scale.seconds)
                    of_kind += _take_latencies(scale, number, kind, compared, rates[kind])
                lost = lost or [_lost(collector, by_name[OURS])]
    for kind, costs in measured.items():
        by_handler = series(costs, BARE)
        yield from (_added(kind, name, result) for name, result in by_handler.items())
        yield from _against_peer(kind, by_handler)
        yield from beyond_empty(kind, by_handler)
    for kind, of_kind in latencies.items():
        yield from _latencies(kind, of_kind, rates[kind])
    yield from lost
