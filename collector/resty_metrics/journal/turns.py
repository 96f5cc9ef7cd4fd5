"""Work on the event loop in turns: between two turns the loop serves scrapes, heartbeats and the socket.

Rules:
- Work is done in the order in which it was added, piece by piece. After TURN_SECONDS no piece begins in the same turn.
- Work that fails is a bug. It is logged, and costs no other work.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator

from resty_metrics.process.log import LOGGER

TURN_SECONDS = 0.005

Work = Iterator[None]


class Turns:
    """The queue of work that waits for its turn. ``after`` is called at the end of each turn.

    ``seconds``: the processor time of all work so far.
    """

    def __init__(self, after: Callable[[], None]) -> None:
        self.seconds = 0.0
        self._after = after
        self._work: deque[Work] = deque()
        self._is_next_due = False

    def __len__(self) -> int:
        return len(self._work)

    def add(self, work: Work) -> None:
        """Start this work at once if there is no other, else queue it."""
        self._work.append(work)
        if len(self._work) == 1:
            self._take_turn()

    def finish(self) -> None:
        """Do all queued work now."""
        while self._work:
            self._do_piece()

    def _take_turn(self) -> None:
        ends = time.monotonic() + TURN_SECONDS
        while self._work and time.monotonic() < ends:
            self._do_piece()
        self._after()
        if self._work and not self._is_next_due:
            self._is_next_due = True
            asyncio.get_running_loop().call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._is_next_due = False
        self._take_turn()

    def _do_piece(self) -> None:
        began = time.thread_time()
        try:
            next(self._work[0])
        except StopIteration:
            self._work.popleft()
        except Exception:
            self._work.popleft()
            LOGGER.exception("cannot apply a written record because of a bug, please report it")
        self.seconds += time.thread_time() - began
