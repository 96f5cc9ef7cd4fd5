"""Where a chaos scenario plays: nginx under load, a collector with a journal, and who watches both.

A scenario is short: it inflicts a fault while ``stage.load()`` runs, takes the cause away, asks for ``heals`` and
``flows``, and ends with ``conserved``. What was measured is kept in RESULTS for the summary.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.collector import Collector
from support.doctor import Diagnosis, command_of, diagnose
from support.load import Load
from support.nginx import Counts, Nginx, with_durations
from support.reach import answers
from support.sampler import Sampler
from support.truth import Truth
from support.wait import free_port, wait_until

CONNECTIONS, DELAY_MS = 96, 10  # wrk asks for about 9,000 requests/s
RATE = 5_000  # requests/s that the long form must have reached on average
LONGEST_SECONDS = 600
HEALS_SECONDS = 1.0  # from the end of the cause to a healthy socket
SLOW_HEALS_SECONDS = 5.0  # where a process was stopped or started, or while the path is contended
MACHINE_SECONDS = 1.0  # what a shared machine may add: a page is asked for, made and read until it is known
FRESH_SECONDS = 2.0  # from the end of a request to the page
OVERDUE_SECONDS = 3.0  # until a worker whose datagrams are swallowed gives up on its line, wherever that leads
KEEPS_TOUCHING = "another program keeps removing or replacing the socket"

SITE = """
    {lifecycle}
    server {{
        listen 127.0.0.1:{port} backlog=4096 reuseport;
        server_name a.example;
        location / {{ return 200 "ok\\n"; }}
        location /created {{ return 201 "made\\n"; }}
        location /missing {{ return 404; }}
        location /broken {{ return 500; }}
        location /slow {{ echo_sleep 0.05; echo slow; }}
    }}
    server {{
        listen 127.0.0.1:{port};
        server_name b.example;
        location / {{ return 200 "b\\n"; }}
    }}
"""

SCRIPT = """
local paths = {{ "/", "/created", "/missing", "/broken", "/", "/created", "/" }}
local methods = {{ "GET", "POST", "PUT", "DELETE", "BREW" }}
local hosts = {{ "a.example", "b.example" }}
local n = 0
request = function()
    n = n + 1
    local path = n % 97 == 0 and "/slow" or paths[n % #paths + 1]
    return wrk.format(methods[n % #methods + 1], path, {{ Host = hosts[n % #hosts + 1] }})
end
delay = function()
    return {delay}
end
"""


@dataclass(slots=True)
class Result:
    """What one scenario measured: seconds by what was waited for, requests, and seconds of load."""

    name: str
    requests: int = 0
    load_seconds: float = 0.0
    waits: list[tuple[str, float]] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return self.requests / self.load_seconds if self.load_seconds else 0.0


RESULTS: list[Result] = []


class Stage:
    """One nginx of two workers, one collector, one sampler. ``long``: the full counts of a scenario;
    ``path``: where we see the socket."""

    def __init__(
        self,
        name: str,
        directory: Path,
        collector: Collector,
        nginx: Nginx,
        port: int,
        long: bool,
        path: Path | None = None,
    ) -> None:
        self.directory, self.collector, self.nginx, self.long = directory, collector, nginx, long
        self.port = port
        self.path = path or collector.socket_path
        self.truth = Truth(nginx.access_log)
        self.sampler = Sampler(collector, self.truth)
        self.result = Result(name)
        self.load_under: tuple[str, ...] = ()
        self.nginx_under: tuple[str, ...] = ()
        self._script = directory / "load.lua"
        self._script.write_text(SCRIPT.format(delay=DELAY_MS))

    def times(self, bounded: int, full: int) -> int:
        """How often: fewer in the bounded form."""
        return full if self.long else bounded

    # load ------------------------------------------------------------------------------------------------------------

    @contextmanager
    def load(self) -> Iterator[Load]:
        """Requests on two workers until the block ends."""
        url = f"http://127.0.0.1:{self.port}/"
        before, began = self.truth.total(), time.monotonic()
        load = Load(url, LONGEST_SECONDS, CONNECTIONS, str(self._script), self.load_under)
        try:
            self.handles(1000)
            yield load
        finally:
            load.stop()
            self.result.load_seconds += time.monotonic() - began
            self.result.requests += self.truth.total() - before

    def handles(self, requests: int, timeout: float = 60) -> None:
        """Wait until nginx has handled so many requests more: an amount, which a slow machine reaches as well."""
        wanted = self.truth.total() + requests
        wait_until(lambda: self.truth.total() >= wanted, timeout, f"{requests} requests")

    # healing ---------------------------------------------------------------------------------------------------------

    def heals(self, within: float = HEALS_SECONDS) -> None:
        """The cause has just gone away: wait for a socket that is well, and says so."""
        self.measure("heals", self.well, within)

    def well(self) -> bool:
        """Whoever asks at the path is answered, and the page and /-/ready say that the socket is the collector's.

        That somebody kept touching it is said for a while after it was put right, so that does not count here.
        """
        samples = self.collector.samples()
        up = samples["resty_metrics_socket_up", frozenset()], samples["resty_metrics_socket_standby", frozenset()]
        return up == (1, 0) and answers(self.path) and self.degraded("the socket") == self.degraded(KEEPS_TOUCHING)

    def degraded(self, word: str) -> list[str]:
        """The lines of /-/ready that say what is degraded, and have this word."""
        lines = self.collector.page("/-/ready").splitlines()
        return [line for line in lines if line.startswith("degraded") and word in line]

    def flows(self, within: float = SLOW_HEALS_SECONDS) -> None:
        """Wait until all requests that have ended by now are on the page."""
        logged = self.truth.counts()
        self.measure("flows", lambda: not logged - self.collector.request_counts(), within + FRESH_SECONDS)

    def measure(self, what: str, condition: Callable[[], bool], within: float) -> None:
        """Wait until the condition holds, and note how long. It came too late if a look that found it not to hold began
        later than ``within`` and what the machine may add; how long a look itself takes proves nothing."""
        began, failed = time.monotonic(), 0.0

        def look() -> bool:
            nonlocal failed
            at = time.monotonic() - began
            if condition():
                return True
            failed = at
            return False

        try:
            wait_until(look, max(4 * within, 20), what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.report()}") from None
        self.result.waits.append((what, time.monotonic() - began))
        assert failed <= within + MACHINE_SECONDS, f"{what} not yet after {failed:.2f} s\n{self.report()}"

    def rebinds(self, reason: str) -> float:
        return self.collector.value("resty_metrics_socket_rebinds_total", reason=reason) or 0

    def diagnosis(self) -> Diagnosis:
        """What ``resty-metrics doctor`` says now, run beside all of this."""
        return diagnose(self.path, " ".join([*self.nginx_under, command_of(self.nginx)]))

    def doctor(self, check: str, verdict: str, names: str) -> Diagnosis:
        """doctor has a finding of this check with this verdict that names the cause."""
        found = self.diagnosis()
        seen = found.seen(check, verdict)
        assert names in seen, f"doctor's {check} does not name {names!r}: {seen}"
        return found

    def doctor_finds_only(self, *checks: str) -> Diagnosis:
        """All is well to doctor, but for these: no other WARN or FAIL. It waits for heartbeats first."""
        wait_until(self.workers_heard_of, message="the workers' heartbeats")
        found = self.diagnosis()
        wrong = [one for one in found.report["findings"] if one["verdict"] in ("WARN", "FAIL")]
        assert {one["check"] for one in wrong} == set(checks), f"{wrong}\n{self.report()}"
        return found

    def workers_heard_of(self) -> bool:
        samples = self.collector.samples()
        seen, expected = (samples.get((f"resty_metrics_workers_{word}", frozenset())) for word in ("seen", "expected"))
        return seen is not None and seen == expected

    # conservation ----------------------------------------------------------------------------------------------------

    def conserved(self, timeout: float = 30) -> Counts:
        """Nothing is missing or double, and nothing is on its way that could come a second time."""

        def agree() -> bool:
            samples = self.collector.samples()
            unacked = [n for (name, _), n in samples.items() if name == "resty_metrics_worker_unacked_batches"]
            return self.collector.both_families() == with_durations(self.truth.counts()) and not any(unacked)

        try:
            wait_until(agree, timeout, "page == access_log")
        except AssertionError:
            raise AssertionError(f"the page is not the access_log\n{self.report()}") from None
        return self.truth.counts()

    def told_the_truth(self) -> None:
        """To be asked when all is over."""
        self.sampler.stop()
        violations = "\n".join(self.sampler.violations)
        assert not violations, f"the page did not tell the truth:\n{violations}\n{self.report()}"
        assert self.sampler.pages > 0, "no page was sampled"
        if self.long:
            assert self.result.rate >= RATE, f"only {self.result.rate:.0f} requests/s"

    def report(self) -> str:
        """What differs, and what both sides said of it."""
        return "\n".join(["", *self._differences(), "collector:", *self.collector.log().splitlines()[-60:],
                          "nginx:", *[line for line in self.nginx.log().splitlines() if "resty-metrics" in line][-30:],
                          *self.nginx.errors()[-10:]])  # fmt: skip

    def _differences(self) -> list[str]:
        try:
            counts, durations = self.collector.both_families()
        except OSError as error:
            return [f"no page: {error}"]
        logged, logged_durations = with_durations(self.truth.counts())
        return [*_differences_of(counts, logged), *_differences_of(durations, logged_durations)]


def _differences_of(shown: Counter[Any], logged: Counter[Any]) -> list[str]:
    return [
        f"{' '.join(labels)}: page {shown[labels]}, access_log {logged[labels]}"
        for labels in sorted(shown.keys() | logged.keys())
        if shown[labels] != logged[labels]
    ]


@contextmanager
def play(stage: Stage) -> Iterator[Stage]:
    """Sample while the scenario plays; then the page must have told the truth all the while."""
    stage.sampler.start()
    RESULTS.append(stage.result)
    try:
        yield stage
        stage.told_the_truth()
    finally:
        stage.sampler.stop()


@contextmanager
def opened(name: str, directory: Path, long: bool, environment: Mapping[str, str] | None = None) -> Iterator[Stage]:
    """A stage on this host: the socket in ``directory``/run, the journal in ``directory``/state."""
    run, port = directory / "run", free_port()
    run.mkdir(mode=0o755)
    with (
        Collector(run / "collector.sock", f"--state.dir={directory}/state", environment=environment) as collector,
        Nginx(collector.socket_path, site(port), environment=environment) as nginx,
        play(Stage(name, directory, collector, nginx, port, long)) as stage,
    ):
        yield stage


def site(port: int) -> str:
    return SITE.format(port=port, lifecycle="include {share}/nginx.conf.d/lifecycle.conf;")
