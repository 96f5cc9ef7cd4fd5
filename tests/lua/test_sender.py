"""A sender's window, as docs/wire.md's state chart has it: what is due, what an ack releases, when it stalls."""

from typing import Any

import pytest
from support.luajit import ask

# each step: the call, then what is seen after it: result, state, base, next, sent, bytes
Step = tuple[list[Any], tuple[Any, str, int, int, int, int]]

LIVES: dict[str, list[Step]] = {
    "sent in order, acked at once": [
        (["push", 100], (False, "flowing", 1, 2, 0, 100)),
        (["due", 0], (1, "flowing", 1, 2, 0, 100)),
        (["was_sent", 1, 0, 0], (False, "flowing", 1, 2, 1, 100)),
        (["due", 0], (False, "flowing", 1, 2, 1, 100)),
        (["acked", 1, 1], (True, "flowing", 2, 2, 1, 0)),
    ],
    "an ack of several, and one that says nothing new": [
        (["push", 10], (False, "flowing", 1, 2, 0, 10)),
        (["push", 20], (False, "flowing", 1, 3, 0, 30)),
        (["push", 30], (False, "flowing", 1, 4, 0, 60)),
        (["was_sent", 1, 0, 0], (False, "flowing", 1, 4, 1, 60)),
        (["was_sent", 2, 0, 0], (False, "flowing", 1, 4, 2, 60)),
        (["acked", 2, 1], (True, "flowing", 3, 4, 2, 30)),
        (["acked", 2, 1], (False, "flowing", 3, 4, 2, 30)),
        (["due", 0], (3, "flowing", 3, 4, 2, 30)),
    ],
    "an ack of what was never sent is no ack": [
        (["push", 10], (False, "flowing", 1, 2, 0, 10)),
        (["acked", 1, 1], (False, "flowing", 1, 2, 0, 10)),
        (["acked", 99, 1], (False, "flowing", 1, 2, 0, 10)),
        (["due", 0], (1, "flowing", 1, 2, 0, 10)),
    ],
    "broken: only the oldest, after 1 s, 2 s, 4 s, 5 s": [
        (["push", 10], (False, "flowing", 1, 2, 0, 10)),
        (["push", 10], (False, "flowing", 1, 3, 0, 20)),
        (["was_sent", 1, 0, 0], (False, "flowing", 1, 3, 1, 20)),
        (["stall", 0], (False, "stalled", 1, 3, 1, 20)),
        (["due", 0.9], (False, "stalled", 1, 3, 1, 20)),
        (["due", 1], (1, "stalled", 1, 3, 1, 20)),
        (["was_sent", 1, 1, 1], (False, "stalled", 1, 3, 1, 20)),
        (["due", 2.9], (False, "stalled", 1, 3, 1, 20)),
        (["due", 3], (1, "stalled", 1, 3, 1, 20)),
        (["was_sent", 1, 3, 3], (False, "stalled", 1, 3, 1, 20)),
        (["due", 6.9], (False, "stalled", 1, 3, 1, 20)),
        (["was_sent", 1, 7, 7], (False, "stalled", 1, 3, 1, 20)),
        (["due", 11.9], (False, "stalled", 1, 3, 1, 20)),
        (["due", 12], (1, "stalled", 1, 3, 1, 20)),
        (["acked", 1, 12], (True, "flowing", 2, 3, 1, 10)),
        (["due", 12], (2, "flowing", 2, 3, 1, 10)),
    ],
    "a new line: the oldest may go at once": [
        (["push", 10], (False, "flowing", 1, 2, 0, 10)),
        (["stall", 0], (False, "stalled", 1, 2, 0, 10)),
        (["retry_now"], (False, "stalled", 1, 2, 0, 10)),
        (["due", 0], (1, "stalled", 1, 2, 0, 10)),
    ],
    "held: like stalled, and nothing is cut": [
        (["push", 10], (False, "flowing", 1, 2, 0, 10)),
        (["was_sent", 1, 0, 0], (False, "flowing", 1, 2, 1, 10)),
        (["hold", 0], (False, "held", 1, 2, 1, 10)),
        (["may_cut"], (False, "held", 1, 2, 1, 10)),
        (["due", 0.5], (False, "held", 1, 2, 1, 10)),
        (["due", 1], (1, "held", 1, 2, 1, 10)),
        (["acked", 1, 2], (True, "flowing", 2, 2, 1, 0)),
        (["may_cut"], (True, "flowing", 2, 2, 1, 0)),
    ],
    "nothing is cut while something waits to be sent": [
        (["may_cut"], (True, "flowing", 1, 1, 0, 0)),
        (["push", 10], (False, "flowing", 1, 2, 0, 10)),
        (["may_cut"], (False, "flowing", 1, 2, 0, 10)),
        (["was_sent", 1, 0, 0], (False, "flowing", 1, 2, 1, 10)),
        (["may_cut"], (True, "flowing", 1, 2, 1, 10)),
    ],
    "a full window cuts nothing more": [
        (["push", 4 * 1024 * 1024], (False, "flowing", 1, 2, 0, 4 * 1024 * 1024)),
        (["was_sent", 1, 0, 0], (False, "flowing", 1, 2, 1, 4 * 1024 * 1024)),
        (["may_cut"], (False, "flowing", 1, 2, 1, 4 * 1024 * 1024)),
        (["full"], (True, "flowing", 1, 2, 1, 4 * 1024 * 1024)),
    ],
    "too large: only what was never sent is taken back": [
        (["push", 10], (False, "flowing", 1, 2, 0, 10)),
        (["was_sent", 1, 0, 0], (False, "flowing", 1, 2, 1, 10)),
        (["take_back"], (False, "flowing", 1, 2, 1, 10)),
        (["push", 20], (False, "flowing", 1, 3, 1, 30)),
        (["take_back"], (True, "flowing", 1, 2, 1, 10)),
        (["push", 5], (False, "flowing", 1, 3, 1, 15)),
        (["due", 0], (2, "flowing", 1, 3, 1, 15)),
    ],
    "an inherited sender whose last batches the spool did not hold": [
        (["inherit", 0], (False, "flowing", 5, 5, 4, 0)),
        (["push", 10], (False, "flowing", 5, 6, 4, 10)),
        (["was_sent", 5, 0, 0], (False, "flowing", 5, 6, 5, 10)),
        (["acked", 9, 1], (True, "flowing", 6, 6, 5, 0)),
    ],
    "overdue: something was sent, and nothing was released for more than two ticks": [
        (["overdue", 9], (False, "flowing", 1, 1, 0, 0)),
        (["push", 10], (False, "flowing", 1, 2, 0, 10)),
        (["overdue", 9], (False, "flowing", 1, 2, 0, 10)),
        (["was_sent", 1, 9, 9], (False, "flowing", 1, 2, 1, 10)),
        (["overdue", 11], (False, "flowing", 1, 2, 1, 10)),
        (["overdue", 12], (True, "flowing", 1, 2, 1, 10)),
    ],
}


@pytest.mark.parametrize("name", LIVES)
def test_a_life(name: str) -> None:
    steps = LIVES[name]
    first = steps[0][1][2]
    (answers,) = ask(["sender", first, [call for call, _ in steps]])
    results = [(step[0], step[1].decode(), *step[2:]) for step in answers]
    assert results == [expected for _, expected in steps]
