"""Requests and answers about Unix sockets, as the bytes that the kernel exchanges. Pure.

Rules:
- The inode of a *socket* (``st_ino`` of its descriptor, ``socket:[N]`` in /proc) and the inode of the *file* that it
  was bound to are two numbers. The file's inode stays when the file is renamed, renamed over or unlinked; the name
  always stays that of the bind.
- The kernel gives 32 bits of a file's inode, and the device of the file's superblock; ``same_file`` compares these. On
  btrfs and some overlays ``stat`` reports another device than the superblock's: nothing matches there.

Source: ``include/uapi/linux/unix_diag.h``, ``net/unix/diag.c``.
"""

import struct
from dataclasses import dataclass

from resty_metrics.kernel.netlink import NetlinkError, attributes

SHOW_NAME = 0x1
SHOW_FILE = 0x2
SHOW_PEER = 0x4

_FAMILY = 1
_ALL_STATES = 0xFFFFFFFF
_NO_COOKIE = 0xFFFFFFFF
_REQUEST = struct.Struct("=BBHIIIII")
_ANSWER = struct.Struct("=BBBBIII")
_FILE = struct.Struct("=II")
_INODE = struct.Struct("=I")
_NAME_OF, _FILE_OF, _PEER_OF = 0, 1, 2
_INODE_MASK = 0xFFFFFFFF
_MINOR_BITS = 20


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """A socket. ``type`` is SOCK_STREAM and so on; ``name`` is as in Python: an abstract one begins with NUL.

    ``file`` is the device (as in ``st_dev``) and the lowest 32 bits of the inode of the file that it was bound to.
    ``peer`` is the inode of the socket that it is connected to. Fields that were not asked for, or do not exist, are
    None.
    """

    inode: int
    type: int
    name: str | None
    file: tuple[int, int] | None
    peer: int | None


def pack_request(show: int, inode: int = 0) -> bytes:
    """Ask for one socket, or in a dump (``inode`` 0) for all."""
    return _REQUEST.pack(_FAMILY, 0, 0, _ALL_STATES, inode, show, _NO_COOKIE, _NO_COOKIE)


def parse(body: bytes) -> UnixSocket:
    """Parse one answer. Raises NetlinkError."""
    if len(body) < _ANSWER.size:
        raise NetlinkError("truncated")
    family, kind, _, _, inode, _, _ = _ANSWER.unpack_from(body)
    if family != _FAMILY:
        raise NetlinkError("malformed")
    values = attributes(body[_ANSWER.size :])
    return UnixSocket(
        inode, kind, _name(values.get(_NAME_OF)), _file(values.get(_FILE_OF)), _peer(values.get(_PEER_OF))
    )


def same_file(sock: UnixSocket, device: int, inode: int) -> bool:
    """Return whether the socket was bound to the file that ``stat`` shows with this ``st_dev`` and ``st_ino``."""
    return sock.file == (device, inode & _INODE_MASK)


def _name(data: bytes | None) -> str | None:
    if not data:
        return None
    path = data if data.startswith(b"\0") else data.partition(b"\0")[0]
    return path.decode("utf-8", "surrogateescape")


def _file(data: bytes | None) -> tuple[int, int] | None:
    if data is None:
        return None
    if len(data) < _FILE.size:
        raise NetlinkError("truncated")
    inode, device = _FILE.unpack_from(data)
    return user_device(device), inode


def _peer(data: bytes | None) -> int | None:
    if data is None:
        return None
    if len(data) < _INODE.size:
        raise NetlinkError("truncated")
    inode: int = _INODE.unpack_from(data)[0]
    return inode or None


def user_device(device: int) -> int:
    """Convert the kernel's own device number (12 bits and 20) to ``st_dev``, as ``makedev`` of glibc and musl does."""
    major, minor = device >> _MINOR_BITS, device & (1 << _MINOR_BITS) - 1
    return (major & 0xFFF) << 8 | (minor & 0xFF) | (minor & ~0xFF) << 12
