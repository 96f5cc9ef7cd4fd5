"""The bound on what all clients have us hold."""

from resty_metrics.web.room import Room
from resty_metrics.web.tally import Closed


class Client:
    """A connection that notes why it was cut off."""

    def __init__(self) -> None:
        self.reasons: list[Closed] = []

    def cut(self, reason: Closed) -> None:
        self.reasons.append(reason)


def test_above_the_bound_the_biggest_goes_until_the_rest_fits() -> None:
    room, small, big, bigger = Room(100), Client(), Client(), Client()
    for client, count in ((small, 10), (big, 40), (bigger, 50)):
        room.hold(client, count)
    assert room.used == 100
    room.hold(small, 11)
    assert (bigger.reasons, big.reasons, small.reasons, room.used) == (["room"], [], [], 51)


def test_what_is_held_no_more_gives_room() -> None:
    room, first, second = Room(100), Client(), Client()
    room.hold(first, 90)
    room.hold(first, 20)
    room.hold(second, 80)
    room.hold(first, 0)
    room.hold(second, 100)
    assert (first.reasons, second.reasons, room.used) == ([], [], 100)


def test_who_alone_holds_more_than_all_may_is_cut_off() -> None:
    room, client = Room(100), Client()
    room.hold(client, 101)
    room.hold(client, 0)
    assert (client.reasons, room.used) == (["room"], 0)
