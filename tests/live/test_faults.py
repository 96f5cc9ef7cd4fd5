"""Each warning of the live page comes with a real fault and goes when that is mended, as a real browser shows it.

What is said of the last five or ten minutes goes with them: the collector's clock is set forward.
"""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from resty_metrics.ingest.beats import GAUGES_SECONDS
from resty_metrics.live.site import WINDOW_SECONDS
from resty_metrics.observer.counts import SPAN_SECONDS
from resty_metrics.table.families import MAX_ROWS
from support import impostors
from support.browser import CHROMEDRIVER, CHROMIUM, Browser
from support.client import requests_begun
from support.collector import Collector
from support.stalls import stalled
from support.viewing import NEWS_SECONDS, Viewing, opened
from support.wait import wait_until
from support.worker import Worker, counter

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (Path(CHROMIUM).exists() and Path(CHROMEDRIVER).exists()), reason="chromium and chromium-driver are needed"
    ),
]
OUR_LINE = '(package.loaded["resty.metrics"] or dofile("{share}/lua/resty/metrics/load.lua")).log()'
TIMES = 20
STATUSES = range(305, 600)  # so many rows that their batches fill a small spool
OWN_HOOKS = """
include {share}/nginx.conf.d/lifecycle.conf;
include {share}/nginx.conf.d/stub-status.conf;
server {
    listen 127.0.0.1:PORT;
    server_name shop.example;
    log_by_lua_block { SERVER }
    location / { return 200 "ok"; }
    location /left { log_by_lua_block { LOCATION } return 200 "ok"; }
}
"""


@pytest.fixture(scope="module")
def stage(browser: Browser) -> Iterator[Viewing]:
    with opened(browser) as made:
        yield made


class Blocked:
    """A directory that is out of the way while a file stands in its place, in which nothing can be made."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._aside = directory, directory.with_name(f"{directory.name}.aside")

    def begin(self) -> None:
        self._directory.rename(self._aside)
        self._directory.touch()

    def end(self) -> None:
        self._directory.unlink()
        self._aside.rename(self._directory)


def test_nothing_works(stage: Viewing) -> None:
    """All at once; the page is not asked for by hand, also not by somebody who comes back to it."""
    stage.open()
    assert stage.warnings() == set()
    assert stage.text("#state").endswith("Everything works")
    faults = {"RestyMetricsSocketDown", "RestyMetricsSourceDown", "RestyMetricsJournalDown"}
    blocked = [Blocked(stage.collector.socket_path.parent), Blocked(stage.directory / "state")]
    stage.nginx.quit()
    for one in blocked:
        one.begin()
    stage.clock.forward(GAUGES_SECONDS)
    wait_until(lambda: stage.warnings() >= faults, NEWS_SECONDS, "the warnings")
    assert "RestyMetricsWorkersMissing" not in stage.warnings(), "they said bye"
    for width, dark in ((1200, False), (1200, True), (320, False)):
        stage.browser.look(width=width, dark=dark)
        assert stage.browser.run("return document.documentElement.scrollWidth") == width
        assert stage.browser.violations() == []
    for one in blocked:
        one.end()
    stage.nginx.start()
    wait_until(lambda: not stage.warnings() & faults, NEWS_SECONDS, "the end of the warnings")


def test_requests_that_fail_and_requests_that_are_slow(stage: Viewing) -> None:
    """As long as they are among those of five minutes."""
    faults = ("NginxErrorRatioHigh", "NginxLatencyHigh")
    stage.open()
    stage.go(*faults)
    with ThreadPoolExecutor(40) as clients:
        slow = [clients.submit(stage.ask, 1, path="/slow") for _ in range(40)]
        stage.ask(2000, path="/bad")
        for one in slow:
            one.result()
    stage.appear(*faults)
    assert "shop.example: " in stage.text('[data-name="NginxErrorRatioHigh"]')
    assert "shop.example: " in stage.text('[data-name="NginxLatencyHigh"]')
    stage.ask(300)
    stage.clock.forward(WINDOW_SECONDS)
    stage.ask(300)
    stage.go(*faults)


def configured(stage: Viewing, text: str) -> None:
    (stage.directory / "resty-metrics.yml").write_text(text)
    stage.collector.signal(signal.SIGHUP)


def rows_of_a_family(first: int) -> dict[str, Any]:
    """A batch of a thousand rows."""
    body = counter("jobs_total", 1, {"id": first})
    body["families"][0]["rows"] = [[str(number), 1] for number in range(first, first + 1000)]
    return body


def test_a_worker_that_hangs_and_a_configuration_that_is_refused(stage: Viewing) -> None:
    faults = ("RestyMetricsWorkersMissing", "RestyMetricsConfigRefused")
    stage.open()
    stage.go(*faults)
    hanging = stage.nginx.worker_pids()[0]
    os.kill(hanging, signal.SIGSTOP)
    try:
        configured(stage, "nonsense: 1\n")
        stage.clock.forward(GAUGES_SECONDS)
        stage.appear(*faults)
    finally:
        os.kill(hanging, signal.SIGCONT)
    check = f"resty-metrics check-config {stage.directory}/resty-metrics.yml"
    assert check in stage.text('[data-name="RestyMetricsConfigRefused"] .command')
    configured(stage, "")
    stage.go(*faults)


def test_what_was_refused_lost_full_or_replaced(stage: Viewing) -> None:
    """The page says it for ten minutes."""
    faults = (
        "RestyMetricsRefusals", "RestyMetricsRowsLost", "RestyMetricsOverflow", "RestyMetricsSocketContended",
    )  # fmt: skip
    stage.open()
    stage.go(*faults)
    with Worker(stage.collector.socket_path) as worker:
        worker.send(worker.next_batch(counter("jobs_total", -1, {"id": "x"})))
        for first in range(0, MAX_ROWS + 1000, 1000):
            worker.send(worker.next_batch(rows_of_a_family(first)))
        worker.send(b"no datagram of ours".ljust(100))
        worker.probe()
    with impostors.returns(stage.collector.socket_path):
        stage.appear(*faults)
    assert "magic" in stage.text('[data-name="RestyMetricsRefusals"]')
    assert "id of jobs_total has " in stage.text('[data-name="RestyMetricsOverflow"]')
    assert "doctor --watch" in stage.text('[data-name="RestyMetricsSocketContended"]')
    stage.clock.forward(SPAN_SECONDS)
    stage.go(*faults)


def test_a_second_collector(stage: Viewing) -> None:
    """The lock file was removed while the first one could not see to it, so nothing kept the second from starting."""
    stage.open()
    path = stage.collector.socket_path
    stage.collector.signal(signal.SIGSTOP)
    try:
        path.with_name(f"{path.name}.lock").unlink()
        with Collector(path, f"--state.dir={stage.directory}/second") as second:
            stage.collector.signal(signal.SIGCONT)
            stage.appear("RestyMetricsStandby")
            assert "RestyMetricsSocketDown" not in stage.warnings()
            second.terminate()
            stage.go("RestyMetricsStandby", "RestyMetricsSocketDown")
    finally:
        stage.collector.signal(signal.SIGCONT)


@pytest.fixture
def small_spool(browser: Browser) -> Iterator[Viewing]:
    """And one worker at a time, so that it is known which one has what."""
    with opened(browser, spool="32k", workers=1) as made:
        yield made


def test_a_worker_ends_while_the_journal_stalls(small_spool: Viewing) -> None:
    """What it sent and what was not written is in the spool, until it is. A request keeps it until the one that follows
    waits for an answer too, and so inherits nothing."""
    stage = small_spool
    stage.open()
    stage.go("RestyMetricsSpoolFull")

    def beats() -> float:
        return stage.collector.value("resty_metrics_datagrams_total", result="heartbeat") or 0

    def asked_for_much() -> None:
        for status in STATUSES:
            stage.ask(1, path=f"/any?status={status}")
        before = beats()
        wait_until(lambda: beats() >= before + 4, NEWS_SECONDS, "two ticks, of two workers")

    with stalled(stage.directory / "state"):
        with requests_begun(stage.port, "/held", 1):
            asked_for_much()
            stage.nginx.reload()
            asked_for_much()
        stage.appear("RestyMetricsSpoolFull", "RestyMetricsJournalStalls")
    stage.go("RestyMetricsSpoolFull", "RestyMetricsJournalStalls")


# a configuration with log hooks of its own ----------------------------------------------------------------------------


@pytest.fixture
def own_hooks(browser: Browser) -> Iterator[Viewing]:
    """They lack our line. Time goes faster, since coverage is over five minutes."""
    with opened(browser, hooks("", ""), times=TIMES) as made:
        yield made


def hooks(server: str, location: str) -> str:
    return OWN_HOOKS.replace("SERVER", server).replace("LOCATION", location)


def mended(stage: Viewing, server: str, location: str) -> None:
    stage.nginx.configure(hooks(server, location).replace("PORT", str(stage.port)))
    stage.nginx.reload()


def test_hooks_that_lack_our_line(own_hooks: Viewing) -> None:
    """All of them, then one, then none."""
    stage = own_hooks
    stage.open()
    assert stage.warnings() == set()

    def told() -> set[str]:
        stage.ask(10)
        stage.ask(10, path="/left")
        return stage.told()

    wait_until(lambda: "RestyMetricsNothingArrives" in told(), NEWS_SECONDS, "the first warning")
    mended(stage, OUR_LINE, "")
    wait_until(lambda: "RestyMetricsNothingArrives" not in told(), NEWS_SECONDS, "its end")
    wait_until(lambda: "RestyMetricsCoverage" in told(), 2 * NEWS_SECONDS, "the second warning")
    assert "Some requests of nginx are not counted" in stage.text('[data-name="RestyMetricsCoverage"]')
    mended(stage, OUR_LINE, OUR_LINE)
    wait_until(
        lambda: "RestyMetricsCoverage" not in told() and "100 %" in stage.text(".health"), 2 * NEWS_SECONDS, "its end"
    )
