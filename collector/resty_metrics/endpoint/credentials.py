"""The users who may send, by the uid that the kernel vouches for."""

import os
import pwd
from collections.abc import Iterable

MAX_UID = 2**32 - 2  # the one above stands for "none"
# Users that nginx's workers run as, by distribution and image.
WORKER_USERS = ("nginx", "www-data", "nobody", "openresty")


def read_uid(text: str) -> int:
    """Return the uid that a number or a user's name stands for. Raises ValueError."""
    if text.isascii() and text.isdigit():
        if int(text) > MAX_UID:
            raise ValueError(f"{text!r}: a user's number is at most {MAX_UID}")
        return int(text)
    try:
        return pwd.getpwnam(text).pw_uid
    except KeyError:
        raise ValueError(f"{text!r} is not a user of this machine; give its number") from None


def allowed_uids(more: Iterable[int]) -> frozenset[int]:
    """Return the uids of root, our own user and those of nginx's workers that exist here, and ``more``."""
    return frozenset({0, os.geteuid(), *worker_uids(), *more})


def worker_uids() -> frozenset[int]:
    """Return the uids of the users of nginx's workers that exist here."""
    uids = set()
    for name in WORKER_USERS:
        try:
            uids.add(pwd.getpwnam(name).pw_uid)
        except KeyError:
            continue
    return frozenset(uids)
