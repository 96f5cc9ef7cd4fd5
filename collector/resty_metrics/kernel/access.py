"""Decide whether a user may reach a file, by POSIX modes from the root directory down.

Source of the rules: path_resolution(7). Only one class of bits applies (the owner's, else the group's, else all
others'), so an owner may be refused what all others may do. The superuser passes.

Rules:
- A node with an access control list is not judged by its bits: the answer for it is "not known".
"""

from collections.abc import Sequence
from dataclasses import dataclass

READ, WRITE, SEARCH = 4, 2, 1
_WORDS = {READ: "read", WRITE: "write", SEARCH: "search"}


def user_label(uid: int, name: str | None) -> str:
    """Return name and number of a user. ``name`` None: it has none here."""
    return f"uid {uid}" if name is None else f"{name} (uid {uid})"


def owner_label(uid: int, gid: int, names: str | None) -> str:
    """Return names and numbers of a file's user and group. ``names``: as in ``root:adm``, None if there are none."""
    return f"{uid}:{gid}" if names is None else f"{names} ({uid}:{gid})"


@dataclass(frozen=True, slots=True)
class User:
    """A user that wants access. ``name`` is None where the number has no name here."""

    uid: int
    gid: int
    groups: frozenset[int]
    name: str | None

    @property
    def label(self) -> str:
        return user_label(self.uid, self.name)


@dataclass(frozen=True, slots=True)
class Node:
    """A file or directory on the way. ``mode``: with its type; ``acl``: it has an access control list.

    ``owner``: names of its user and group, as in ``root:adm``, None if they are not known.
    """

    path: str
    uid: int
    gid: int
    mode: int
    acl: bool = False
    owner: str | None = None

    @property
    def label(self) -> str:
        return f"{self.path} (mode {self.mode & 0o7777:04o}, owner {owner_label(self.uid, self.gid, self.owner)})"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """The first node that stops a user. ``known`` False: its list may allow what its bits refuse, or the reverse."""

    node: Node
    need: int
    known: bool

    @property
    def need_word(self) -> str:
        return _WORDS[self.need]


def may(user: User, node: Node, need: int) -> bool:
    """Return whether the mode bits of ``node`` let ``user`` do ``need``."""
    if user.uid == 0:
        return True
    if user.uid == node.uid:
        return bool(node.mode >> 6 & need)
    if node.gid == user.gid or node.gid in user.groups:
        return bool(node.mode >> 3 & need)
    return bool(node.mode & need)


def obstacle(user: User, nodes: Sequence[Node], need: int) -> Obstacle | None:
    """Return the first node of ``way`` that stops ``user``, or None.

    All nodes but the last are the directories above it.
    """
    for node in nodes:
        required = need if node is nodes[-1] else SEARCH
        if node.acl and user.uid != 0:
            return Obstacle(node, required, known=False)
        if not may(user, node, required):
            return Obstacle(node, required, known=True)
    return None
