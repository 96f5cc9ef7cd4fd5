"""nginx's lists of upstream attempts, as src/http/ngx_http_upstream.c writes them."""

import random

import pytest
from support.luajit import ask

A, B, C = "127.0.0.1:80", "[::1]:81", "unix:/run/c.sock"

# $upstream_status, $upstream_addr; then (item, peer, status, in the last group) of each attempt, and the retries in the
# last group and in those before it
LISTS = [
    ("one", "200", A, [(1, A, "200", True)], 0, 0),
    ("one retried", "502, 200", f"{A}, {B}", [(1, A, "502", True), (2, B, "200", True)], 1, 0),
    (
        "three peers",
        "502, 504, -",
        f"{A}, {B}, {C}",
        [(1, A, "502", True), (2, B, "504", True), (3, C, "-", True)],
        2,
        0,
    ),
    ("redirected", "502 : 200", f"{A} : {B}", [(1, A, "502", False), (2, B, "200", True)], 0, 0),
    (
        "retried, redirected, retried",
        "502, 502 : 504, 200",
        f"{A}, {B} : {C}, {A}",
        [(1, A, "502", False), (2, B, "502", False), (3, C, "504", True), (4, A, "200", True)],
        1,
        1,
    ),
    ("no live upstreams", "502", "backend", [(1, "backend", "502", True)], 0, 0),
    ("redirected to what found no peer", "502 : ", f"{A} : ", [(1, A, "502", False)], 0, 0),
    ("the same, and on", "502 : -, 200", f"{A} : , {B}", [(1, A, "502", False), (3, B, "200", True)], 0, 0),
    ("the client went away", "-", A, [(1, A, "-", True)], 0, 0),
    ("nothing", "", "", [], 0, 0),
    ("a path with a comma", "502, 200", f"unix:/a, b, {B}", [(1, "", "502", True), (2, "", "200", True)], 1, 0),
]


@pytest.mark.parametrize(
    ("statuses", "addresses", "attempts", "last", "before"), [row[1:] for row in LISTS], ids=[row[0] for row in LISTS]
)
def test_one_attempt_for_each_peer_that_was_tried(
    statuses: str, addresses: str, attempts: list[tuple[int, str, str, bool]], last: int, before: int
) -> None:
    (result,) = ask(["attempts", statuses, addresses])
    read, of_last, of_others = result
    assert [(item, peer.decode(), status.decode(), group) for item, peer, status, group in read or []] == attempts
    assert (of_last, of_others) == (last, before)


@pytest.mark.parametrize(
    ("text", "connect", "header", "response"),
    [
        ("0.000|0.012|0.013", [0], [12], [13]),
        ("9.999|0.100|1.000", [9999], [100], [1000]),
        ("-|-|0.001", [False], [False], [1]),
        ("10.000|0.001|0.002", [10000], [1], [2]),
        ("0.001, 0.002|0.003, -|0.004, 60.005", [1, 2], [3, False], [4, 60005]),
        ("0.001 : 0.002|- : 0.003|0.004 : 0.005", [1, 2], [False, 3], [4, 5]),
        ("- : -|0.001|0.001", [False, False], [1], [1]),
        ("0.000|-|12345.678", [0], [False], [12345678]),
        ("0.001 : |0.001 : |0.002 : ", [1, False], [1, False], [2, False]),
    ],
)
def test_times(text: str, connect: list[int], header: list[int], response: list[int]) -> None:
    (result,) = ask(["times", text])
    assert result[:3] == [connect, header, response]
    assert result[4:] == [text.encode(), b"200||127.0.0.1:80|backend"]
    assert not result[3] or result[3] == [connect[0], header[0], response[0]]


def test_the_short_way_to_read_times_agrees_with_the_long_one() -> None:
    source = random.Random(4)
    texts = [
        "|".join(f"{source.choice([0, 0, 1, 9, 10, 123]) + source.random():.3f}" for _ in range(3)) for _ in range(3000)
    ]
    texts += ["|".join(source.choice(["-", "0.001", "- : -", "0.002, 0.003"]) for _ in range(3)) for _ in range(500)]
    results = ask(*(["times", text] for text in texts))
    short = [result for result in results if result[3]]
    assert all(result[3] == [result[0][0], result[1][0], result[2][0]] for result in short)
    assert len(short) > 500
    assert all(len(text) == 17 for text, result in zip(texts, results, strict=True) if result[3])


def test_what_the_cache_did_stands_alone_where_nothing_was_passed_on() -> None:
    assert ask(["halves", "HIT"], ["halves", "-|-|0.1|502||a|b|c"]) == [[False, b"HIT"], [b"-|-|0.1", b"502||a|b|c"]]


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("200||127.0.0.1:80|backend", ["200", "", "127.0.0.1:80", "backend"]),
        ("HIT", ["", "HIT", "", ""]),
        ("200|MISS|a|x|y", ["200", "MISS", "a", "x|y"]),
    ],
)
def test_fields(text: str, fields: list[str]) -> None:
    assert [field.decode() for field in ask(["fields", text])[0]] == fields
