"""The requests of the demo."""

from dataclasses import dataclass

import aiohttp

from deploy.demo.error import DemoError
from deploy.demo.installed import Ports


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of request. ``status``: of nginx's answer. ``times``: how often --check sends it."""

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


async def send(client: aiohttp.ClientSession, ports: Ports, kind: Kind) -> None:
    """Send a request. Raises DemoError if the status of the answer is not the expected one."""
    url = f"http://127.0.0.1:{ports.site}{kind.path}"
    async with client.request(kind.method, url, headers={"Host": kind.host}, allow_redirects=False) as response:
        await response.read()
        if response.status != kind.status:
            raise DemoError(f"{kind.method} {kind.path} of {kind.host} gave {response.status}, not {kind.status}")
