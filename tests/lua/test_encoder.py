"""The Lua encoder on random data: Python's msgpack and Debian's lua-messagepack read what was written."""

import random
from typing import Any

import msgpack  # type: ignore[import-untyped]
from support.effort import examples
from support.luajit import ask

CASES = examples(3000)
EDGES = [0, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**53 - 1, 2**53]
LENGTHS = [0, 1, 31, 32, 255, 256, 1000, 5000]


def number(source: random.Random) -> float:
    match source.randrange(5):
        case 0:
            return source.choice(EDGES)
        case 1:
            return source.randrange(2 ** source.randrange(1, 54))
        case 2:
            return -source.randrange(1, 2**53)
        case 3:
            return source.uniform(-1, 1) * 10.0 ** source.randrange(-300, 300)
        case _:
            # no subnormal: lua-messagepack reads them wrongly
            return source.choice([0.5, -0.0, 1e308, 2.2250738585072014e-308, float("inf"), float("-inf"), 2.0**60])


def value(source: random.Random, depth: int) -> Any:
    match source.randrange(5 if depth > 0 else 4):
        case 0 | 1:
            return number(source)
        case 2:
            return source.randbytes(source.choice(LENGTHS) if source.random() < 0.2 else source.randrange(40))
        case 3:
            return source.random() < 0.5
        case _:
            return pairs(source, depth - 1)


def pairs(source: random.Random, depth: int) -> list[Any]:
    """An ordered list of one or more pairs; keys differ."""
    count = source.randrange(1, 20)
    keys = [b"%d" % index + source.randbytes(source.randrange(10)) for index in range(count)]
    return [item for key in keys for item in (key, value(source, depth))]


def as_map(listed: Any) -> Any:
    if not isinstance(listed, list):
        return listed
    return {key: as_map(inner) for key, inner in zip(listed[::2], listed[1::2], strict=True)}


def unpacked(data: bytes) -> Any:
    return msgpack.unpackb(data, raw=True, strict_map_key=False)


def test_random_data_is_read_by_two_libraries_and_by_ours() -> None:
    source = random.Random(5)
    cases = [pairs(source, 3) for _ in range(CASES)]
    for case, (written, by_library, by_ours) in zip(cases, ask(*(["pairs", case] for case in cases)), strict=True):
        expected = as_map(case)
        assert unpacked(written) == expected
        assert unpacked(by_library) == expected
        assert unpacked(by_ours) == expected


def test_integers_are_written_as_short_as_they_can_be() -> None:
    for case in EDGES:
        ((written, *_),) = ask(["pairs", [b"n", case]])
        assert written == msgpack.packb({"n": case})
