"""The reasons why workers are not counted although the page is served. Pure: degradation.py looks, this module judges.

Rules:
- A stranger's datagrams degrade nothing: refusals count only while no worker's datagram is accepted. At the cap of
  senders new workers are refused while the others go on, so that is reported in any case.
- Workers beat each 5 s, and send refused datagrams again within 5 s. A fault that has not recurred for a few of these
  periods is over.
- A way to the socket is closed if no user that may send can pass. A user whose groups are not known may be in all of
  them: it belongs to another machine, or another container.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from resty_metrics.advice.remedies import of_refusal
from resty_metrics.kernel.access import WRITE, Node, Obstacle, User, obstacle

ACCEPTED_SECONDS = 15.0
REFUSED_SECONDS = 30.0
ACCEPTED = frozenset({"applied", "duplicate", "out_of_order", "heartbeat", "bye"})
NOBODY = 2**32 - 1  # never a user or a group: for chown(2) it means "leave it"
_SHOWN_UIDS = 5

K = TypeVar("K", bound=Hashable)


class Growth(Generic[K]):
    """The times at which some counters last grew, in seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._counts: dict[K, int] = {}
        self._grew: dict[K, float] = {}

    def observe(self, counts: Mapping[K, int], now: float) -> None:
        """Compare the counters with those of the last look."""
        for key, count in counts.items():
            if count != self._counts.get(key, 0):
                self._grew[key] = now
        self._counts = dict(counts)

    def within(self, seconds: float, now: float) -> set[K]:
        """Return the counters that grew in the last seconds."""
        return {key for key, at in self._grew.items() if now - at <= seconds}


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The datagrams of the last seconds: whether one of a worker was accepted, the reasons of refusals, and the users
    that were refused.
    """

    accepted: bool = False
    refused: frozenset[str] = frozenset()
    uids: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class SendingUser:
    """A user that nginx's workers may run as. ``groups`` None: not known."""

    uid: int
    groups: frozenset[int] | None


def faults(arrivals: Arrivals, way: Sequence[Node], users: Sequence[SendingUser]) -> list[str]:
    """Return the reasons that keep workers from being counted; empty if none is known.

    ``way``: the directories down to the socket, and the socket; empty: not known.
    """
    found = []
    if "sender_cap" in arrivals.refused:
        found.append(f"new workers are refused: {of_refusal('sender_cap')}")
    if arrivals.accepted:
        return found
    if "uid" in arrivals.refused:
        found.append(f"every worker is refused: {_users(arrivals.uids)} may not send. {of_refusal('uid')}")
    if "version" in arrivals.refused:
        found.append(f"every worker is refused: it speaks another version. {of_refusal('version')}")
    stopped = closed(way, users)
    if stopped is not None:
        found.append(f"no worker reaches the socket: {_closed(stopped, is_socket=stopped.node is way[-1])}")
    return found


def closed(way: Sequence[Node], users: Sequence[SendingUser]) -> Obstacle | None:
    """Return the first obstacle on a way that no user passes; None if one may pass, or that is not known."""
    stopped = [_obstacle(user, way) for user in users or [SendingUser(NOBODY, None)]]
    if not way or any(one is None or not one.known for one in stopped):
        return None
    return stopped[0]


def _obstacle(user: SendingUser, way: Sequence[Node]) -> Obstacle | None:
    if user.groups is not None:
        return obstacle(User(user.uid, NOBODY, user.groups, None), way, WRITE)
    groups = (frozenset[int](), frozenset(node.gid for node in way))
    either = [obstacle(User(user.uid, NOBODY, some, None), way, WRITE) for some in groups]
    return None if None in either else either[0]


def _users(uids: frozenset[int]) -> str:
    if not uids:
        return "its user"
    shown = sorted(uids)[:_SHOWN_UIDS]
    more = ", ..." if len(uids) > len(shown) else ""
    return f"uid {', '.join(map(str, shown))}{more}"


def _closed(stopped: Obstacle, *, is_socket: bool) -> str:
    seen = f"none of the users that may send can {stopped.need_word} {stopped.node.label}"
    return f"{seen}. {'Set --socket.mode=0666.' if is_socket else f'Run: chmod o+x {stopped.node.path}'}"
