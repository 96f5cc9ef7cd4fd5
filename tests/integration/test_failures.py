"""Requests that failed, each by its real cause, as nginx's own variables have it in the access log."""

import re
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import reasons
from support.causes import CAUSES
from support.certificates import Authority, Certificate
from support.client import get
from support.collector import Collector, Samples
from support.driving import Cause, Site
from support.labels import by_labels
from support.load import Load
from support.misbehaving import Misbehaving, full, silent
from support.nginx import ROOT, Nginx, shared_directory
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

HTTP = """
REASONS
access_log {prefix}/reasons.log reasons;
keepalive_timeout 0;
lingering_close off;
proxy_next_upstream error timeout;
proxy_cache_path {prefix}/cache keys_zone=pages:1m;
limit_req_zone $server_name zone=rate:1m rate=1r/m;
limit_conn_zone $server_name zone=connections:1m;
server { listen 127.0.0.1:ENCRYPTED ssl; ssl_certificate CERTIFICATE; ssl_certificate_key KEY; }
""".replace("REASONS", reasons.LOG_FORMAT)
UPSTREAMS = "include {share}/nginx.conf.d/upstreams.conf;"


def configuration(ports: dict[str, int], words: dict[str, str], with_upstreams: bool) -> str:
    """Return the inside of http{} for all causes."""
    body = HTTP + (UPSTREAMS if with_upstreams else "")
    for cause in CAUSES:
        listen = f"listen 127.0.0.1:{ports[cause.name]} {cause.listen};"
        server = cause.server.replace("SELF", str(ports[cause.name]))
        body += f"{cause.http}\nserver {{ {listen} server_name {cause.name};\n{server} }}\n"
    for word, value in words.items():
        body = body.replace(word, value)
    return body


def certificates(directory: Path) -> tuple[Certificate, dict[str, str]]:
    """Make two authorities: nginx trusts one for clients and upstreams, and has a certificate of the other."""
    trusted, other = Authority(directory, "trusted"), Authority(directory, "other")
    stranger = other.issue("stranger", "DNS:localhost")
    files = {"CERTIFICATE": stranger.certificate, "KEY": stranger.key, "AUTHORITY": trusted.file}
    return stranger, {word: str(path) for word, path in files.items()}


@dataclass(frozen=True)
class Outcome:
    page: Samples
    of_log: reasons.Reasons
    errors: list[str]

    def of(self, name: str) -> Counter[str]:
        """Return what was counted for the server of a cause: "status origin reason"."""
        page = reasons.reasons_of_page(self.page)
        return Counter({" ".join(key): count for (server, *key), count in page.items() if server == name})


@pytest.fixture(scope="module", params=[False, True], ids=["alone", "upstreams.conf"])
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """All causes brought about on one nginx, and counted."""
    directory = shared_directory()
    stranger, words = certificates(tmp_path_factory.mktemp("certificates"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        upstream = stack.enter_context(Misbehaving())
        ports = {cause.name: free_port() for cause in CAUSES}
        words |= {"UPSTREAM": str(upstream.port), "DOWN": str(free_port()), "ENCRYPTED": str(free_port())}
        words |= {"SILENT": str(stack.enter_context(silent())), "FULL": str(stack.enter_context(full()))}
        words["ROOT"] = str(directory)
        (directory / "index.html").write_text("index\n")
        collector = stack.enter_context(Collector(directory / "collector.sock"))
        nginx = stack.enter_context(Nginx(directory / "collector.sock", configuration(ports, words, request.param)))
        site, log = Site(ports, upstream, stranger), nginx.prefix / "reasons.log"
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda cause: cause.drive(site, cause.name), CAUSES))
        expected = sum(len(cause.wanted) for cause in CAUSES)

        def is_counted() -> bool:
            of_log = reasons.reasons_of_log(log)
            return of_log.total() >= expected and reasons.reasons_of_page(collector.samples()) == of_log

        with suppress(AssertionError):  # the tests say what is missing
            wait_until(is_counted, 10, "all failures")
        yield Outcome(collector.samples(), reasons.reasons_of_log(log), nginx.errors())


@pytest.mark.parametrize("cause", CAUSES, ids=[cause.name for cause in CAUSES])
def test_the_reason_of_a_real_cause(outcome: Outcome, cause: Cause) -> None:
    counted = outcome.of(cause.name)
    if cause.polled:
        assert set(counted) == set(cause.wanted)
    else:
        assert counted == Counter(cause.wanted)


def test_reasons_are_those_of_the_access_log(outcome: Outcome) -> None:
    assert reasons.reasons_of_page(outcome.page) == outcome.of_log


def test_reasons_add_up_to_the_responses(outcome: Outcome) -> None:
    counted = reasons.by_status(reasons.reasons_of_page(outcome.page))
    assert counted == reasons.failed_responses(outcome.page)


def test_every_reason_has_a_cause() -> None:
    code = (ROOT / "lua" / "resty" / "metrics" / "failure.lua").read_text()
    named = set(re.findall(r'(\w+) = "(client|cache|upstream|nginx)"', code))
    wanted = {tuple(wanted.split()[:0:-1]) for cause in CAUSES for wanted in cause.wanted}
    assert wanted == named


def test_nothing_of_ours_is_in_the_error_log(outcome: Outcome) -> None:
    assert [line for line in outcome.errors if "lua" in line and "on purpose" not in line] == []


LOADED = """
REASONS
include {share}/nginx.conf.d/upstreams.conf;
access_log {prefix}/reasons.log reasons;
proxy_cache_path {prefix}/cache keys_zone=pages:1m;
limit_req_zone $server_name zone=rate:1m rate=50r/s;
upstream nobody { server 127.0.0.1:DOWN down; server 127.0.0.1:DOWN down; }
upstream retried { server 127.0.0.1:DOWN max_fails=0; server 127.0.0.1:BEHIND max_fails=0; }
server {
    listen 127.0.0.1:PORT;
    server_name a.example;
    location / { return 200; }
    location = /missing { root {prefix}/none; }
    location = /limited { limit_req zone=rate; return 403; }
    location = /refused { proxy_pass http://127.0.0.1:DOWN; }
    location = /nobody { proxy_pass http://nobody; }
    location = /retried { proxy_pass http://retried/500; }
    location = /dropped { proxy_pass http://127.0.0.1:BEHIND/444; }
    location = /cached { proxy_cache pages; proxy_cache_valid any 60s; proxy_pass http://127.0.0.1:BEHIND/404; }
    location = /page { proxy_pass http://127.0.0.1:DOWN; error_page 502 =500 /; }
}
server {
    listen 127.0.0.1:BEHIND;
    server_name b.example;
    location = /404 { return 404; }
    location = /444 { return 444; }
    location = /500 { return 500; }
}
"""
IN_TURN = """
local paths = { "/", "/missing", "/limited", "/refused", "/nobody", "/retried", "/dropped", "/cached", "/page" }
local turn = 0
request = function()
    turn = turn % #paths + 1
    return wrk.format("GET", paths[turn])
end
"""


def test_each_failure_is_counted_once_under_load_and_over_reloads(socket_path: Path, tmp_path: Path) -> None:
    ports = {name: str(free_port()) for name in ("PORT", "BEHIND", "DOWN")}
    body = LOADED.replace("REASONS", reasons.LOG_FORMAT)
    for name, port in ports.items():
        body = body.replace(name, port)
    script = tmp_path / "in_turn.lua"
    script.write_text(IN_TURN)
    with Collector(socket_path) as collector, Nginx(socket_path, body) as nginx:
        log = nginx.prefix / "reasons.log"

        def has_grown_by(count: int) -> None:
            before = len(reasons.lines(log))
            wait_until(lambda: len(reasons.lines(log)) > before + count, message="more requests")

        with Load(f"http://127.0.0.1:{ports['PORT']}", 60, connections=8, script=str(script)) as load:
            for _ in range(2):
                has_grown_by(500)
                nginx.reload()
            has_grown_by(500)
            load.stop()
        get(int(ports["PORT"]))

        def page() -> reasons.Reasons:
            return reasons.reasons_of_page(collector.samples())

        with suppress(AssertionError):
            wait_until(lambda: page() == reasons.reasons_of_log(log), 15, "all failures")
        assert page() == reasons.reasons_of_log(log)
        samples = collector.samples()
        assert reasons.by_status(page()) == reasons.failed_responses(samples)
        assert len(by_labels(samples, reasons.FAMILY, "reason")) >= 8
        assert [line for line in nginx.errors() if "lua" in line] == []
