"""Did the page tell the truth all the while? A thread that scrapes it during a scenario and holds it to its promises.

On each page: every counter of the table is where it was or above, and still there; in every histogram
``_bucket{le="+Inf"} == _count``; no label set counts more requests, or durations, than nginx has logged
by then. A page that cannot be had is a broken promise too, but while the scenario says that the collector is ``away``.
"""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException

from support.collector import Collector, Samples, families_of
from support.nginx import with_durations
from support.truth import Truth

PERIOD_SECONDS = 0.2
VIOLATIONS_MOST = 20
STATES = (
    "resty_metrics_socket_up",
    "resty_metrics_socket_contended",
    "resty_metrics_socket_standby",
    "resty_metrics_journal_up",
)
_REQUESTS = (
    "nginx_http_responses_total",
    "nginx_http_request_bytes_total",
    "nginx_http_response_bytes_total",
    "nginx_http_request_duration_seconds",
)


def _of_table(name: str) -> bool:
    """Whether a counter comes from the workers' batches, so that the journal keeps it."""
    if name.startswith("resty_metrics_worker_"):
        return name.endswith("_total")
    return name.startswith(_REQUESTS) or name == "resty_metrics_requests_ended_total"


class Sampler(threading.Thread):
    """Scrapes until ``stop``. ``violations``: the promises that were broken; ``slowest``: seconds of a scrape."""

    def __init__(self, collector: Collector, truth: Truth) -> None:
        super().__init__(name="sampler")
        self.violations: list[str] = []
        self.pages = 0
        self.slowest = 0.0
        self._seen: dict[str, set[float]] = {name: set() for name in STATES}
        self._collector = collector
        self._truth = truth
        self._before: Samples = {}
        self._excused_until = -math.inf
        self._done = threading.Event()

    def stop(self) -> None:
        self._done.set()
        self.join()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Pages may be missing: the collector is stopped, or has no descriptor for a client."""
        self._excused_until = math.inf
        yield
        self._excused_until = time.monotonic()

    def forget(self) -> None:
        """The journal did not hold: counters may begin again."""
        self._before = {}

    def saw(self, name: str, value: float) -> bool:
        """Whether one of the STATES was ever this."""
        return value in self._seen[name]

    def run(self) -> None:
        while not self._done.wait(PERIOD_SECONDS):
            began = time.monotonic()
            try:
                samples = self._collector.samples()
            except (OSError, HTTPException) as error:
                if began >= self._excused_until:
                    self._violation(f"no page: {error}")
                continue
            if began >= self._excused_until:
                self.slowest = max(self.slowest, time.monotonic() - began)
            try:
                self._look(samples)
            except Exception as error:
                self._violation(f"a page that cannot be understood: {error!r}")

    def _look(self, samples: Samples) -> None:
        self.pages += 1
        self._look_back(samples)
        for (name, labels), value in samples.items():
            if name.endswith("_bucket") and ("le", "+Inf") in labels:
                count = samples[name.removesuffix("_bucket") + "_count", labels - {("le", "+Inf")}]
                if count != value:
                    self._violation(f"{name}{dict(labels)} is {value}, its count {count}")
        for name in STATES:
            value_now = samples.get((name, frozenset()))
            if value_now is not None:
                self._seen[name].add(value_now)
        (counts, durations), (logged, logged_durations) = families_of(samples), with_durations(self._truth.counts())
        too_many = [*(counts - logged).items(), *(durations - logged_durations).items()]
        if too_many:
            self._violation(f"the page counts more than nginx has logged: {too_many}")

    def _look_back(self, samples: Samples) -> None:
        now = {key: value for key, value in samples.items() if _of_table(key[0])}
        for key, before in self._before.items():
            if now.get(key, -1) < before:
                self._violation(f"{key[0]}{dict(key[1])} went from {before} to {now.get(key)}")
        self._before = now

    def _violation(self, text: str) -> None:
        if len(self.violations) < VIOLATIONS_MOST:
            self.violations.append(text)
