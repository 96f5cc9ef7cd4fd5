"""The live page in a real browser, of a real collector and a real nginx, in real faults."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from support import impostors
from support.browser import CHROMEDRIVER, CHROMIUM, Browser
from support.client import get
from support.collector import Collector
from support.nginx import Nginx, shared_directory
from support.wait import free_port, wait_until
from support.worker import Worker, counter

from collector.table.families import MAX_ROWS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (Path(CHROMIUM).exists() and Path(CHROMEDRIVER).exists()), reason="chromium and chromium-driver are needed"
    ),
]
NEWS_SECONDS = 30.0  # a refresh, a heartbeat that expires, and a slow machine
SITE = """
include {share}/nginx.conf.d/lifecycle.conf;
include {share}/nginx.conf.d/stub-status.conf;
server {
    listen 127.0.0.1:PORT;
    server_name shop.example;
    location / { return 200 "ok"; }
    location /bad { return 502; }
}
server { listen 127.0.0.1:PORT; server_name "api.example"; location / { echo_sleep 0.02; echo ok; } }
"""


class Stage:
    """An nginx, a collector and a browser that looks at its live page."""

    def __init__(self, directory: Path, nginx: Nginx, collector: Collector, browser: Browser, port: int) -> None:
        self.directory, self.nginx, self.collector, self.browser = directory, nginx, collector, browser
        self._port = port

    def open(self) -> None:
        self.browser.driver.get(f"{self.collector.url}/")

    def ask(self, count: int, server: str = "shop.example", path: str = "/") -> None:
        get(self._port, path, {"Host": server}, count, kept=True)

    def warnings(self) -> list[str]:
        """The names of the warnings that the browser shows."""
        script = "return [...document.querySelectorAll('.notices li')].map((one) => one.dataset.name)"
        return list(self.browser.run(script))

    def text(self, css: str) -> str:
        return self.texts(css)[0].strip()

    def texts(self, css: str) -> list[str]:
        script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)"
        return list(self.browser.run(script, css))

    def wake(self) -> None:
        """As somebody who comes back to this tab does."""
        self.browser.run("document.dispatchEvent(new Event('visibilitychange'))")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    directory, port = shared_directory(), free_port()
    socket_path = directory / "run" / "collector.sock"
    socket_path.parent.mkdir(mode=0o755)
    with Nginx(socket_path, SITE.replace("PORT", str(port))) as nginx:
        state = directory / "state"
        state.mkdir()
        (directory / "resty-metrics.yml").touch()
        arguments = (
            f"--source.stub-status=http://{nginx.stub_status}/stub_status",
            f"--state.dir={state}",
            f"--config.file={directory}/resty-metrics.yml",
        )
        with (
            Collector(socket_path, *arguments) as collector,
            Browser(tmp_path_factory.mktemp("chromium")) as browser,
        ):
            made = Stage(directory, nginx, collector, browser, port)
            made.ask(30)
            made.ask(10, "api.example")
            wait_until(lambda: "api.example</h3>" in collector.page("/"), NEWS_SECONDS, "the first figures")
            yield made
            assert browser.complaints() == []
    shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.parametrize(
    ("width", "dark"), [(1200, False), (1200, True), (390, False), (390, True), (320, False)], ids=str
)
def test_no_serious_violation_no_complaint_and_nothing_sticks_out(stage: Stage, width: int, dark: bool) -> None:
    stage.browser.look(width=width, dark=dark)
    stage.open()
    assert stage.browser.run("return document.documentElement.scrollWidth") == width
    assert stage.browser.violations() == []
    assert stage.browser.complaints() == []


def test_it_is_whole_without_script(stage: Stage) -> None:
    stage.browser.look(script=False)
    stage.open()
    driver = stage.browser.driver
    assert "shop.example" in [one.text for one in driver.find_elements(By.TAG_NAME, "h3")]
    assert driver.find_elements(By.CSS_SELECTOR, "svg path.line")
    (refresh,) = driver.find_elements(By.CSS_SELECTOR, 'meta[http-equiv="refresh"]')
    assert refresh.get_attribute("content") == "10"
    assert not driver.find_element(By.ID, "pause").is_displayed()


def test_the_keyboard_reaches_everything_and_stays_where_it_is(stage: Stage) -> None:
    stage.browser.look(width=390)
    stage.open()
    body = stage.browser.driver.switch_to.active_element
    seen = []
    for _ in range(7):
        body.send_keys(Keys.TAB)
        body = stage.browser.driver.switch_to.active_element
        seen.append(body.get_attribute("id") or body.text)
    assert seen == ["To the servers", "/metrics", "/-/ready", "/-/healthy", "pause", "top-table", "workers-table"]
    before = stage.text("#time")
    wait_until(lambda: f'id="time">{before}' not in stage.collector.page("/"), message="another page")
    stage.wake()
    wait_until(lambda: stage.text("#time") != before, NEWS_SECONDS, "a refresh")
    assert stage.browser.driver.switch_to.active_element.get_attribute("id") == "workers-table"


def test_it_can_be_paused(stage: Stage) -> None:
    stage.browser.look()
    stage.open()
    button = stage.browser.driver.find_element(By.ID, "pause")
    button.click()
    assert button.text == "Go on"
    paused = stage.text("#time")
    wait_until(lambda: f'id="time">{paused}' not in stage.collector.page("/"), message="another page")
    assert stage.text("#time") == paused
    button.click()
    wait_until(lambda: stage.text("#time") != paused, NEWS_SECONDS, "a refresh")


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


def test_warnings_come_with_their_faults_and_go_with_them(stage: Stage) -> None:
    """All at once, since a heartbeat takes a quarter of a minute to expire; the page is not reloaded by hand."""
    stage.browser.look()
    stage.open()
    assert stage.warnings() == []
    assert stage.text("#state").endswith("Everything works")
    stage.ask(600, path="/bad")
    faults = {"RestyMetricsSocketDown", "RestyMetricsSourceDown", "RestyMetricsJournalDown"}
    blocked = [Blocked(stage.collector.socket_path.parent), Blocked(stage.directory / "state")]
    stage.nginx.quit()
    for one in blocked:
        one.begin()
    wait_until(lambda: {*stage.warnings()} >= {*faults, "NginxErrorRatioHigh"}, NEWS_SECONDS, "the warnings")
    assert "shop.example: " in stage.text('[data-name="NginxErrorRatioHigh"]')
    wait_until(
        lambda: len(stage.texts('[data-name="RestyMetricsSourceDown"]')) == 2, NEWS_SECONDS, "Lua's and stub_status's"
    )
    for width, dark in ((1200, False), (1200, True), (320, False)):
        stage.browser.look(width=width, dark=dark)
        assert stage.browser.run("return document.documentElement.scrollWidth") == width
        assert stage.browser.violations() == []
    for one in blocked:
        one.end()
    stage.nginx.start()
    wait_until(lambda: not faults & {*stage.warnings()}, NEWS_SECONDS, "the end of the warnings")


def configured(stage: Stage, text: str) -> None:
    (stage.directory / "resty-metrics.yml").write_text(text)
    stage.collector.signal(signal.SIGHUP)


def rows_of_a_family(first: int) -> dict[str, Any]:
    """A batch of a thousand rows."""
    body = counter("jobs_total", 1, {"id": first})
    body["families"][0]["rows"] = [[str(number), 1] for number in range(first, first + 1000)]
    return body


def test_a_worker_that_hangs_and_a_configuration_that_is_refused(stage: Stage) -> None:
    """They too go with their causes."""
    faults = {"RestyMetricsWorkersMissing", "RestyMetricsConfigRefused"}
    stage.browser.look()
    stage.open()
    wait_until(lambda: not faults & {*stage.warnings()}, NEWS_SECONDS, "no warning of these")
    hanging = stage.nginx.worker_pids()[0]
    os.kill(hanging, signal.SIGSTOP)
    try:
        configured(stage, "nonsense: 1\n")
        wait_until(lambda: {*stage.warnings()} >= faults, NEWS_SECONDS, "the warnings")
    finally:
        os.kill(hanging, signal.SIGCONT)
    configured(stage, "")
    wait_until(lambda: not faults & {*stage.warnings()}, NEWS_SECONDS, "the end of the warnings")


def test_what_was_refused_lost_full_or_replaced_is_said(stage: Stage) -> None:
    """For ten minutes and more, or until the collector starts anew."""
    faults = {
        "RestyMetricsRefusals", "RestyMetricsRowsLost", "RestyMetricsOverflow", "RestyMetricsSocketContended",
    }  # fmt: skip
    stage.browser.look()
    stage.open()
    assert not faults & {*stage.warnings()}
    with Worker(stage.collector.socket_path) as worker:
        worker.send(worker.next_batch(counter("jobs_total", -1, {"id": "x"})))
        for first in range(0, MAX_ROWS + 1000, 1000):
            worker.send(worker.next_batch(rows_of_a_family(first)))
        worker.probe()
    with impostors.returns(stage.collector.socket_path):
        wait_until(lambda: {*stage.warnings()} >= faults, NEWS_SECONDS, "the warnings")
    assert "invalid" in stage.text('[data-name="RestyMetricsRefusals"]')
    assert "id has " in stage.text('[data-name="RestyMetricsOverflow"]')
    assert "doctor --watch" in stage.text('[data-name="RestyMetricsSocketContended"]')
    stage.collector.terminate()
    stage.collector.start()
    stage.wake()
    wait_until(lambda: not faults & {*stage.warnings()}, NEWS_SECONDS, "the end of the warnings")
    assert all("ERR_CONNECTION_REFUSED" in one for one in stage.browser.complaints())


def test_a_collector_that_is_gone_is_said_to_be(stage: Stage) -> None:
    stage.browser.look()
    stage.open()
    assert not stage.browser.driver.find_element(By.ID, "lost").is_displayed()
    stage.collector.terminate()
    stage.wake()
    wait_until(lambda: stage.browser.driver.find_element(By.ID, "lost").is_displayed(), NEWS_SECONDS, "the word")
    stage.collector.start()
    stage.wake()
    wait_until(lambda: not stage.browser.driver.find_element(By.ID, "lost").is_displayed(), NEWS_SECONDS, "the page")
    assert all("ERR_CONNECTION_REFUSED" in one for one in stage.browser.complaints())
