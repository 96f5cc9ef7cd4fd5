"""The users that nginx's workers may run as, each with its groups.

A look-up may ask a name service that is slow: a running loop calls it in a thread.
"""

import os
import pwd
from collections.abc import Iterable
from contextlib import suppress

from resty_metrics.endpoint.credentials import worker_uids
from resty_metrics.health.reach import SendingUser


def users(more: Iterable[int]) -> tuple[SendingUser, ...]:
    """Return the users of nginx's workers that this machine knows, and ``more``."""
    return tuple(_user(uid) for uid in sorted(worker_uids().union(more)))


def names(uids: Iterable[int]) -> dict[int, str]:
    """Return the names of users that this machine knows."""
    by_uid = {}
    for uid in uids:
        with suppress(KeyError):
            by_uid[uid] = pwd.getpwuid(uid).pw_name
    return by_uid


def _user(uid: int) -> SendingUser:
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return SendingUser(uid, None)
    return SendingUser(uid, frozenset(os.getgrouplist(user.pw_name, user.pw_gid)))
