"""Basic authentication as exporter-toolkit does it: bcrypt, one check at a time, right passwords remembered.

Rules:
- An unknown user costs the same as a known one with a wrong password.
- A check runs in a thread. At most MOST_WAITING run or wait for their turn; further clients must try again later.
- A keyed hash of name, bcrypt hash and password is remembered, and only if the password was right: wrong ones cannot
  push it out.
"""

import asyncio
import base64
import binascii
import hmac
import secrets
from collections.abc import Mapping

import bcrypt

from resty_metrics.web.limits import TooManyError

# a bcrypt hash that belongs to no user, at the cost that htpasswd's manual and exporter-toolkit suggest
_NOBODY = b"$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"
_BCRYPT_BYTES = 72  # of a password; bcrypt does not see more
MOST_WAITING = 32
MOST_REMEMBERED = 100


def credentials(header: str | None) -> tuple[bytes, bytes] | None:
    """Return user and password of an Authorization header; None if it has none."""
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (user, password) if colon else None


def _fits(password: bytes, hashed: bytes) -> bool:
    try:
        return bcrypt.checkpw(password[:_BCRYPT_BYTES], hashed)
    except ValueError:
        return False


class Checker:
    """A checker of passwords, which remembers right ones."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._right: dict[bytes, None] = {}
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def admits(self, users: Mapping[bytes, bytes], header: str | None) -> bool:
        """Return whether the header names a user with the right password. Raises TooManyError."""
        login = credentials(header)
        if login is None:
            return False
        user, password = login
        known = users.get(user)
        hashed = _NOBODY if known is None else known
        mark = self._mark(user, hashed, password)
        if mark in self._right:
            return True
        fits = await self._check(password, hashed)
        if fits and known is not None:
            self._remember(mark)
            return True
        return False

    async def _check(self, password: bytes, hashed: bytes) -> bool:
        if self._waiting >= MOST_WAITING:
            raise TooManyError
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(_fits, password, hashed)
        finally:
            self._waiting -= 1

    def _mark(self, *parts: bytes) -> bytes:
        return hmac.digest(self._key, b":".join(part.hex().encode() for part in parts), "sha256")

    def _remember(self, mark: bytes) -> None:
        if len(self._right) >= MOST_REMEMBERED:
            self._right.pop(next(iter(self._right)))
        self._right[mark] = None
