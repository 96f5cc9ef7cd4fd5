"""Process events from the kernel (netlink connector): every fork, exec and exit of the machine, as it happens.

Rules:
- They exist only in the initial network, pid and user namespaces. Elsewhere the kernel refuses, or never answers, so we
  wait for its answer for ANSWER_SECONDS.
- Reading is bounded and never blocks. Events that the kernel could not keep are reported as Lost.
- At the end we tell the kernel: kernels before 6.6 otherwise go on making events for listeners that have left.
"""

import contextlib
import errno
import os
import select
import socket
import time

from resty_metrics.commands.doctor.watch import process_events
from resty_metrics.commands.doctor.watch.errors import FormatError, RefusedError
from resty_metrics.commands.doctor.watch.process_events import Answer, Lost, ProcessEvent

ANSWER_SECONDS = 1.0
MAX_DATAGRAMS = 256

_NETLINK_CONNECTOR = 11
_SO_RCVBUFFORCE = 33
_BUFFER_BYTES = 8 * 1024 * 1024
_READ_BYTES = 64 * 1024
_NOT_INITIAL = "process events exist only in the initial network, pid and user namespaces"
_NO_RIGHTS = "the kernel lets only an administrator of the network listen to process events"


class Connector:
    """A listener. Raises RefusedError when it is made."""

    def __init__(self) -> None:
        self._number = os.getpid()
        self._early: list[ProcessEvent] = []
        try:
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, _NETLINK_CONNECTOR
            )
        except OSError as error:
            raise RefusedError(f"this kernel has no connector: {error.strerror}") from error
        try:
            self._listen()
        except OSError as error:
            self._socket.close()
            raise _refusal(error) from error
        except RefusedError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self) -> list[ProcessEvent]:
        """Return the waiting events, from at most MAX_DATAGRAMS datagrams."""
        events, self._early = self._early, []
        for _ in range(MAX_DATAGRAMS):
            try:
                data, sender = self._socket.recvfrom(_READ_BYTES)
                if sender[0] == 0:
                    events += process_events.parse(data)
            except BlockingIOError:
                break
            except FormatError:
                events.append(Lost())
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                events.append(Lost())
        return events

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._ask(listen=False)
        self._socket.close()

    def _listen(self) -> None:
        with contextlib.suppress(PermissionError):
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        self._socket.bind((0, process_events.GROUP))
        self._ask(listen=True)
        error = self._answer()
        if error:
            raise OSError(error, os.strerror(error))

    def _ask(self, listen: bool) -> None:
        self._socket.sendto(process_events.pack_request(listen, self._number), (0, 0))

    def _answer(self) -> int:
        """Return the errno of the kernel's answer. Other listeners' events that come before it are kept."""
        poll, ends = select.poll(), time.monotonic() + ANSWER_SECONDS
        poll.register(self._socket, select.POLLIN)
        while (remaining := ends - time.monotonic()) > 0:
            poll.poll(remaining * 1000)
            events = self.read()
            answers = [event for event in events if isinstance(event, Answer) and event.request == self._number]
            self._early += [event for event in events if not isinstance(event, Answer)][:MAX_DATAGRAMS]
            if answers:
                return answers[0].error
        raise RefusedError(f"the kernel does not answer: {_NOT_INITIAL}")


def _refusal(error: OSError) -> RefusedError:
    if error.errno == errno.ECONNREFUSED:
        return RefusedError(f"the kernel does not answer: {_NOT_INITIAL}")
    if error.errno in (errno.EPERM, errno.EACCES):
        return RefusedError(f"{_NO_RIGHTS}: {error.strerror}", "CAP_NET_ADMIN")
    return RefusedError(f"the kernel refuses: {error.strerror}")
