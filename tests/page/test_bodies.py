"""Room for pages that are being read: how much there is, and whose connection makes room."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from resty_metrics.page.bodies import (
    CLIENT_BYTES,
    HELD_BYTES,
    READ_SECONDS,
    REGULAR_READ_SECONDS,
    SLICE_BYTES,
    Bodies,
    Body,
)
from resty_metrics.table.scrapers import identify

PROMETHEUS = identify("10.0.0.1", "Prometheus/3")
HALF = bytes(HELD_BYTES // 2)


class Room:
    """Bodies with one reader each, and the names of those that were closed."""

    def __init__(self, opened: ExitStack) -> None:
        self.bodies = Bodies()
        self.closed: list[str] = []
        self._held: list[Body] = []
        self._opened = opened

    def hold(self, name: str, made: float, regular: bool = False, size: int = HELD_BYTES // 2) -> None:
        body = Body([HALF] * (size // len(HALF)), made, frozenset([PROMETHEUS]))
        self.bodies.add(body)
        self._held.append(body)
        scraper = PROMETHEUS if regular else None
        self._opened.enter_context(body.reading(scraper, lambda: self.closed.append(name)))


@pytest.fixture
def room() -> Iterator[Room]:
    with ExitStack() as opened:
        yield Room(opened)


def test_there_is_room_up_to_the_bound(room: Room) -> None:
    for name in "ab":
        assert room.bodies.make_room(0.0, False)
        room.hold(name, 0.0)
    assert room.bodies.size == HELD_BYTES
    assert room.bodies.make_room(0.0, False)
    room.hold("c", 0.0)
    assert not room.bodies.make_room(0.0, False)
    assert not room.bodies.make_room(0.0, True)
    assert room.closed == []


def test_a_body_counts_while_anybody_holds_it() -> None:
    bodies = Bodies()
    body = Body([HALF] * 3)
    bodies.add(body)
    assert not bodies.make_room(0.0, False)
    del body
    assert bodies.size == 0
    assert bodies.make_room(0.0, False)


def test_the_oldest_is_closed_and_no_more_than_is_needed(room: Room) -> None:
    for number, name in enumerate("abcd"):
        room.hold(name, float(number))
    now = 3.0 + READ_SECONDS + 0.1
    for _ in range(2):  # until a closed connection has let go of it
        assert not room.bodies.make_room(now, False)
        assert room.closed == ["a", "b"]


def test_what_is_being_read_has_its_time(room: Room) -> None:
    for name in "abc":
        room.hold(name, 10.0)
    assert not room.bodies.make_room(10.0 + READ_SECONDS, True)
    assert room.closed == []
    room.bodies.make_room(10.1 + READ_SECONDS, False)
    assert len(room.closed) == 1


def test_a_regular_scrapers_page_gives_way_last_and_to_regular_ones_alone(room: Room) -> None:
    room.hold("regular", 0.0, regular=True, size=2 * HELD_BYTES)
    room.hold("other", 1.0)
    late = 1.1 + REGULAR_READ_SECONDS
    assert not room.bodies.make_room(late, False)
    assert room.closed == ["other"]
    assert not room.bodies.make_room(0.1 + READ_SECONDS, True)
    assert room.closed == ["other"]
    assert not room.bodies.make_room(late, True)
    assert room.closed == ["other", "regular"]


def test_others_that_share_its_page_are_not_protected_by_a_regular_scraper_that_has_read_it() -> None:
    bodies, closed = Bodies(), list[str]()
    body = Body([HALF] * 3, 0.0, frozenset([PROMETHEUS]))
    bodies.add(body)
    with body.reading(None, lambda: closed.append("other")):
        with body.reading(PROMETHEUS, lambda: closed.append("regular")):
            bodies.make_room(READ_SECONDS + 0.1, False)
            assert closed == []
        bodies.make_room(READ_SECONDS + 0.1, False)
        assert closed == ["other"]


def test_connections_leave_less_room(room: Room) -> None:
    room.bodies.leave(CLIENT_BYTES - HELD_BYTES)
    room.hold("a", 0.0)
    assert room.bodies.make_room(0.0, False)
    room.bodies.leave(CLIENT_BYTES - HELD_BYTES // 4)
    assert room.bodies.most == HELD_BYTES // 4
    assert not room.bodies.make_room(0.0, False)
    room.bodies.leave(2 * CLIENT_BYTES)
    assert room.bodies.most == 0
    assert room.closed == []  # one page is beside the bound
    room.bodies.leave(0)
    assert room.bodies.most == HELD_BYTES


def test_bodies_that_leave_too_little_for_connections_are_closed_at_once_those_of_regular_scrapers_last(
    room: Room,
) -> None:
    room.hold("regular", 0.0, regular=True)
    for made, name in enumerate("abc"):
        room.hold(name, 1.0 + made)
    room.bodies.leave(CLIENT_BYTES - HELD_BYTES)
    assert room.closed == ["a"]
    room.bodies.leave(CLIENT_BYTES - HELD_BYTES // 2)
    assert room.closed == ["a", "b"]
    room.bodies.leave(CLIENT_BYTES)
    assert room.closed == ["a", "b", "c"]


def test_the_larger_of_two_bodies_is_the_page_beside_the_bound(room: Room) -> None:
    room.hold("large", 0.0, size=4 * HELD_BYTES)
    room.hold("small", 1.0, size=HELD_BYTES)
    room.bodies.leave(CLIENT_BYTES - HELD_BYTES)
    assert room.closed == []
    room.bodies.leave(CLIENT_BYTES - HELD_BYTES + 1)
    assert room.closed == ["large"]


def test_who_comes_to_a_closed_body_is_closed_too() -> None:
    body, closed = Body([b"x"]), list[str]()
    body.cut()
    with body.reading(None, lambda: closed.append("late")):
        assert closed == ["late"]
    assert body.is_cut


def test_a_reader_that_is_done_is_not_closed() -> None:
    body, closed = Body([b"x"]), list[str]()
    with body.reading(None, lambda: closed.append("done")), body.reading(None, lambda: closed.append("done")):
        pass
    body.cut()
    assert closed == []


@pytest.mark.parametrize("sizes", [[], [0], [1, 2], [SLICE_BYTES], [SLICE_BYTES + 1, 3], [10 * SLICE_BYTES, 1]])
def test_slices_are_the_body(sizes: list[int]) -> None:
    body = Body([bytes([number]) * size for number, size in enumerate(sizes)])
    slices = list(body.slices())
    assert b"".join(slices) == b"".join(body.pieces)
    assert body.size == sum(sizes)
    assert all(len(piece) <= SLICE_BYTES for piece in slices)
