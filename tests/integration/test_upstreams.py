"""Every upstream attempt, as the access_log's own lists have them: peers that are down, slow or answer 502, redirects,
subrequests, a cache, FastCGI and gRPC.
"""

import http.client
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.client import get, upgrade
from support.collector import Collector, Samples
from support.fastcgi import FastCgi
from support.labels import by_labels
from support.nginx import Nginx, set_include
from support.upgrading import UpgradingServer
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

PATHS = [
    *("/", "/redirected", "/static", "/cached", "/fastcgi", "/grpc", "/own", "/down", "/nobody"),
    *("/accelerated", "/sub", "/unix", "/unknown"),
]
TIMES = ("connect", "header", "response")

SITE = """
include {{share}}/nginx.conf.d/upstreams.conf;
log_format attempts '$upstream_addr\t$upstream_status\t$upstream_connect_time\t$upstream_header_time\t'
    '$upstream_response_time\t$upstream_cache_status\t$uri';
proxy_cache_path {{prefix}}/cache keys_zone=pages:1m;
upstream mixed {{
    server 127.0.0.1:{down} max_fails=0;
    server 127.0.0.1:{bad} max_fails=0;
    server 127.0.0.1:{slow} max_fails=0;
    server 127.0.0.1:{good} max_fails=0;
}}
upstream good {{ server 127.0.0.1:{good}; }}
upstream down {{ server 127.0.0.1:{down} max_fails=0; }}
upstream nobody {{
    server 127.0.0.1:{down} max_fails=1 fail_timeout=600s;
    server 127.0.0.1:{down2} max_fails=1 fail_timeout=600s;
}}
upstream kept {{ server 127.0.0.1:{good}; keepalive 4; }}
upstream unix {{ server unix:{{prefix}}/a,b.sock; }}
upstream grpc {{ server 127.0.0.1:{grpc}; }}
server {{
    listen 127.0.0.1:{port};
    server_name a.example;
    access_log {{prefix}}/attempts.log attempts;
    access_log {{prefix}}/access.log truth;
    proxy_next_upstream error timeout http_502;
    proxy_read_timeout 150ms;
    recursive_error_pages on;
    location = / {{ proxy_pass http://mixed; }}
    location = /redirected {{
        proxy_pass http://down; proxy_intercept_errors on; error_page 502 504 = @second;
    }}
    location @second {{ proxy_pass http://mixed; }}
    location = /static {{ proxy_pass http://down; error_page 502 /sorry; }}
    location = /sorry {{ return 200; }}
    location = /cached {{
        proxy_cache pages; proxy_cache_valid 200 60s; proxy_pass http://good; proxy_ignore_headers Cache-Control;
    }}
    location = /fastcgi {{ set $resty_metrics_upstream_name php; fastcgi_pass {fastcgi}; }}
    location = /grpc {{ set $resty_metrics_upstream_name greeter; grpc_pass grpc://grpc; }}
    location = /own {{ return 204; }}
    location = /down {{ proxy_pass http://127.0.0.1:{down}; }}
    location = /nobody {{ proxy_pass http://nobody; }}
    location = /accelerated {{ proxy_pass http://kept; }}
    location = /inner {{ internal; proxy_pass http://mixed/; }}
    location = /sub {{ auth_request /asked; mirror /asked; proxy_pass http://kept/; }}
    location = /asked {{ internal; proxy_pass http://down/; proxy_intercept_errors on; error_page 502 =200 /sorry; }}
    location = /unix {{ proxy_pass http://unix; }}
    location = /unknown {{ set $host_of_nobody nobody.invalid; proxy_pass http://$host_of_nobody; }}
}}
server {{ listen unix:{{prefix}}/a,b.sock; access_log off; location / {{ return 200 unix; }} }}
server {{ listen 127.0.0.1:{good}; access_log off; location / {{ return 200 good; }}
    location = /accelerated {{ add_header X-Accel-Redirect /inner; return 200; }} }}
server {{ listen 127.0.0.1:{bad}; access_log off; location / {{ return 502; }} }}
server {{ listen 127.0.0.1:{slow}; access_log off; location / {{ echo_sleep 0.4; echo slow; }} }}
server {{ listen 127.0.0.1:{grpc} http2; access_log off; location / {{ return 200 grpc; }} }}
"""


@dataclass(frozen=True)
class Truth:
    """What the access_log's lists say: attempts by (peer, status), times of each phase, retries, cache statuses."""

    attempts: Counter[tuple[str, str]]
    milliseconds: dict[str, list[int]]
    retries: int
    cache: Counter[str]


def items(text: str) -> Iterator[tuple[str, str]]:
    """The items of a list, each with what stands before it."""
    parts = re.split(r"(, | : )", text)
    yield from zip(["", *parts[1::2]], parts[0::2], strict=True)


def read_log(nginx: Nginx, requests: int) -> Truth:
    """Of all the requests: nginx answers a client before it writes the line."""
    log = nginx.prefix / "attempts.log"
    wait_until(lambda: log.read_text().count("\n") == requests, message="the access_log")
    attempts: Counter[tuple[str, str]] = Counter()
    milliseconds: dict[str, list[int]] = {name: [] for name in TIMES}
    retries, cache = 0, Counter[str]()
    for line in log.read_text().splitlines():
        peers, statuses, *times, cache_status, _ = line.split("\t")
        for (before, peer), (_, status) in zip(items(peers), items(statuses), strict=True):
            if peer not in ("", "-"):
                attempts[peer, status] += 1
                retries += before == ", "
        for name, text in zip(TIMES, times, strict=True):
            found = [value for _, value in items(text)]
            milliseconds[name] += [round(float(value) * 1000) for value in found if value not in ("", "-")]
        if cache_status != "-":
            cache[cache_status] += 1
    return Truth(attempts, milliseconds, retries, cache)


@dataclass(frozen=True)
class Site:
    nginx: Nginx
    port: int
    good: int
    down: int


def site(socket_path: Path, fastcgi: str, workers: int) -> Site:
    ports = {name: free_port() for name in ("port", "down", "down2", "bad", "slow", "good", "grpc")}
    body = SITE.format(fastcgi=fastcgi, **ports).replace("{{", "{").replace("}}", "}")
    return Site(Nginx(socket_path, body, workers=workers), ports["port"], ports["good"], ports["down"])


def assert_agrees(collector: Collector, nginx: Nginx, requests: int) -> Samples:
    def labels_of(samples: Samples) -> Counter[tuple[str, ...]]:
        return by_labels(samples, "nginx_http_upstream_attempts_total", "peer", "status")

    truth = read_log(nginx, requests)
    try:
        wait_until(lambda: labels_of(collector.samples()) == truth.attempts, 15, "attempts")
    except AssertionError:
        assert labels_of(collector.samples()) == truth.attempts
    samples = collector.samples()
    assert by_labels(samples, "nginx_http_upstream_retries_total").total() == truth.retries
    assert by_labels(samples, "nginx_http_cache_requests_total", "cache_status") == Counter(
        {(status,): count for status, count in truth.cache.items()}
    )
    for name, of_log in truth.milliseconds.items():
        base = f"nginx_http_upstream_{name}_duration_seconds"
        assert by_labels(samples, f"{base}_count").total() == len(of_log)
        seconds = sum(value for (sample, _), value in samples.items() if sample == f"{base}_sum")
        assert round(seconds * 1000) == sum(of_log)
        below = sum(v for (s, pairs), v in samples.items() if s == f"{base}_bucket" and dict(pairs)["le"] == "0.1")
        assert below == sum(ms <= 100 for ms in of_log)
    return samples


@pytest.mark.parametrize("workers", [1, 2])
def test_attempts_are_those_of_the_access_log(socket_path: Path, workers: int) -> None:
    with FastCgi() as fastcgi:
        where = site(socket_path, fastcgi.address, workers)
        with Collector(socket_path) as collector, where.nginx:
            for _ in range(8):
                for path in PATHS:
                    get(where.port, path)
            samples = assert_agrees(collector, where.nginx, 8 * len(PATHS))
            truth = read_log(where.nginx, 8 * len(PATHS))
            assert {status for _, status in truth.attempts} >= {"200", "502", "504"}
            assert truth.retries > 8
            assert truth.cache == {"MISS": 1, "HIT": 7}
            assert ("nobody", "502") in truth.attempts
            by_upstream = by_labels(samples, "nginx_http_upstream_attempts_total", "upstream")
            assert by_upstream["php",] == by_upstream["greeter",] == 8
            assert by_upstream["good",] == 1
            assert by_upstream["unix",] == 8
            assert by_upstream["kept",] == 8  # the subrequests of /sub are no attempts of ours
            assert by_upstream[f"127.0.0.1:{where.down}",] == 8
            assert +by_labels(samples, "nginx_http_cache_requests_total", "server") == {("a.example",): 8}

            def counted() -> Counter[tuple[str, ...]]:
                return Counter({k: n for k, n in collector.request_counts().items() if k[0] == "a.example"})

            # Attempts and requests may travel in two datagrams.
            wait_until(lambda: counted() == where.nginx.access_counts(), message="page == access_log")
            assert [line for line in where.nginx.errors() if "resty" in line or "lua" in line] == []


def test_an_attempt_whose_client_goes_away_is_counted_as_it_is_listed(socket_path: Path) -> None:
    with FastCgi() as fastcgi:
        where = site(socket_path, fastcgi.address, 1)
        with Collector(socket_path) as collector, where.nginx:
            for _ in range(4):
                connection = http.client.HTTPConnection("127.0.0.1", where.port, timeout=20)
                connection.request("GET", "/")
                time.sleep(0.05)
                connection.close()
            wait_until(lambda: len(where.nginx.access_lines()) == 4, message="the requests' end")
            assert "499" in {line[2] for line in where.nginx.access_lines()}
            assert_agrees(collector, where.nginx, 4)


def test_the_peer_can_be_left_out(socket_path: Path) -> None:
    with FastCgi() as fastcgi:
        where = site(socket_path, fastcgi.address, 1)
        set_include(where.nginx.share / "nginx.conf.d" / "upstreams.conf", "upstream_peer", "off")
        with Collector(socket_path) as collector, where.nginx:
            for _ in range(4):
                get(where.port, "/")
            wanted: Counter[tuple[str, ...]] = Counter()
            for (_, status), count in read_log(where.nginx, 4).attempts.items():
                wanted["absent", status] += count
            name = "nginx_http_upstream_attempts_total"
            wait_until(lambda: by_labels(collector.samples(), name, "peer", "status") == wanted, message="attempts")


def test_without_its_include_upstreams_are_not_counted_and_that_is_said(socket_path: Path) -> None:
    port = free_port()
    body = f'map "" $resty_metrics_upstreams {{ default on; }} server {{ listen 127.0.0.1:{port}; return 200; }}'
    with Collector(socket_path) as collector, Nginx(socket_path, body) as nginx:
        get(port, "/")
        wait_until(lambda: collector.request_counts().total() == 1, message="the request")
        assert len([line for line in nginx.errors() if "upstreams.conf" in line]) == 1


READ = """
lua_shared_dict read 1m;
include {{share}}/nginx.conf.d/upstreams.conf;
server {{
    listen 127.0.0.1:{port};
    location / {{ return 200; }}
    location = /passed-on {{
        proxy_pass http://127.0.0.1:{port}/;
        log_by_lua_block {{
            local read, direct = require("resty.metrics.variable").reader("rm_attempts")
            local text = require("ffi").string(read())
            ngx.shared.read:set("text", (direct and "directly " or "by a string ") .. text)
        }}
    }}
    location = /read {{ content_by_lua_block {{ ngx.print(ngx.shared.read:get("text")) }} }}
}}
"""


def test_what_nginx_composed_is_read_without_making_a_string(socket_path: Path) -> None:
    port = free_port()
    with Collector(socket_path), Nginx(socket_path, READ.format(port=port), workers=1) as nginx:
        get(port, "/")  # our own hook makes our modules known
        get(port, "/passed-on")

        def text() -> str:
            (answer,) = get(port, "/read")
            return answer.body.decode()

        wait_until(lambda: text().startswith("directly "), message="the log hook")
        assert re.fullmatch(rf"directly (\d\.\d{{3}}\|){{3}}200\|\|127\.0\.0\.1:{port}\|127\.0\.0\.1:{port}", text())
        assert nginx.errors() == []


# With the attempts before the connection is upgraded, none of which may get lost with the one that is left out.
UPGRADING = """
include {{share}}/nginx.conf.d/upstreams.conf;
upstream chat {{ server 127.0.0.1:{chat}; }}
upstream retried {{
    server 127.0.0.1:{down} weight=100 max_fails=0;
    server 127.0.0.1:{bad} weight=100 max_fails=0;
    server 127.0.0.1:{chat} backup;
}}
upstream down {{ server 127.0.0.1:{down} max_fails=0; }}
server {{
    listen 127.0.0.1:{port};
    server_name chat.example;
    proxy_http_version 1.1;
    proxy_set_header Upgrade websocket;
    proxy_set_header Connection upgrade;
    proxy_next_upstream error http_502;
    location = / {{ proxy_pass http://chat; }}
    location = /retried {{ proxy_pass http://retried; }}
    location = /redirected {{ proxy_pass http://down; error_page 502 = @retried; }}
    location @retried {{ proxy_pass http://retried; }}
    location = /unasked {{ proxy_pass http://chat; }}
    location = /sorry {{ proxy_pass http://127.0.0.1:{bad}; }}
}}
server {{ listen 127.0.0.1:{bad}; access_log off; location / {{ return 502; }} log_by_lua_block {{ return }} }}
"""
UPGRADED_SECONDS = 1.2


@pytest.mark.parametrize("seconds", [UPGRADED_SECONDS, 10.5])
def test_the_life_of_an_upgraded_connection_is_no_response_of_an_upstream(socket_path: Path, seconds: float) -> None:
    """Below and above ten seconds, which are read in two ways; alone, after retries, and after a redirect."""
    ports = {name: free_port() for name in ("port", "down", "bad")}
    paths = ["/", "/retried", "/redirected"]
    with UpgradingServer(seconds) as chat:
        body = UPGRADING.format(chat=chat.port, **ports).replace("{{", "{").replace("}}", "}")
        with Collector(socket_path) as collector, Nginx(socket_path, body, workers=1) as nginx:
            for path in paths:
                upgrade(ports["port"], path, "chat.example")
            get(ports["port"], "/unasked")  # the upstream upgrades all the same, and nginx does not
            get(ports["port"], "/sorry")

            def durations(family: str) -> tuple[Counter[tuple[str, ...]], float]:
                samples, name = collector.samples(), f"nginx_http_{family}_duration_seconds"
                sums = sum(value for (sample, _), value in samples.items() if sample == f"{name}_sum")
                return +by_labels(samples, f"{name}_count"), sums

            attempts = "nginx_http_upstream_attempts_total"
            wanted = Counter({("101",): 4, ("502",): 6})
            wait_until(
                lambda: by_labels(collector.samples(), attempts, "status") == wanted, seconds + 15, "all attempts"
            )
            count, total = durations("upstream_response")
            assert count.total() == 6
            assert total < 1
            assert durations("upstream_header")[0].total() == 4 + 3  # of those that were answered
            count, total = durations("request")
            assert (count.total(), total < 1) == (1, True)
            count, total = durations("upgraded_connection")
            assert count.total() == 4
            assert total >= 3 * seconds - 0.1
            assert [line for line in nginx.errors() if "resty" in line or "lua" in line] == []
