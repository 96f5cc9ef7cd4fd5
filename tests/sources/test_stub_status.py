"""stub_status documents: read, refused, and the same page as Debian's prometheus-nginx-exporter makes of them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from support.collector import samples_of
from support.exporter import Exporter

from collector.page.exposition import render
from collector.sources import stub_status
from collector.sources.errors import SourceError
from collector.sources.stub_status import StubStatus

PAGE = b"Active connections: 4 \nserver accepts handled requests\n 11 10 31 \nReading: 1 Writing: 2 Waiting: 1 \n"
TENGINE = PAGE.replace(b"handled requests\n 11 10 31", b"handled requests request_time\n 11 10 31 5078")
LARGEST = 2**64 - 1

READ = [
    ("nginx", PAGE, StubStatus(11, 10, 31, 4, 1, 2, 1)),
    ("Tengine", TENGINE, StubStatus(11, 10, 31, 4, 1, 2, 1)),
    ("64 bits", PAGE.replace(b"31", str(LARGEST).encode()), StubStatus(11, 10, LARGEST, 4, 1, 2, 1)),
]
REFUSED = [
    ("nothing", b""),
    ("HTML", b"<html>404</html>"),
    ("cut", PAGE[:-3]),
    ("something behind", PAGE + b"x"),
    ("negative", PAGE.replace(b" 31 ", b" -31 ")),
    ("65 bits", PAGE.replace(b"31", str(LARGEST + 1).encode())),
    ("a word", PAGE.replace(b"31", b"many")),
    ("other digits", PAGE.replace(b"31", "٣١".encode())),
]


@pytest.mark.parametrize(("body", "status"), [case[1:] for case in READ], ids=[case[0] for case in READ])
def test_is_read(body: bytes, status: StubStatus) -> None:
    assert stub_status.parse(body) == status


@pytest.mark.parametrize("body", [body for _, body in REFUSED], ids=[name for name, _ in REFUSED])
def test_is_refused_with_a_reason(body: bytes) -> None:
    with pytest.raises(SourceError) as refused:
        stub_status.parse(body)
    assert refused.value.reason == "parse"


def test_a_source_that_failed_has_its_up_and_nothing_else() -> None:
    text = render(stub_status.families(None, {"nginx": "edge"}), openmetrics=False).decode()
    assert text.splitlines()[-1] == 'nginx_up{nginx="edge"} 0'
    assert len(text.splitlines()) == 3


@contextmanager
def served(body: bytes) -> Iterator[str]:
    """The address of a server that answers everything with ``body``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/stub_status"
        finally:
            server.shutdown()
            thread.join()


def test_the_page_is_the_exporters() -> None:
    with served(PAGE) as address, Exporter(address) as exporter:
        theirs = exporter.page()
    ours = render(stub_status.families(stub_status.parse(PAGE), {}), openmetrics=False).decode()
    assert named(theirs) == named(ours)
    assert {key: value for key, value in samples_of(theirs).items() if is_nginx(key[0])} == samples_of(ours)


def is_nginx(name: str) -> bool:
    return name.startswith("nginx_") and not name.startswith("nginxexporter_")


def named(page: str) -> set[str]:
    """HELP and TYPE lines of nginx's metrics."""
    return {line for line in page.splitlines() if line.startswith("# ") and is_nginx(line.split()[2])}
