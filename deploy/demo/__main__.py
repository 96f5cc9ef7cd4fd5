"""The command ``scripts/run``: runs with a little traffic, or proves that every request is counted."""

import argparse
import asyncio
import contextlib
import random
import signal
import sys
from pathlib import Path

import aiohttp

from deploy.demo.error import DemoError
from deploy.demo.installed import Ports, choose_port, test_configuration, workspace
from deploy.demo.pipeline import pipeline
from deploy.demo.proof import check
from deploy.demo.traffic import KINDS, send

TRAFFIC_PAUSE_SECONDS = 0.1


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/run", description="Run nginx with the include, a demo site, and the collector."
    )
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--check", action="store_true", help="send 1,000 requests and show that each was counted")
    modes.add_argument("--test-configuration", action="store_true", help="nginx -t of the demo, then end")
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that all started processes are ended on the way out
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


async def run(prefix: Path, ports: Ports) -> None:
    """Run with a little traffic until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with pipeline(prefix, ports) as processes, aiohttp.ClientSession() as client:
        command = Path(sys.executable).with_name("resty-metrics")
        print(f"live page   http://127.0.0.1:{ports.page}/")
        print(f"metrics     http://127.0.0.1:{ports.page}/metrics")
        print(f"demo site   http://127.0.0.1:{ports.site}/  (Host: shop.example, api.example)")
        print(f"nginx       {prefix}/nginx.conf, {prefix}/error.log")
        print(f"doctor      {command} doctor --socket.path={prefix}/run/collector.sock")
        print("A little traffic is on its way. Ctrl-C ends everything.", flush=True)
        while not stop.is_set():
            await send(client, ports, random.choices(KINDS, [kind.times for kind in KINDS])[0])
            if any(process.poll() is not None for process in processes):
                raise DemoError("the collector or nginx has ended; its own message is above")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), TRAFFIC_PAUSE_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
