"""The label ``method`` is the client's, whatever nginx makes of the request: the page against the request lines."""

import socket
import struct
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from support.client import ask
from support.collector import Collector
from support.nginx import Counts, Nginx
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

# Each location is a way of nginx to answer at another place than the one that was asked for.
SITE = """
server {{
    listen 127.0.0.1:{port};
    listen 127.0.0.1:{http2} http2;
    server_name site.example;
    root {{prefix}}/files;
    error_page 400 401 403 404 405 413 414 500 502 505 /sorry;
    error_page 503 @busy;
    location / {{ return 200; }}
    location = /sorry {{ internal; return 200 sorry; }}
    location @busy {{ return 503 busy; }}
    location /target {{ return 200 target; }}

    location /plain {{ return 200 plain; }}
    location /error-page {{ proxy_pass http://127.0.0.1:{dead}; }}
    location /error-page-of-another-status {{ error_page 404 =200 /target; return 404; }}
    location /error-page-by-variable {{ error_page 404 /target$arg_more; return 404; }}
    location /error-page-elsewhere {{ error_page 404 http://elsewhere.example/; return 404; }}
    location /named-error-page {{ return 503; }}
    location /error-page-twice {{
        recursive_error_pages on; error_page 404 /again; return 404;
    }}
    location /again {{ recursive_error_pages on; error_page 403 /target; return 403; }}
    location /intercepted {{ proxy_intercept_errors on; proxy_pass http://127.0.0.1:{port}/peer/500; }}
    location /peer/500 {{ error_page 500 @broken; return 500; }}
    location @broken {{ return 500 broken; }}
    location /accel-named {{ proxy_pass http://127.0.0.1:{port}/peer/accel-named; }}
    location /peer/accel-named {{ add_header X-Accel-Redirect @kept; return 200; }}
    location @kept {{ return 200 kept; }}
    location /accel {{ proxy_pass http://127.0.0.1:{port}/peer/accel; }}
    location = /peer/accel {{ add_header X-Accel-Redirect /target; return 200; }}
    location /try-uri {{ try_files /none /target; }}
    location /try-named {{ try_files /none @kept; }}
    location /try-status {{ try_files /none =404; }}
    location /rewrite {{ rewrite ^ /target last; }}
    location /exec {{ content_by_lua_block {{ ngx.exec("/target") }} }}
    location /exec-named {{ content_by_lua_block {{ ngx.exec("@kept") }} }}
    location /exit {{ content_by_lua_block {{ ngx.exit(404) }} }}
    location /authorized {{ auth_request /auth/204; return 204; }}
    location /unauthorized {{ auth_request /auth/401; proxy_pass http://127.0.0.1:{port}/target; }}
    location /auth/204 {{ return 204; }}
    location /auth/401 {{ return 401; }}
    location /mirrored {{ mirror /target; proxy_pass http://127.0.0.1:{port}/target; }}
    location /limited {{ limit_except GET {{ deny all; }} try_files /none /target; }}
    location /large {{ client_max_body_size 1; proxy_pass http://127.0.0.1:{port}/target; }}
    location /index/ {{ }}
    location /static {{ error_page 405 =200 $uri; }}
    location /post-action {{ post_action /target; return 200; }}
}}
server {{
    listen 127.0.0.1:{bare};
    listen 127.0.0.1:{http2} http2;
    server_name bare.example;
    location / {{ return 200; }}
}}
"""
PATHS = [
    line.split()[1]
    for line in SITE.splitlines()
    if line.startswith("    location /")
    and not line.startswith(("    location / ", "    location /peer", "    location /auth/"))
]
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "BREW"]

# What a client may send in place of a request line, and the method of it.
LINES = [
    (b"GET / HTTP/3.0\r\n\r\n", "GET"),
    (b"POST / FTP/1.1\r\n\r\n", "POST"),
    (b"GET /\x01 HTTP/1.1\r\n\r\n", "GET"),
    (b"PUT /" + b"a" * 40_000, "PUT"),
    (b"BREW /" + b"a" * 40_000, "other"),
    (b"a" * 40_000, "other"),
    (b"DELETE a HTTP/1.1\r\n\r\n", "DELETE"),
    (b"PATCH http:/x HTTP/1.1\r\n\r\n", "PATCH"),
    (b"GET /../x HTTP/1.1\r\n\r\n", "GET"),
    (b"OPTIONS /%zz HTTP/1.1\r\n\r\n", "OPTIONS"),
    (b"PROPPATCH /%zz HTTP/1.1\r\n\r\n", "PROPPATCH"),
    (b"PROPPATCHX /%zz HTTP/1.1\r\n\r\n", "other"),
    (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", "other"),
    (b"GE / HTTP/1.1\r\nHost: a\r\n\r\n", "other"),
    (b"GETS / HTTP/1.1\r\nHost: a\r\n\r\n", "other"),
    (b"GET\r\n\r\n", "GET"),
    (b"GET\t/ HTTP/1.1\r\n\r\n", "other"),
    (b" GET / HTTP/1.1\r\n\r\n", "other"),
    (b"\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "POST"),
    (b"GET /\r\n", "GET"),
    (b"HEAD / HTTP/1.1\r\n\r\n", "HEAD"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", "POST"),
    (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", "TRACE"),
    (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT"),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n", "other"),
    (b"BAD\x00 / \r\n\r\n", "other"),
    (b"\x00\r\n\r\n", "other"),
]


class Site(NamedTuple):
    nginx: Nginx
    collector: Collector
    port: int
    http2: int
    bare: int


@pytest.fixture
def site(socket_path: Path) -> Iterator[Site]:
    port, http2, bare = free_port(), free_port(), free_port()
    text = SITE.format(port=port, http2=http2, bare=bare, dead=free_port()).replace("{{", "{").replace("}}", "}")
    nginx = Nginx(socket_path, text, workers=1)
    files = nginx.prefix / "files"
    (files / "index").mkdir(parents=True)
    (files / "index" / "index.html").write_text("index")
    (files / "static").write_text("static")
    with Collector(socket_path) as collector, nginx:
        yield Site(nginx, collector, port, http2, bare)
        assert [line for line in nginx.errors() if "resty-metrics:" in line or "[lua]" in line] == []


def wait_for(collector: Collector, wanted: Counts) -> None:
    try:
        wait_until(lambda: collector.request_counts() == wanted, message="the requests on the page")
    except AssertionError:
        assert collector.request_counts() == wanted


def conserve(site: Site) -> Counts:
    """Wait until the page says of each method what the request lines in the access_log say."""
    logged: Counts = Counter()

    def agree() -> bool:
        nonlocal logged
        logged = site.nginx.access_counts()
        return site.collector.request_counts() == logged

    try:
        wait_until(agree, message="page == access_log")
    except AssertionError:
        assert site.collector.request_counts() == logged
    return logged


def by_method(counts: Counts) -> Counter[str]:
    methods: Counter[str] = Counter()
    for (_, method, _), count in counts.items():
        methods[method] += count
    return methods


def test_a_method_outlives_every_redirect_of_nginx(site: Site) -> None:
    """Each location is asked with each method; those that nginx asks of itself have the method of a proxied request."""
    assert len(PATHS) > 25
    for path in PATHS:
        for method in METHODS:
            ask(site.port, path, method)
    ask(site.port, "/large", "POST", Content_Length="2")
    logged = conserve(site)
    asked = {method if method != "BREW" else "other" for method in METHODS}
    assert set(by_method(logged)) == asked
    assert logged["site.example", "POST", "502"] == 1
    assert logged["site.example", "DELETE", "403"] == 3  # /limited, /again, and that by /error-page-twice
    assert logged["site.example", "PUT", "200"] > 10


def test_a_method_outlives_redirects_in_http2(site: Site) -> None:
    for path in PATHS:
        for method in ["GET", "POST", "DELETE"]:
            url = f"http://127.0.0.1:{site.http2}{path}"
            words = ["curl", "-s", "--http2-prior-knowledge", "-X", method, "-o", "/dev/null", url]
            subprocess.run(words, check=True, timeout=20)
    logged = conserve(site)
    assert set(by_method(logged)) == {"GET", "POST", "DELETE"}
    assert logged["site.example", "POST", "502"] == logged["site.example", "DELETE", "502"] == 1


def send(port: int, line: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(line)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):
            pass


@pytest.mark.parametrize("server", ["site.example", "bare.example"])
def test_a_line_that_nginx_refuses_has_the_method_that_it_begins_with(site: Site, server: str) -> None:
    """With an error_page for what is refused, and without one."""
    for line, _ in LINES:
        send(site.port if server == "site.example" else site.bare, line)
    logged = conserve(site)
    assert by_method(logged) == Counter(method for _, method in LINES)
    assert {name for name, _, _ in logged} == {server}
    assert {"200", "400", "414", "505"} <= {status for _, _, status in logged}


def test_no_line_at_all_is_no_method(socket_path: Path) -> None:
    """Nothing came but line ends, with an error_page that would make a GET of it."""
    port = free_port()
    site = f"""server {{ listen 127.0.0.1:{port}; server_name a.example; client_header_timeout 1s;
        error_page 400 408 /sorry; location / {{ return 200; }} }}"""
    with Collector(socket_path) as collector, Nginx(socket_path, site, workers=1) as nginx:
        for silence in (b"\r\n\r\n", b"GE"):
            with socket.create_connection(("127.0.0.1", port), 10) as connection:
                connection.sendall(silence)
                connection.recv(4096)
        ask(port)
        wait_until(lambda: len(nginx.access_lines()) == 3, message="the end of both")
        assert [line[1:3] for line in nginx.access_lines()] == [["", "408"], ["GE", "408"], ["GET", "200"]]
        wait_for(collector, nginx.access_counts())


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """RFC 7541, 6.2.2: a header field that is in no table."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


@pytest.mark.parametrize(("server", "method"), [("bare.example", "POST"), ("site.example", "_")])
def test_http2_without_a_path_has_the_method_of_its_header(site: Site, server: str, method: str) -> None:
    """nginx makes no request line of it but knows the method; where an error_page replaces that, nothing is left."""
    fields = literal(b":method", b"POST") + literal(b":scheme", b"http") + literal(b":authority", server.encode())
    with socket.create_connection(("127.0.0.1", site.http2), 10) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 5, 1, fields))
        wait_for(site.collector, Counter({(server, method, "400"): 1}))


def test_a_method_that_lua_code_sets_is_the_one_that_is_counted(socket_path: Path) -> None:
    port = free_port()
    site = f"""server {{ listen 127.0.0.1:{port}; server_name a.example;
        location / {{ content_by_lua_block {{ ngx.req.set_method(ngx.HTTP_PUT) }} }}
        location /get {{ content_by_lua_block {{ ngx.req.set_method(ngx.HTTP_GET) }} }} }}"""
    with Collector(socket_path) as collector, Nginx(socket_path, site, workers=1):
        ask(port, "/", "POST")
        ask(port, "/get", "POST")
        wait_for(collector, Counter({("a.example", "PUT", "200"): 1, ("a.example", "GET", "200"): 1}))
