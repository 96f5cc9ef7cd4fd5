"""The processes of the demo: peers, collector and nginx are started, waited for, and ended."""

import asyncio
import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from deploy.demo.error import DemoError
from deploy.demo.installed import Ports, nginx_command
from deploy.demo.peers import peers

START_SECONDS = 30.0


@contextlib.asynccontextmanager
async def pipeline(prefix: Path, ports: Ports) -> AsyncIterator[list[subprocess.Popen[bytes]]]:
    """Run peers, collector and nginx. Yield the processes of the last two once all are ready."""
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
        with running(collector, "the collector") as receiver:
            await until(lambda: answers(ports.page), [receiver], "the collector")
            with running(nginx_command(prefix), "nginx") as nginx:  # now: its workers would report that nobody listens
                await until(lambda: answers(ports.site), [receiver, nginx], "nginx")
                yield [receiver, nginx]


@contextlib.contextmanager
def running(command: list[str], name: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process, and end it with SIGTERM. It is in its own session, so that Ctrl-C reaches only the demo itself."""
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
    """Wait for a condition. Raises DemoError if a process ends meanwhile, or after START_SECONDS."""
    ends = time.monotonic() + START_SECONDS
    while not condition():
        ended = next((one for one in processes if one.poll() is not None), None)
        if ended is not None:
            raise DemoError(f"{ended.args!r} ended with status {ended.returncode}; its own message is above")
        if time.monotonic() > ends:
            raise DemoError(f"{what} did not come within {START_SECONDS:.0f} s")
        await asyncio.sleep(0.05)


def answers(port: int) -> bool:
    """Return True if a process listens on this TCP port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
