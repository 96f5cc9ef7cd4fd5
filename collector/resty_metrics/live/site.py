"""The judgement of a site's requests, for the live page and top: do many fail, are many slow?

Rules:
- The thresholds are those of the alerts NginxErrorRatioHigh and NginxLatencyHigh, which look at five minutes.
- An alert needs more than one request per second for five minutes: 300 requests, 15 of them failed. A shorter window
  has to show as many: a single failure after the start is no finding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from resty_metrics.health.judge import named
from resty_metrics.health.troubles import Severity
from resty_metrics.live import words
from resty_metrics.live.words import duration, number, percent
from resty_metrics.shapes.quantile import Buckets, Quantile, quantile

WINDOW_SECONDS = 300.0
LEAST_RATE = 1.0  # requests per second
MOST_ERRORS = 0.05
MOST_TAIL = 1.0  # seconds
LEAST_JUDGED = WINDOW_SECONDS * LEAST_RATE  # requests
LEAST_ERRORS = LEAST_JUDGED * MOST_ERRORS
LEAST_REQUESTS = 100  # that a p99 needs: of fewer it is the slowest one
MEDIAN, TAIL = 0.5, 0.99


@dataclass(frozen=True, slots=True)
class Load:
    """The requests of one server in a window. ``errors``: the number of answers with 5xx."""

    server: str
    requests: float
    errors: float
    seconds: float
    p99: Quantile | None


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding about the site. ``name``: its alert's; ``evidence``: what shows it; ``remedy``: an instruction."""

    name: str
    severity: Severity
    title: str
    evidence: str
    remedy: str


def tail(buckets: Buckets) -> Quantile | None:
    """Return the p99 of durations; None where there are too few of them."""
    return quantile(TAIL, *buckets) if sum(buckets[1]) >= LEAST_REQUESTS else None


def judge(loads: Sequence[Load]) -> list[Finding]:
    """Return the findings about these servers."""
    busy = [load for load in loads if load.seconds and load.requests / load.seconds > LEAST_RATE]
    return [*_failing([load for load in busy if _fails(load)]), *_slow([load for load in busy if _is_slow(load)])]


def _fails(load: Load) -> bool:
    return load.errors >= LEAST_ERRORS and load.errors / load.requests > MOST_ERRORS


def _is_slow(load: Load) -> bool:
    return load.requests >= LEAST_JUDGED and load.p99 is not None and load.p99 > MOST_TAIL


def _failing(loads: Sequence[Load]) -> Iterator[Finding]:
    if loads:
        texts = [
            f"{load.server}: {percent(load.errors / load.requests)} of {number(load.requests / load.seconds)}/s"
            for load in loads
        ]
        yield Finding(
            "NginxErrorRatioHigh",
            "critical",
            "Requests fail",
            f"answers with 5xx over the last {_span(loads)}: {named(texts)}",
            "See origin and reason of nginx_http_failed_requests_total on /metrics. Origin upstream: the application "
            "answered so, see its log. Origin nginx: see nginx's error log.",
        )


def _slow(loads: Sequence[Load]) -> Iterator[Finding]:
    if loads:
        texts = [f"{load.server}: {words.quantile(load.p99)}" for load in loads]
        yield Finding(
            "NginxLatencyHigh",
            "warning",
            "One request in a hundred takes longer than a second",
            f"the p99 over the last {_span(loads)}: {named(texts)}",
            "Check whether upstreams take that long, or clients are slow. Give long polls and downloads a scope of "
            "their own (docs/labels.md).",
        )


def _span(loads: Sequence[Load]) -> str:
    return duration(max(load.seconds for load in loads))
