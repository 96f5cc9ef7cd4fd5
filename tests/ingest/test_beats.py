"""What heartbeats may take, for each sender and together, and when they give it back."""

import random
import tracemalloc

import msgpack  # type: ignore[import-untyped]
import pytest
from resty_metrics.ingest.beats import GAUGES_SECONDS, MAX_INSTANCES, SENDER, TOTAL, Beats, Room, Size
from resty_metrics.ingest.senders import Senders
from resty_metrics.wire.datagram import MAX_DATAGRAM, VERSION, Header, Kind, WireError
from resty_metrics.wire.gauge_family import GaugeFamily, gauge_family
from resty_metrics.wire.heartbeat import MAX_FAMILIES, MAX_PARTS, Heartbeat, read_heartbeat

SMALL = Size(gauges=3, rows=10, bytes=1 << 20)


def gauge(name: str, first: int, last: int) -> GaugeFamily:
    return gauge_family(name, "", ("l",), "sum", [(str(number), number, 1) for number in range(first, last)])


def hear(
    beats: Beats, room: Room, *parts: tuple[GaugeFamily, ...], number: int = 1, now: float = 0.0
) -> dict[str, int]:
    """Send a beat of these parts; the rows that were refused, by reason."""
    refused: dict[str, int] = {}
    for place, families in enumerate(parts, 1):
        beat = Heartbeat(worker=7 if place == 1 else None, families=families, part=place, parts=len(parts))
        for reason, count in beats.hear(number, beat, now, room).refused.items():
            refused[reason] = refused.get(reason, 0) + count
    return refused


def rows(beats: Beats) -> list[str]:
    whole = beats.whole
    return [] if whole is None else [f"{family.name}{row[0]}" for family in whole.families for row in family.rows]


def unlabelled(count: int) -> GaugeFamily:
    return gauge_family("a", "", (), "sum", [(1, 1)] * count)


def labelled(*values: str) -> GaugeFamily:
    return gauge_family("a", "", ("l",), "sum", [(value, 1, 1) for value in values])


Parts = list[list[GaugeFamily]]
A, B, C = gauge("a", 0, 1), gauge("b", 0, 1), gauge("c", 0, 1)
SENT: list[tuple[str, Parts, int, dict[str, int]]] = [
    ("all fits", [[gauge("a", 0, 10)]], 10, {}),
    ("one part", [[gauge("a", 0, 15)]], 10, {"worker_cap": 5}),
    ("two gauges", [[gauge("a", 0, 6), gauge("b", 0, 6)]], 10, {"worker_cap": 2}),
    ("all parts of a beat together", [[gauge("a", 0, 6)], [gauge("a", 6, 12)], [B]], 10, {"worker_cap": 3}),
    ("as many gauges as there may be", [[gauge(name, 0, 1) for name in "abcde"]], 3, {"worker_cap": 2}),
    ("a gauge in pieces is one", [[A], [gauge("a", 1, 2)], [B, C]], 4, {}),
    ("a part twice", [[gauge("a", 0, 3)], [gauge("a", 0, 3)]], 3, {"duplicate": 3}),
    ("a label set twice in a family", [[labelled("x", "x")]], 1, {"duplicate": 1}),
    ("equal when they are clean", [[labelled("", "_")]], 1, {"duplicate": 1}),
    ("no labels", [[unlabelled(100)]], 1, {"duplicate": 99}),
    ("the same label set of two gauges", [[A, B]], 2, {}),
]


@pytest.mark.parametrize(("parts", "kept", "refused"), [case[1:] for case in SENT], ids=[case[0] for case in SENT])
def test_what_a_sender_may_have(parts: Parts, kept: int, refused: dict[str, int]) -> None:
    beats, room = Beats(), Room(sender=SMALL)
    assert hear(beats, room, *map(tuple, parts)) == refused
    assert beats.whole is not None
    assert beats.whole.worker == 7, "what is cut still shows that the worker lives"
    assert len(rows(beats)) == len(set(rows(beats))) == kept == room.held.rows


def test_rows_are_bounded_by_their_bytes_too() -> None:
    long = gauge_family("a", "", ("l",), "sum", [("x" * 250 + str(number), 1, 1) for number in range(10)])
    beats, room = Beats(), Room(sender=Size(10, 100, 2_048))
    assert hear(beats, room, (long,)) == {"worker_cap": 6}
    assert (room.held.rows, room.held.bytes <= 2_048) == (4, True)


def test_all_senders_together_have_one_bound() -> None:
    room = Room(sender=SMALL, total=Size(gauges=100, rows=25, bytes=1 << 20))
    senders = [Beats() for _ in range(4)]
    refused = [hear(beats, room, (gauge("a", 0, 10),)) for beats in senders]
    assert refused == [{}, {}, {"total_cap": 5}, {"total_cap": 10}]
    assert room.held.rows == 25
    again = [hear(beats, room, (gauge("a", 0, 10),), number=2) for beats in senders]
    assert again == refused, "a sender that says the same again loses nothing of it, and gains nothing"


@pytest.mark.parametrize("leave", ["end", "expire", "shrink"])
def test_room_is_for_the_living(leave: str) -> None:
    room = Room(sender=SMALL, total=Size(gauges=100, rows=10, bytes=1 << 20))
    first, second = Beats(), Beats()
    hear(first, room, (gauge("a", 0, 10),))
    assert hear(second, room, (gauge("a", 0, 10),)) == {"total_cap": 10}
    if leave == "end":
        first.end(room)
    elif leave == "expire":
        first.expire(GAUGES_SECONDS, room)
        assert room.held.rows == 10
        first.expire(GAUGES_SECONDS + 0.1, room)
    else:
        hear(first, room, (gauge("a", 0, 1),), number=2)
    assert hear(second, room, (gauge("a", 0, 9),), number=2) == {}
    assert len(rows(second)) == 9


def test_parts_that_never_become_whole_are_released() -> None:
    beats, room = Beats(), Room()
    hear(beats, room, (gauge("a", 0, 2),))
    beats.hear(2, Heartbeat(families=(gauge("a", 0, 9),), part=1, parts=2), 10.0, room)
    assert room.held.rows == 9
    beats.expire(10.0 + GAUGES_SECONDS, room)
    assert (room.held.rows, rows(beats)) == (9, []), "the whole one is over, the parts are not yet"
    beats.expire(10.1 + GAUGES_SECONDS, room)
    assert room.held == Size()
    beats.hear(2, Heartbeat(families=(gauge("a", 0, 9),), part=2, parts=2), 30.0, room)
    assert room.held == Size(), "the rest of a beat that was given up waits for nothing"
    assert hear(beats, room, (gauge("a", 0, 3),), number=3, now=40.0) == {}
    assert len(rows(beats)) == 3


def test_what_is_not_a_gauge_stands_in_the_first_part_alone() -> None:
    beats, room = Beats(), Room()
    dicts = tuple([(f"{number}" * 100, 1.0, 1.0) for number in range(200)])
    for part in range(1, MAX_PARTS + 1):
        beats.hear(1, Heartbeat(dicts=dicts, part=part, parts=MAX_PARTS), 0.0, room)
    assert beats.whole is not None
    assert beats.whole.dicts == dicts
    assert room.held.bytes < 200 * 1_000


def test_dictionaries_take_room_too() -> None:
    room = Room(total=Size(100, 100, 10_000))
    dicts = (("x" * 200, 1.0, 1.0),) * 15
    kept = 0
    for _ in range(10):
        beats = Beats()
        beats.hear(1, Heartbeat(dicts=dicts), 0.0, room)
        assert beats.whole is not None
        kept += beats.whole.dicts is not None
    assert kept == 1


def test_names_of_nginx_are_bounded_over_all_senders() -> None:
    room, senders = Room(), [Beats() for _ in range(MAX_INSTANCES + 1)]
    kept = [beats.hear(1, Heartbeat(instance=f"n{number}"), 0.0, room).kept for number, beats in enumerate(senders)]
    assert kept == [True] * MAX_INSTANCES + [False]
    assert senders[-1].whole is None
    assert senders[-1].hear(2, Heartbeat(instance="n0"), 0.0, room).kept, "another worker of a name that is known"
    senders[1].end(room)
    assert Beats().hear(1, Heartbeat(instance="new"), 0.0, room).kept


def test_the_books_are_right_whatever_happens() -> None:
    """Any order of parts, beats, ends and expiries: what is held is what can be counted anew."""
    source, room = random.Random(5), Room(sender=SMALL, total=Size(20, 40, 20_000), max_instances=3)
    senders = [Beats() for _ in range(8)]
    now = 0.0
    for number in range(1, 4_000):
        now += source.random()
        beats = source.choice(senders)
        action = source.random()
        if action < 0.1:
            beats.end(room)
        elif action < 0.3:
            beats.expire(now, room)
        else:
            parts = source.choice((1, 1, 2, 3))
            first = source.randrange(20)
            families = tuple([gauge(source.choice("abcd"), first, first + source.randrange(1, 9)) for _ in range(2)])
            name = f"n{source.randrange(5)}"
            part = Heartbeat(instance=name, families=families, part=source.randint(1, parts), parts=parts)
            beats.hear(number - source.randrange(3), part, now, room)
        held, instances = room.held, dict(room.instances)
        room.recount(senders)
        assert (held, instances) == (room.held, dict(room.instances))
        assert held.rows <= 40
        assert held.bytes <= 20_000
        assert held.gauges <= 20
        assert len(instances) <= 3
        for beats in senders:
            charge = beats.charge
            assert (charge.rows <= SMALL.rows, charge.gauges <= SMALL.gauges) == (True, True)


def beat(sender: int, number: int, base: int = 1) -> Header:
    return Header(VERSION, Kind.HEARTBEAT, b"%016d" % sender, 1000, number, base)


def test_the_worst_that_senders_can_send_is_bounded() -> None:
    """Many senders, each with a part as full as a datagram can be: of rows, pieces, long names and texts."""
    senders, source = Senders(), random.Random(1)
    bodies: list[dict[str, object]] = [
        {"families": [make_family("g", [[f"{number:x}", 1, 1] for number in range(6_000)], ["l"])]},
        {"families": [make_family(f"{number}g"[::-1], [[1, 1]]) for number in range(900)]},
        {"families": [make_family("g", [[f"{number}", 1, 1]], ["l"]) for number in range(900)]},
        {"families": [make_family("g", [["é" * 125 + f"{number}"] * 6 + [1, 1] for number in range(36)], [*"abcdef"])]},
        {"families": [{**make_family("g" * 128, [[1, 1]]), "help": "é" * 1_024} for _ in range(20)]},
        {"dicts": {f"{number}" + "x" * 200: [1, 1] for number in range(256)}},
    ]
    parts = [read_heartbeat(packed({**body, "part": 1, "parts": 2})) for body in bodies]
    for sender in range(500):
        senders.beat(beat(sender, 1), source.choice(parts), 0.0)
        assert senders.room.held.rows <= TOTAL.rows
        assert senders.room.held.bytes <= TOTAL.bytes
    assert max(SENDER.rows / TOTAL.rows, SENDER.bytes / TOTAL.bytes, SENDER.gauges / TOTAL.gauges) <= 1 / 8
    senders.prune(GAUGES_SECONDS + 0.1)
    assert senders.room.held == Size()


def make_family(name: str, rows: list[list[object]], labels: list[str] | None = None) -> dict[str, object]:
    return {"name": name, "labels": labels or [], "combine": "sum", "rows": rows}


def packed(body: dict[str, object]) -> bytes:
    data: bytes = msgpack.packb(body)
    assert len(data) <= MAX_DATAGRAM - 48
    return data


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rows", "pieces", "wide"])
def test_memory_of_a_full_room(kind: str) -> None:
    """What it is estimated at is what it takes, and less than 1.5 KiB for any row."""
    room, senders = Room(), [Beats() for _ in range(14)]
    tracemalloc.start()
    for number, beats in enumerate(senders):
        for part in range(1, 11):
            names = [f"{number}-{part}-{row}" for row in range(1_000)]
            if kind == "rows":
                families = [make_family("g", [[name, 1, 1] for name in names], ["l"])]
            elif kind == "pieces":
                families = [make_family("g", [[name, 1, 1]], ["l"]) for name in names[:900]]
            else:
                families = [make_family("g", [[name] * 12 + [1, 1] for name in names[:300]], [*"abcdefghijkm"])]
            beats.hear(1, read_heartbeat(packed({"families": families, "part": part, "parts": 10})), 0.0, room)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert all(beats.whole is not None for beats in senders)
    assert max(room.held.rows / TOTAL.rows, room.held.bytes / TOTAL.bytes) > 0.2
    assert held < 1.2 * room.held.bytes


@pytest.mark.parametrize(
    "body",
    [
        {"families": [make_family("x" * 129, [[1, 1]])]},
        {"families": [make_family("g", [["a", 1, 1]], ["l" * 129])]},
        {"families": [make_family("g", [[1, 1]])] * (MAX_FAMILIES + 1)},
        {"dicts": {f"{number}": [1, 1] for number in range(257)}},
        {"module": "x" * 65},
        {"part": 1, "parts": 65},
    ],
)
def test_fields_are_bounded(body: dict[str, object]) -> None:
    with pytest.raises(WireError, match="invalid"):
        read_heartbeat(packed(body))


def test_what_can_be_cut_is_cut_when_it_arrives() -> None:
    heartbeat = read_heartbeat(
        packed({"families": [make_family("g", [["x" * 9_000, 1, 1]], ["l"])], "dicts": {"y" * 9_000: [1, 1]}})
    )
    (family,) = heartbeat.families
    ((name, _, _),) = heartbeat.dicts or ()
    assert (len(family.keys[0]), len(name.encode())) == (256, 256)
