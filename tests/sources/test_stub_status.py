"""stub_status documents: read, refused, and the same page as Debian's prometheus-nginx-exporter makes of them."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from resty_metrics.exposition.text import render
from resty_metrics.sources import stub_status
from resty_metrics.sources.errors import SourceError
from resty_metrics.sources.stub_status import StubStatus
from support.collector import samples_of
from support.exporter import Exporter

PAGE = b"Active connections: 4 \nserver accepts handled requests\n 11 10 31 \nReading: 1 Writing: 2 Waiting: 1 \n"
TENGINE = PAGE.replace(b"handled requests\n 11 10 31", b"handled requests request_time\n 11 10 31 5078")
LARGEST = 2**64 - 1
SIGNED = 2**63 - 1
DATA = Path(__file__).parents[1] / "data" / "vts"
CAPTURES = sorted(str(path.relative_to(DATA)) for path in DATA.rglob("*.stub_status.txt"))

READ = [
    ("nginx", PAGE, StubStatus(11, 10, 31, 4, 1, 2, 1)),
    ("Tengine", TENGINE, StubStatus(11, 10, 31, 4, 1, 2, 1)),
    ("63 bits", PAGE.replace(b"31", str(SIGNED).encode()), StubStatus(11, 10, SIGNED, 4, 1, 2, 1)),
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
    ("no UTF-8", PAGE.replace(b"31", b"\xff\xfe")),
]

# Where the exporter (0.11) and we disagree, and why we do.
DIFFERENCES = {
    "Tengine": "it gives up at the fourth column; we read the three that nginx has",
    "64 bits": "it reads signed 64 bits, nginx counts unsigned",
    "something behind": "it looks at the first lines only; we take no document that is not stub_status's alone",
    "negative": "it shows a counter of -31",
}


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


@pytest.mark.parametrize("name", CAPTURES)
def test_a_capture_says_what_vts_says_beside_it(name: str) -> None:
    """vts's document was fetched by the next request of the same connection."""
    status = stub_status.parse((DATA / name).read_bytes())
    document = (DATA / name.replace(".stub_status.txt", ".vts.json")).read_bytes().decode(errors="replace")
    connections = json.loads(document)["connections"]
    assert asdict(status) == connections | {"requests": connections["requests"] - 1}


@dataclass
class Document:
    body: bytes


@contextmanager
def served(document: Document) -> Iterator[str]:
    """The address of a server that answers everything with what ``document`` holds by then."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            body = document.body
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


def ours_of(body: bytes) -> str:
    try:
        status = stub_status.parse(body)
    except SourceError:
        status = None
    return render(stub_status.families(status, {}), openmetrics=False).decode()


@pytest.fixture(scope="module")
def exporter() -> Iterator[tuple[Document, Exporter]]:
    """One exporter, and the document that it is to read next."""
    document = Document(PAGE)
    with served(document) as address, Exporter(address) as running:
        yield document, running


CANNED = [(name, body) for name, body, _ in READ] + REFUSED


@pytest.mark.parametrize(("name", "body"), CANNED, ids=[name for name, _ in CANNED])
def test_the_page_is_the_exporters(exporter: tuple[Document, Exporter], name: str, body: bytes) -> None:
    document, running = exporter
    document.body = body
    exporters, ours = running.page(), ours_of(body)
    same = doubles(exporters) == doubles(ours) and named(exporters) == named(ours)
    assert same == (name not in DIFFERENCES), DIFFERENCES.get(name, exporters)


def is_nginx(name: str) -> bool:
    """Version 0 of the exporter calls its own metrics nginxexporter_*, version 1 nginx_exporter_*."""
    return name.startswith("nginx_") and not name.startswith("nginx_exporter_")


def doubles(page: str) -> dict[object, float]:
    """nginx's samples as Prometheus holds them."""
    return {key: float(value) for key, value in samples_of(page).items() if is_nginx(key[0])}


def named(page: str) -> set[str]:
    """HELP and TYPE lines of nginx's metrics."""
    return {line for line in page.splitlines() if line.startswith("# ") and is_nginx(line.split()[2])}
