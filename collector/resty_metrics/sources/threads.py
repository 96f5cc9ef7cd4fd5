"""A call in a separate thread.

So a name server or a file system that does not answer holds neither the loop's few threads, which other sources need,
nor the end of the process.
"""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

Result = TypeVar("Result")


async def call(name: str, function: Callable[[], Result]) -> Result:
    """Return or raise the result of ``function``, run in a thread called ``name``.

    The thread goes on if its caller stops waiting.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def settle(setter: Callable[[Any], None], result: Any) -> None:
        if not future.done():
            setter(result)

    def run() -> None:
        try:
            settled = partial(settle, future.set_result, function())
        except Exception as error:
            settled = partial(settle, future.set_exception, error)
        if not loop.is_closed():
            loop.call_soon_threadsafe(settled)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await future
