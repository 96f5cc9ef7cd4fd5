"""Asking the kernel about Unix sockets (NETLINK_SOCK_DIAG): the questions that /proc answers badly or not at all.

Rules:
- ``peer`` is one small question and answer, cheap enough for each second; the others list every socket.
- Only sockets of our network namespace are known here. Any user may ask.
- Whatever goes wrong is an OSError: the kernel's own number, EBADMSG for bytes that make no sense, ENOENT also where
  the kernel was built without unix_diag.
"""

import errno
import os
import socket
from collections.abc import Iterator

from resty_metrics.kernel import netlink, unix_diag
from resty_metrics.kernel.unix_diag import UnixSocket

__all__ = ["UnixSocket", "bound_to", "peer", "sockets"]

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_SEQUENCE = 1
_RECEIVE_BYTES = 64 * 1024
_TIMEOUT_SECONDS = 2.0


def peer(inode: int) -> int | None:
    """Return the inode of the socket that ``inode`` (``st_ino`` of a descriptor) is connected to. Raises OSError."""
    request = unix_diag.pack_request(unix_diag.SHOW_PEER, inode)
    for answer in _ask(request, netlink.REQUEST):
        return answer.peer
    raise OSError(errno.EBADMSG, "an answer without a socket")


def bound_to(device: int, inode: int) -> list[UnixSocket]:
    """Return the sockets that were bound to the file with this ``st_dev`` and ``st_ino``, with names.

    Raises OSError.
    """
    request = unix_diag.pack_request(unix_diag.SHOW_NAME | unix_diag.SHOW_FILE)
    return [sock for sock in _ask(request, netlink.REQUEST | netlink.DUMP) if unix_diag.same_file(sock, device, inode)]


def sockets() -> list[UnixSocket]:
    """Return all sockets, with names, files and peers. Raises OSError."""
    show = unix_diag.SHOW_NAME | unix_diag.SHOW_FILE | unix_diag.SHOW_PEER
    return _ask(unix_diag.pack_request(show), netlink.REQUEST | netlink.DUMP)


def _ask(request: bytes, flags: int) -> list[UnixSocket]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as sock:
        sock.settimeout(_TIMEOUT_SECONDS)
        sock.sendto(netlink.pack(_SOCK_DIAG_BY_FAMILY, flags, _SEQUENCE, request), (0, 0))
        try:
            return list(_answers(sock, dump=bool(flags & netlink.DUMP)))
        except netlink.NetlinkError as error:
            raise OSError(errno.EBADMSG, str(error)) from error


def _answers(sock: socket.socket, dump: bool) -> Iterator[UnixSocket]:
    while True:
        for message in netlink.messages(_receive(sock)):
            if message.sequence != _SEQUENCE:
                continue
            if message.kind in (netlink.ERROR, netlink.DONE):
                number = netlink.error_number(message)
                if number:
                    raise OSError(number, os.strerror(number))
                return
            if message.kind == _SOCK_DIAG_BY_FAMILY:
                yield unix_diag.parse(message.body)
        if not dump:
            return


def _receive(sock: socket.socket) -> bytes:
    """Receive a datagram of the kernel; other processes may write to the port too."""
    while True:
        data, _, flags, sender = sock.recvmsg(_RECEIVE_BYTES)
        if flags & socket.MSG_TRUNC:
            raise netlink.NetlinkError("truncated")
        if sender[0] == 0:
            return data
