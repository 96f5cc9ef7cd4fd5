"""Basic authentication, with real bcrypt."""

import asyncio
import base64

import bcrypt
import pytest
from resty_metrics.web import users
from resty_metrics.web.limits import TooManyError
from resty_metrics.web.users import Checker, credentials

LONG = b"x" * 100
USERS = {
    b"alice": bcrypt.hashpw(b"secret", bcrypt.gensalt(4)),
    "böb".encode(): bcrypt.hashpw("gehöim:x".encode(), bcrypt.gensalt(4, prefix=b"2a")),
    b"long": bcrypt.hashpw(LONG[:72], bcrypt.gensalt(4)),
}


def header(user: bytes, password: bytes, scheme: str = "Basic") -> str:
    return f"{scheme} {base64.b64encode(user + b':' + password).decode()}"


HEADERS = [
    (header(b"alice", b"secret"), True),
    (header(b"alice", b"secret", "bASIC"), True),
    (header("böb".encode(), "gehöim:x".encode()), True),
    (header(b"long", LONG), True),  # Go's bcrypt sees 72 bytes of it, too
    (header(b"alice", b"Secret"), False),
    (header(b"alice", b""), False),
    (header(b"alice", b"secret\0"), False),
    (header(b"", b""), False),
    (header(b"nobody", b"fakepassword"), False),  # the password of the hash that unknown users are checked with
    (header(b"alice", b"secret", "Bearer"), False),
    ("Basic", False),
    ("Basic !", False),
    ("Basic " + base64.b64encode(b"alice").decode(), False),
    ("Basic é", False),
    ("", False),
    (None, False),
]


@pytest.mark.parametrize(("header", "expected"), HEADERS)
def test_who_is_admitted(header: str | None, expected: bool) -> None:
    async def twice() -> list[bool]:
        checker = Checker()
        return [await checker.admits(USERS, header) for _ in range(2)]

    assert asyncio.run(twice()) == [expected] * 2


def test_an_unknown_user_is_checked_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a right one once: later the answer is remembered, until its hash changes."""
    checked: list[bytes] = []

    def count(password: bytes, hashed: bytes) -> bool:
        checked.append(hashed)
        return bcrypt.checkpw(password, hashed)

    monkeypatch.setattr(users, "_fits", count)
    changed = {**USERS, b"alice": bcrypt.hashpw(b"other", bcrypt.gensalt(4))}

    async def ask() -> None:
        checker = Checker()
        for _ in range(3):
            assert await checker.admits(USERS, header(b"alice", b"secret"))
        assert not await checker.admits(USERS, header(b"nobody", b"secret"))
        assert not await checker.admits(changed, header(b"alice", b"secret"))
        assert not await checker.admits({}, header(b"alice", b"secret"))

    asyncio.run(ask())
    assert [hashed == USERS[b"alice"] for hashed in checked] == [True, False, False, False]
    assert checked[1] == checked[3]
    assert checked[1].startswith(b"$2y$10$")


def test_wrong_passwords_push_nobody_out_and_wait_in_a_short_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "_fits", lambda password, _: password == b"secret")

    async def ask() -> list[object]:
        checker = Checker()
        assert await checker.admits(USERS, header(b"alice", b"secret"))
        wrong = (checker.admits(USERS, header(b"alice", b"%d" % number)) for number in range(200))
        results = await asyncio.gather(*wrong, return_exceptions=True)
        assert list(checker._right) == [checker._mark(b"alice", USERS[b"alice"], b"secret")]
        return list(results)

    results = asyncio.run(ask())
    assert results[: users.MOST_WAITING] == [False] * users.MOST_WAITING
    assert {type(result) for result in results[users.MOST_WAITING :]} == {TooManyError}


def test_credentials_are_split_at_the_first_colon() -> None:
    assert credentials(header(b"a", b"b:c")) == (b"a", b"b:c")
