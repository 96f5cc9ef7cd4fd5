"""The two peers of the demo's upstream."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web


async def _peer(request: web.Request) -> web.Response:
    if request.path == "/broken":
        return web.Response(status=500, text="broken\n")
    if request.path == "/slow":
        await asyncio.sleep(0.2)
    return web.Response(status=204) if request.method == "PUT" else web.Response(text="item\n")


@contextlib.asynccontextmanager
async def peers(directory: Path) -> AsyncIterator[None]:
    """Serve the two peers of the upstream on unix sockets in ``directory``."""
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
