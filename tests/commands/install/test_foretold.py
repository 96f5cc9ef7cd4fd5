"""The dry run foretells the run, exit status included; the proof follows nginx and reaches nothing of the user's."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.certificates import Authority
from support.collector import Collector
from support.debian import Debian, Done, environment, run, words
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

OWN = "log_by_lua_block { local own = 1 }"
OFF = "log_by_lua_file {share}/lua/resty/metrics/off.lua"
APP = "access_log {run}/app.log; return 200 app;"


@pytest.fixture
def collector(socket_path: Path) -> Iterator[Collector]:
    with Collector(socket_path) as running:
        yield running


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The directives of a certificate."""
    made = Authority(tmp_path_factory.mktemp("authority")).issue("shop.example")
    return f"ssl_certificate {made.certificate}; ssl_certificate_key {made.key};"


def serving(site: str, certificate: str = "") -> Debian:
    """A Debian that serves this site, not started yet. ``P`` and ``Q`` in it are ports."""
    debian = Debian()
    ports = {"P": str(debian.port), "Q": str(free_port())}
    text = re.sub(r"\b[PQ]\b", lambda match: ports[match[0]], site)
    for name, value in (("run", debian.run), ("share", debian.share), ("certificate", certificate)):
        text = text.replace(f"{{{name}}}", str(value))
    (debian.etc / "sites-available" / "default").write_text(text)
    return debian


def reasons(done: Done) -> list[str]:
    return [line for line in done.error.splitlines() if line.startswith("  - ")]


def both(debian: Debian, collector: Collector | None, *flags: str) -> tuple[Done, Done]:
    """Run dry and then in earnest, and return both. What the dry run said is what happened."""
    before = debian.tree()
    dry = run("install", debian, collector, "--dry-run", *flags, yes=False)
    assert debian.tree() == before
    done = run("install", debian, collector, *flags)
    assert (dry.status, reasons(dry)) == (done.status, reasons(done)), dry.text + done.text
    if done.status:
        assert "failed, nothing was changed:" in done.error
        assert debian.tree() == before
    else:
        assert [line for line in dry.out.splitlines() if line[:1] in "+-@"] == [
            line for line in done.out.splitlines() if line[:1] in "+-@"
        ]
    return dry, done


def proven(debian: Debian, collector: Collector, *flags: str) -> str:
    """The address that proved it, which is the first that the dry run named."""
    dry, done = both(debian, collector, *flags)
    assert done.status == 0, done.text
    named = re.search(r"one request to (.*?)(?: \(or to \d+ others?\))?\. If it is not counted", dry.out)
    counted = re.search(r"counted: a request to (.*) is on the page", done.out)
    assert named is not None
    assert counted is not None
    assert named[1] == counted[1]
    application = debian.run / "app.log"
    assert not application.exists() or application.read_text() == ""
    return counted[1]


def refused(debian: Debian, collector: Collector | None, *flags: str) -> str:
    dry, done = both(debian, collector, *flags)
    assert done.status == 1, done.text
    assert "this would fail:" in dry.error
    return "\n".join(reasons(done))


PLAIN = "127.0.0.1:P (server shop.example)"
SHOP = (
    "server {{ listen P; server_name shop.example; {} location / {{ access_log {{run}}/app.log; return 200 app; }} }}"
)
PROVEN = [
    ("error-page-to-a-uri",
     SHOP.format("error_page 400 404 /e.html; location = /e.html { internal; " + APP + " }"), PLAIN),
    ("error-page-to-a-named-location", SHOP.format("error_page 400 = @app; location @app { " + APP + " }"), PLAIN),
    ("every-error-page-recursive",
     SHOP.format("error_page 400 404 408 414 500 505 /; recursive_error_pages on;"), PLAIN),
    ("error-page-in-http", "error_page 400 /; " + SHOP.format(""), PLAIN),
    ("return-444", SHOP.format("return 444;"), PLAIN),
    ("a-header-filter-that-fails", SHOP.format("header_filter_by_lua_block { error('mine') }"), PLAIN),
    ("http2-alone", "server { listen P http2; server_name shop.example; error_page 400 /; location / { " + APP + " } }",
     "127.0.0.1:P (HTTP/2) (server shop.example)"),
    ("http2-alone-by-another-server-of-the-address",
     SHOP.format("") + " server { listen 0.0.0.0:P http2; server_name b.example; }",
     "127.0.0.1:P (HTTP/2) (server shop.example)"),
    ("http2-behind-a-proxy", "server { listen P http2 proxy_protocol; server_name shop.example; }",
     "127.0.0.1:P (HTTP/2) (server shop.example)"),
    ("one-address-in-two-words", SHOP.format(OWN) + " server { listen *:P default_server; server_name b.example; }",
     "127.0.0.1:P (server b.example)"),
    ("default-server-not-counted",
     f"server {{ listen P default_server; {OFF}; }} " + SHOP.format("").replace("P;", "Q; listen P;"),
     "127.0.0.1:Q (server shop.example)"),
    ("post-action", SHOP.format("post_action /;") + " server { listen Q; server_name b.example; }",
     "127.0.0.1:Q (server b.example)"),
    ("loopback-has-a-listener-of-its-own",
     f"server {{ listen 127.0.0.1:P; {OWN} }} " + SHOP.format(""), "127.0.0.2:P (server shop.example)"),
    ("by-a-host-name", SHOP.format("").replace("P;", "localhost:P;"), PLAIN),
    ("a-range-of-ports", SHOP.format("").replace("P;", "P-P;"), PLAIN),
    ("reject-handshake", "server { listen P ssl default_server; ssl_reject_handshake on; } server { listen P ssl; "
     "server_name ~^x *.example b.example; {certificate} location / { " + APP + " } }",
     "127.0.0.1:P (TLS) (server ~^x *.example b.example)"),
    ("reject-handshake-beside-plain", "server { listen Q ssl; ssl_reject_handshake on; } " + SHOP.format(""), PLAIN),
    ("tls-by-another-server-of-the-address",
     SHOP.format("{certificate} ") + " server { listen *:P ssl; {certificate} server_name b.example; }",
     "127.0.0.1:P (TLS) (server shop.example)"),
    ("tls-wants-a-client-certificate", "server { listen P ssl; server_name shop.example; {certificate} "
     "ssl_verify_client on; ssl_client_certificate {ca}; error_page 400 495 496 497 /; location / { " + APP + " } }",
     "127.0.0.1:P (TLS) (server shop.example)"),
    ("tls-whose-default-does-not-count", f"server {{ listen P ssl; {{certificate}} {OWN} }} server {{ listen P ssl; "
     "{certificate} server_name b.example; }", "127.0.0.1:P (TLS) (server b.example)"),
    ("lua-in-the-handshake", "server { listen P ssl; server_name shop.example; {certificate} "
     "ssl_certificate_by_lua_block { mine = 1 } } server { listen Q ssl; server_name b.example; {certificate} }",
     "127.0.0.1:Q (TLS) (server b.example)"),
]  # fmt: skip


@pytest.mark.parametrize(("site", "where"), [one[1:] for one in PROVEN], ids=[one[0] for one in PROVEN])
def test_it_is_proven_where_nginx_itself_takes_the_request(
    collector: Collector, certificate: str, site: str, where: str
) -> None:
    authority = certificate.split()[1].rstrip(";")
    with serving(site.replace("{ca}", authority), certificate) as debian:
        seen = proven(debian, collector)
        assert re.sub(r":\d+", ":P", seen) == where.replace(":Q", ":P")
        text = (debian.etc / "sites-available" / "default").read_text()
        port = re.search(r":(\d+)", seen)
        assert port is not None
        assert (f":{port[1]}" == f":{debian.port}") is (":Q" not in where), text
        assert "[emerg]" not in (debian.run / "error.log").read_text()
        assert "mine" not in (debian.run / "error.log").read_text()


def test_ipv6_and_a_loopback_that_is_another_listeners(collector: Collector) -> None:
    with serving("server { listen [::]:P; server_name shop.example; }") as debian:
        assert proven(debian, collector) == f"[::1]:{debian.port} (server shop.example)"


def test_what_the_proof_leaves_on_the_page(collector: Collector) -> None:
    """One request of docs/install.md, and none where nothing was proven."""
    with Debian() as debian:
        proven(debian, collector)
        counts = {labels: count for labels, count in collector.request_counts().items() if count}
        assert counts == {("shop.example", "other", "400"): 1}
        assert '"RESTY_METRICS /install" 400 0' in (debian.run / "access.log").read_text()
        failures = [labels for (name, labels) in collector.samples() if name == "nginx_http_failed_requests_total"]
        assert all(("status", "400") in labels for labels in failures)


def test_http2_leaves_a_request_without_a_status(collector: Collector) -> None:
    with serving("server { listen P http2; server_name shop.example; }") as debian:
        proven(debian, collector)
        counts = {labels: count for labels, count in collector.request_counts().items() if count}
        assert list(counts.values()) == [1]
        ((server, method, status),) = counts
        assert (server, method) == ("shop.example", "other")
        assert status in ("000", "0")


def test_every_address_is_tried(collector: Collector) -> None:
    """The first is gone: somebody removed the socket's file."""
    site = "server { listen P; " + OWN + " } server { listen unix:{run}/a.sock; server_name a; } "
    with serving(site + "server { listen unix:{run}/b.sock; server_name b; }") as debian:
        (debian.run / "a.sock").unlink()
        assert proven(debian, collector) == f"unix:{debian.run}/b.sock (server b)"


def test_an_address_that_takes_the_request_and_does_not_count_it(collector: Collector) -> None:
    """Only nginx knows it: the hook of the default server counts some requests. The next address is tried."""
    site = "server { listen P; server_name a; log_by_lua_file {run}/own.lua; } server { listen Q; server_name b; }"
    debian = serving(site)
    hook = f'if false then dofile("{debian.share}/lua/resty/metrics/load.lua").log() end\n'
    (debian.run / "own.lua").write_text(hook)
    with debian:
        done = run("install", debian, collector)
        assert done.status == 0, done.text
        assert "(server b)" in done.out.split("counted: ")[1]


NOWHERE = [
    ("not-counted-at-all", f"server {{ listen P; server_name a; {OFF}; }}", "off.lua|leaves its requests out"),
    ("reject-handshake-alone", "server { listen P ssl; ssl_reject_handshake on; }", "ssl_reject_handshake is on"),
    ("reject-handshake-and-a-pattern", "server { listen P ssl; ssl_reject_handshake on; } server { listen P ssl; "
     "{certificate} server_name ~^.+$; }", "ssl_reject_handshake is on"),
    ("post-action-in-http", "post_action /; server { listen P; location / { " + APP + " } }", "post_action"),
    ("shadowed-by-the-other-word", SHOP.format("") + f" server {{ listen *:P default_server; {OWN} }}",
     "add as the first line"),
]  # fmt: skip


@pytest.mark.parametrize(("site", "why"), [one[1:] for one in NOWHERE], ids=[one[0] for one in NOWHERE])
def test_where_no_address_can_prove_it_that_is_known_before(
    collector: Collector, certificate: str, site: str, why: str
) -> None:
    with serving(site, certificate) as debian:
        said = refused(debian, collector)
        assert re.search(why, said), said
        assert "--without-proof" in said
        _, done = both(debian, collector, "--without-proof")
        assert done.status == 0
        assert "not tested" in done.out
        assert collector.request_counts().total() == 0
        application = debian.run / "app.log"
        assert not application.exists() or application.read_text() == ""


def test_no_address_can_be_reached(collector: Collector) -> None:
    with serving("server { listen unix:{run}/a.sock; server_name a; }") as debian:
        (debian.run / "a.sock").unlink()
        said = refused(debian, collector)
        assert f"unix:{debian.run}/a.sock (server a): No such file or directory" in said


def test_an_address_that_the_reload_will_open(collector: Collector) -> None:
    with Debian() as debian:
        site = debian.etc / "sites-available" / "default"
        port = free_port()
        site.write_text(f"server {{ listen {port}; server_name later; }}\n")
        soon = site.stat().st_mtime + 10
        os.utime(site, (soon, soon))
        dry, done = both(debian, collector)
        assert done.status == 0, done.text
        assert f"one request to 127.0.0.1:{port} (server later). If it is not counted" in dry.out
        assert f"counted: a request to 127.0.0.1:{port} (server later) is on the page" in done.out


def test_workers_who_may_not_send(socket_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("workers run as ourselves")
    debian = Debian()
    try:
        debian.conf.write_text(debian.conf.read_text().replace("user www-data;", "user games games;"))
        debian.start()
        with Collector(socket_path) as collector:
            said = refused(debian, collector)
            assert "games (uid 5) may not send" in said
            assert "--socket.allow-uid=5" in said
        with Collector(socket_path, "--socket.mode=0600") as collector:
            assert f"may not write {socket_path}" in refused(debian, collector)
        with Collector(socket_path, "--socket.allow-uid=5") as collector:
            assert proven(debian, collector)
    finally:
        debian.__exit__(None, None, None)


def test_workers_who_are_told_to_send_elsewhere(collector: Collector) -> None:
    with Debian(http="geo $resty_metrics_socket { default /run/elsewhere.sock; }") as debian:
        said = refused(debian, collector)
        assert "workers send to /run/elsewhere.sock" in said
        assert f"{debian.conf}:" in said


def test_a_socket_that_is_not_there(collector: Collector, shared: Path) -> None:
    with Debian() as debian:
        debian.told_socket = shared / "none.sock"
        assert f"there is no socket {shared}/none.sock" in refused(debian, collector)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has namespaces")
@pytest.mark.parametrize("more", ["", "listen unix:{run}/a.sock;"], ids=["tcp-alone", "a-unix-socket-too"])
def test_an_nginx_in_another_network(collector: Collector, more: str) -> None:
    debian = serving(f"server {{ listen P; server_name shop.example; {more} }}")
    try:
        started = subprocess.run(["unshare", "--net", *debian.words], capture_output=True, text=True, check=False)
        if started.returncode:
            pytest.skip(started.stderr)
        wait_until(lambda: len(debian.workers()) == 2, message="nginx's workers")
        if more:
            assert proven(debian, collector) == f"unix:{debian.run}/a.sock (server shop.example)"
        else:
            assert "it is in another network namespace" in refused(debian, collector)
    finally:
        debian.__exit__(None, None, None)


@pytest.mark.parametrize("modules", [(), ("ndk_http_module.so",)])
def test_no_lua(collector: Collector, modules: tuple[str, ...]) -> None:
    with Debian(modules=modules) as debian:
        assert "apt install libnginx-mod-http-lua" in refused(debian, collector)


def test_neither_collector_nor_nginx(socket_path: Path) -> None:
    debian = Debian()
    try:
        said = refused(debian, Collector(socket_path))
        assert "is not running, so no request can be sent as a test" in said
        assert "Cannot connect" in said
        assert "resty-metrics serve" in said
    finally:
        debian.__exit__(None, None, None)


def test_again_without_a_collector(socket_path: Path) -> None:
    with Debian() as debian:
        with Collector(socket_path) as collector:
            proven(debian, collector)
            dry, done = both(debian, collector)
            assert (dry.status, done.status) == (0, 0)
            assert "counted: " not in dry.out
        before = debian.tree()
        dry = run("install", debian, collector, "--dry-run")
        done = run("install", debian, collector)
        assert (dry.status, done.status) == (1, 1)
        assert "Cannot connect" in dry.error
        assert debian.tree() == before


# It may read what it needs to run our command from root's own directories, and write nothing.
NOBODY = (
    "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
    "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search",
)  # fmt: skip


def as_nobody(command: str, debian: Debian, collector: Collector, *flags: str) -> Done:
    done = subprocess.run(
        [*NOBODY, *words(command, debian, collector, *flags)],
        capture_output=True, text=True, timeout=60, env=environment(), stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("passes", [False, True], ids=["nginx-t-fails", "nginx-t-passes"])
def test_as_another_user_it_says_the_command(collector: Collector, passes: bool) -> None:
    with Debian() as debian:
        if passes:
            for path in (debian.run, *debian.run.rglob("*")):
                os.chown(path, 65534, 65534)
        before = debian.tree()
        for flag in ("--dry-run", "--yes"):
            done = as_nobody("install", debian, collector, flag)
            assert done.status == 1, done.text
            assert "run: sudo resty-metrics install '--nginx.command=" in done.error
            assert f"{flag}\n" in done.error
        assert debian.tree() == before
        assert run("install", debian, collector).status == 0
        before = debian.tree()
        for flag in ("--dry-run", "--yes"):
            done = as_nobody("uninstall", debian, collector, flag)
            assert done.status == 1, done.text
            assert "run: sudo resty-metrics uninstall '--nginx.command=" in done.error
        assert debian.tree() == before
