"""The spool on a dictionary that is full: what does not fit is lost, and every row of it is counted."""

import pytest
from support.luajit import ask

SENDERS = [["first", [10, 20, 30]], ["second", [1, 2]]]
ROWS = 63


@pytest.mark.parametrize("room", range(8))
def test_what_does_not_fit_is_counted(room: int) -> None:
    """A sender takes a value for each batch and one for its name, without which nobody could take it."""
    (result,) = ask(["spool", room, SENDERS])
    accepted, rows, lost = result
    assert rows + lost == ROWS
    assert [name for name, _ in accepted] == [b"first", b"second"][: len(accepted)]
    assert (lost == 0) == (room == 7)


def test_losses_are_told_by_one_worker() -> None:
    (result,) = ask(["lost_twice", 5])
    assert result == [5, 0, 0]
