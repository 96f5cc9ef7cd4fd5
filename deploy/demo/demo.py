"""The demo behind scripts/run: an nginx of its own with the include, a site, a little traffic, the collector.

Rules:
- Everything lives in one temporary directory that nginx's workers can read, wherever the project lies, and is removed.
- nginx's own access_log is the truth that --check compares the page with.
- What is started here is ended here, by pid; the system's nginx and its ports are not touched.
"""

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[2]
INSTALLED, INSTALLED_SOCKET = "/usr/share/resty-metrics", "/run/resty-metrics/collector.sock"
INSTALLED_STUB_STATUS = "127.0.0.1:19146"
MODULES = (Path("/usr/lib/nginx/modules"), Path("/usr/lib64/nginx/modules"))
WANTED_MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")
WORKER_USER = "www-data"
START_SECONDS = 30.0
AGREE_SECONDS = 15.0
TRAFFIC_PAUSE_SECONDS = 0.1

Counts = Counter[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Ports:
    """TCP ports on loopback."""

    site: int
    page: int
    stub_status: int


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request: how often --check sends it, and what nginx answers."""

    host: str
    method: str
    path: str
    status: int
    times: int


KINDS = (
    Kind("shop.example", "GET", "/", 200, 300),
    Kind("shop.example", "HEAD", "/", 200, 40),
    Kind("shop.example", "POST", "/cart", 201, 120),
    Kind("shop.example", "GET", "/old", 301, 60),
    Kind("shop.example", "GET", "/gone", 404, 60),
    Kind("shop.example", "BREW", "/", 200, 20),
    Kind("api.example", "GET", "/items", 200, 250),
    Kind("api.example", "PUT", "/items/7", 204, 80),
    Kind("api.example", "GET", "/slow", 200, 20),
    Kind("api.example", "DELETE", "/broken", 500, 50),
)
KNOWN_METHODS = {kind.method for kind in KINDS} - {"BREW"}


class DemoError(Exception):
    """Something that the demo needs is not there; the text says what to do."""


def choose_port(preferred: int) -> int:
    """The preferred port if it is free, else any; 0: any."""
    for port in (preferred, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            chosen: int = probe.getsockname()[1]
            return chosen
    raise DemoError("no TCP port of loopback is free")


def _modules() -> str:
    found = [next((at / name for at in MODULES if (at / name).exists()), None) for name in WANTED_MODULES]
    return "".join(f"load_module {path};\n" for path in found if path is not None)


def install(prefix: Path, ports: Ports) -> None:
    """The project's files and the demo's configuration under ``prefix``, as an operator would have them."""
    share = prefix / "share"
    for name in ("lua", "nginx.conf.d"):
        shutil.copytree(ROOT / name, share / name)
    replace = {
        INSTALLED_SOCKET: str(prefix / "run" / "collector.sock"),
        INSTALLED: str(share),
        INSTALLED_STUB_STATUS: f"127.0.0.1:{ports.stub_status}",
    }
    for path in (share / "nginx.conf.d").iterdir():
        path.write_text(_replaced(path.read_text(), replace))
    for path in (prefix, share, *share.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    for name in ("run", "temp"):
        (prefix / name).mkdir(mode=0o755)
    user = f"user {WORKER_USER};" if os.geteuid() == 0 else ""
    words = {"@modules@": _modules(), "@user@": user, "@prefix@": str(prefix), "@site@": str(ports.site)}
    (prefix / "nginx.conf").write_text(_replaced(Path(__file__).with_name("nginx.conf").read_text(), words))


def _replaced(text: str, words: dict[str, str]) -> str:
    for word, by in words.items():
        text = text.replace(word, by)
    return text


def nginx_command(prefix: Path) -> list[str]:
    """nginx on the demo's own configuration."""
    nginx = shutil.which("nginx") or shutil.which("openresty") or "/usr/sbin/nginx"
    return [nginx, "-p", str(prefix), "-e", str(prefix / "error.log"), "-c", str(prefix / "nginx.conf")]


@contextlib.contextmanager
def workspace(ports: Ports) -> Iterator[Path]:
    """The temporary directory with everything in it."""
    prefix = Path(tempfile.mkdtemp(prefix="resty-metrics-demo-", dir="/tmp"))
    try:
        install(prefix, ports)
        yield prefix
    finally:
        shutil.rmtree(prefix, ignore_errors=True)


@contextlib.contextmanager
def running(command: list[str], name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process, ended with SIGTERM at the end; out of the terminal's process group, so that Ctrl-C is ours alone."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            print(f"{name} did not end on SIGTERM; it is killed", file=sys.stderr)
            process.kill()


async def until(condition: Callable[[], object], processes: list[subprocess.Popen[bytes]], what: str) -> None:
    """Wait for a condition; DemoError if a process ends meanwhile or it takes too long."""
    ends = time.monotonic() + START_SECONDS
    while not condition():
        ended = next((one for one in processes if one.poll() is not None), None)
        if ended is not None:
            raise DemoError(f"{ended.args!r} ended with status {ended.returncode}; its own message is above")
        if time.monotonic() > ends:
            raise DemoError(f"{what} did not come within {START_SECONDS:.0f} s")
        await asyncio.sleep(0.05)


def answers(port: int) -> bool:
    """Whether somebody listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def _peer(request: web.Request) -> web.Response:
    if request.path == "/broken":
        return web.Response(status=500, text="broken\n")
    if request.path == "/slow":
        await asyncio.sleep(0.2)
    return web.Response(status=204) if request.method == "PUT" else web.Response(text="item\n")


@contextlib.asynccontextmanager
async def peers(directory: Path) -> AsyncIterator[None]:
    """The two peers of the upstream."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", _peer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    for number in (1, 2):
        path = directory / f"peer-{number}.sock"
        await web.UnixSite(runner, str(path)).start()
        path.chmod(0o666)
    try:
        yield
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def pipeline(prefix: Path, ports: Ports) -> AsyncIterator[list[subprocess.Popen[bytes]]]:
    """Peers, collector and nginx, all ready."""
    collector = [
        str(Path(sys.executable).with_name("resty-metrics")),
        "serve",
        f"--socket.path={prefix}/run/collector.sock",
        f"--state.dir={prefix}/state",
        f"--web.listen-address=127.0.0.1:{ports.page}",
        f"--source.stub-status=http://127.0.0.1:{ports.stub_status}/stub_status",
        "--log.level=warning",
    ]
    async with peers(prefix / "run"):
        with running(collector, "the collector") as one, running(nginx_command(prefix), "nginx") as two:
            await until(lambda: answers(ports.page) and answers(ports.site), [one, two], "the collector and nginx")
            yield [one, two]


async def send(client: aiohttp.ClientSession, ports: Ports, kind: Kind) -> None:
    """One request; DemoError if the answer is not the one that the site gives."""
    url = f"http://127.0.0.1:{ports.site}{kind.path}"
    async with client.request(kind.method, url, headers={"Host": kind.host}, allow_redirects=False) as response:
        await response.read()
        if response.status != kind.status:
            raise DemoError(f"{kind.method} {kind.path} of {kind.host} gave {response.status}, not {kind.status}")


def logged(prefix: Path) -> Counts:
    """What nginx's access_log says, labelled as the page labels it."""
    counts: Counts = Counter()
    for line in (prefix / "access.log").read_text().splitlines():
        server, method, status = line.split("\t")
        counts[server, method if method in KNOWN_METHODS else "other", status] += 1
    return counts


async def read_page(client: aiohttp.ClientSession, ports: Ports) -> tuple[Counts, dict[str, float]]:
    """Requests by labels, and the sources' up, from the page."""
    async with client.get(f"http://127.0.0.1:{ports.page}/metrics") as response:
        page = await response.text()
    counts: Counts = Counter()
    sources: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name == "nginx_http_responses_total":
                counts[sample.labels["server"], sample.labels["method"], sample.labels["status"]] += int(sample.value)
            elif sample.name == "resty_metrics_source_up":
                sources[sample.labels["source"]] = sample.value
    return counts, sources


def proof(sent: int, log: Counts, page: Counts, sources: dict[str, float]) -> bool:
    """Print sent, logged and counted, and say whether they agree and every source is up."""
    print(f"{'server':<14}{'method':<8}{'status':<8}{'access_log':>10}{'page':>10}")
    for key in sorted({*log, *page}):
        mark = "" if log[key] == page[key] else "   <- differs"
        print(f"{key[0]:<14}{key[1]:<8}{key[2]:<8}{log[key]:>10}{page[key]:>10}{mark}")
    print(f"{'all':<30}{log.total():>10}{page.total():>10}")
    up = all(value == 1 for value in sources.values()) and {"lua", "stub_status"} <= sources.keys()
    good = log == page and log.total() == sent and up
    print(f"sent {sent}, counted {page.total()}; sources: " + ", ".join(f"{k} {v:g}" for k, v in sources.items()))
    print("OK: every request is on the page exactly once" if good else "FAILED: see above")
    return good


async def check(prefix: Path, ports: Ports) -> bool:
    """Send every kind, wait until the page has them, show the proof."""
    order = [kind for kind in KINDS for _ in range(kind.times)]
    random.Random(0).shuffle(order)
    async with pipeline(prefix, ports), aiohttp.ClientSession() as client:
        limit = asyncio.Semaphore(16)

        async def one(kind: Kind) -> None:
            async with limit:
                await send(client, ports, kind)

        await asyncio.gather(*(one(kind) for kind in order))
        ends = time.monotonic() + AGREE_SECONDS
        while True:
            page, sources = await read_page(client, ports)
            log = logged(prefix)
            if (page == log and log.total() == len(order)) or time.monotonic() > ends:
                return proof(len(order), log, page, sources)
            await asyncio.sleep(0.1)


async def run(prefix: Path, ports: Ports) -> None:
    """Run with a little traffic until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with pipeline(prefix, ports) as processes, aiohttp.ClientSession() as client:
        print(f"site     http://127.0.0.1:{ports.site}/  (Host: shop.example, api.example)")
        print(f"page     http://127.0.0.1:{ports.page}/metrics, and for the eye http://127.0.0.1:{ports.page}/")
        print(f"nginx    {prefix}/nginx.conf, {prefix}/error.log")
        print("A little traffic is on its way. Ctrl-C ends all.", flush=True)
        while not stop.is_set():
            await send(client, ports, random.choices(KINDS, [kind.times for kind in KINDS])[0])
            if any(process.poll() is not None for process in processes):
                raise DemoError("the collector or nginx has ended; its own message is above")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), TRAFFIC_PAUSE_SECONDS)


def test_configuration(prefix: Path) -> bool:
    """``nginx -t`` with every file of nginx.conf.d/ that Debian's nginx knows the directives of."""
    done = subprocess.run([*nginx_command(prefix), "-q", "-t"], check=False)
    return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description="nginx with the include, a demo site, the collector, the page")
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--check", action="store_true", help="send 1,000 requests and show that each was counted")
    modes.add_argument("--test-configuration", action="store_true", help="nginx -t of the demo, then end")
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what runs is ended on the way out
    free = wanted.check or wanted.test_configuration
    ports = Ports(*(choose_port(0 if free else port) for port in (8080, 19145, 19146)))
    try:
        with workspace(ports) as prefix:
            if wanted.test_configuration:
                return 0 if test_configuration(prefix) else 1
            if wanted.check:
                return 0 if asyncio.run(check(prefix, ports)) else 1
            asyncio.run(run(prefix, ports))
    except DemoError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
