"""The live page as a browser shows it, of a real collector and a real nginx; how much time goes by for them is the
test's to say."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.browser import Browser
from support.client import get
from support.clock import Clock, hurried
from support.collector import Collector
from support.nginx import Nginx, shared_directory
from support.wait import free_port, wait_until

NEWS_SECONDS = 30.0  # a refresh, a heartbeat that expires, and a slow machine
SITE = """
include {share}/nginx.conf.d/lifecycle.conf;
include {share}/nginx.conf.d/stub-status.conf;
server {
    listen 127.0.0.1:PORT;
    server_name shop.example;
    location / { return 200 "ok"; }
    location /bad { return 502; }
    location /slow { echo_sleep 1.5; echo ok; }
    location /held { echo_read_request_body; echo ok; }
    location /any { content_by_lua_block { ngx.status = tonumber(ngx.var.arg_status) ngx.print("any") } }
}
server { listen 127.0.0.1:PORT; server_name "api.example"; location / { echo_sleep 0.02; echo ok; } }
"""


class Viewing:
    """An nginx, a collector and a browser that looks at its live page."""

    def __init__(
        self, directory: Path, nginx: Nginx, collector: Collector, browser: Browser, port: int, clock: Clock
    ) -> None:
        self.directory, self.nginx, self.collector, self.browser = directory, nginx, collector, browser
        self.port, self.clock = port, clock

    def open(self) -> None:
        self.browser.look()
        self.reopen()

    def reopen(self) -> None:
        """As the browser looks now."""
        self.browser.driver.get(f"{self.collector.url}/")

    def ask(self, count: int, server: str = "shop.example", path: str = "/") -> None:
        get(self.port, path, {"Host": server}, count, kept=True)

    def warnings(self) -> set[str]:
        """The names of the warnings that the browser shows."""
        script = "return [...document.querySelectorAll('.notices li')].map((one) => one.dataset.name)"
        return set(self.browser.run(script))

    def text(self, css: str) -> str:
        return self.texts(css)[0].strip()

    def texts(self, css: str) -> list[str]:
        script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)"
        return list(self.browser.run(script, css))

    def wake(self) -> None:
        """As somebody who comes back to this tab does."""
        self.browser.run("document.dispatchEvent(new Event('visibilitychange'))")

    def told(self) -> set[str]:
        """The warnings, as somebody sees them who keeps coming back."""
        self.wake()
        return self.warnings()

    def appear(self, *names: str) -> None:
        wait_until(lambda: self.told() >= {*names}, NEWS_SECONDS, f"{names}")

    def go(self, *names: str) -> None:
        wait_until(lambda: not self.told() & {*names}, NEWS_SECONDS, f"the end of {names}")


@contextmanager
def opened(
    browser: Browser, http: str = SITE, spool: str = "8m", times: int = 1, workers: int = 2
) -> Iterator[Viewing]:
    """``http``: PORT in it is the port to ask. ``spool``: the size of nginx's dictionary. ``times``: how fast time goes
    for nginx and the collector; 1: as it does, and the collector's clock can be set forward.

    The browser complains of nothing.
    """
    directory, port = shared_directory(), free_port()
    socket_path, state = directory / "run" / "collector.sock", directory / "state"
    socket_path.parent.mkdir(mode=0o755)
    state.mkdir()
    (directory / "resty-metrics.yml").touch()
    clock = Clock(directory / "clock", monotonic=True)
    of_nginx, of_collector = ({}, clock.environment) if times == 1 else (hurried(times), hurried(times))
    nginx = Nginx(socket_path, http.replace("PORT", str(port)), workers=workers, environment=of_nginx)
    include = nginx.share / "nginx.conf.d" / "resty-metrics.conf"
    include.write_text(include.read_text().replace("resty_metrics_spool 8m;", f"resty_metrics_spool {spool};"))
    with nginx:
        arguments = (
            f"--source.stub-status=http://{nginx.stub_status}/stub_status",
            f"--state.dir={state}",
            f"--config.file={directory}/resty-metrics.yml",
        )
        with Collector(socket_path, *arguments, environment=of_collector) as collector:
            wait_until(lambda: all_heard(collector), NEWS_SECONDS, "the workers' heartbeats")
            yield Viewing(directory, nginx, collector, browser, port, clock)
            browser.driver.get("about:blank")  # so that it no longer asks
            assert browser.complaints() == []
    shutil.rmtree(directory, ignore_errors=True)


def all_heard(collector: Collector) -> bool:
    """Whether a heartbeat of each worker is alive."""
    seen = collector.value("resty_metrics_workers_seen")
    return seen is not None and seen == collector.value("resty_metrics_workers_expected")
