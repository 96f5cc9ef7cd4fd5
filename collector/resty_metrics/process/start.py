"""The messages of a start that fails: what failed, for which path or address, and what to do. Pure.

Rule: a message ends with an instruction that the person who started the collector can follow at once.
"""

import errno
import shlex
from collections.abc import Sequence
from pathlib import Path

_DENIED = (errno.EACCES, errno.EPERM)
_OTHER_ADDRESS = "set --web.listen-address to another address"
_OTHER_PATH = "set --socket.path to another path"


class StartError(OSError):
    """The error of a start that cannot go on. The text is a whole message."""

    def __init__(self, number: int | None, message: str) -> None:
        super().__init__(number, message)
        self.message = message

    def __str__(self) -> str:
        return self.message


def cause(error: OSError) -> str:
    """Return the system's words for an error, as they stand within a sentence: ``permission denied``."""
    words = error.strerror or str(error)
    return words[:1].lower() + words[1:]


def no_directory(directory: Path, error: OSError) -> str:
    """Return the message for a socket's directory that cannot be created."""
    remedy = f"Create it for this user first (sudo install -d -o USER {directory})"
    return _failed(f"create the directory {error.filename or directory}", error, [(_DENIED, remedy)])


def directory_gone(directory: Path, uid: int, error: OSError) -> str:
    """Return the message for a socket's directory that was removed while the collector runs, and cannot be created."""
    message = f"the directory {directory} is missing, and the collector cannot create it: {cause(error)}"
    create = f"sudo install -d -o {uid} -m 0755 {shlex.quote(str(directory))}"
    return f"{message}. To create it, run: {create}" if error.errno in _DENIED else message


def no_lock(path: Path, error: OSError) -> str:
    """Return the message for a lock file beside the socket that cannot be opened."""
    remedies = [
        (_DENIED, f"Run the collector as the user that owns {path.parent}"),
        ((errno.EINVAL, errno.ELOOP, errno.EISDIR), "Remove it"),
    ]
    return _failed(f"open the lock file {path}", error, remedies)


def no_socket(path: Path, error: OSError) -> str:
    """Return the message for a socket that cannot be created."""
    remedies = [
        (_DENIED, f"Give this user write access to {path.parent}"),
        ((errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY), "Remove what is there"),
    ]
    return _failed(f"create the socket {path}", error, remedies)


def _failed(work: str, error: OSError, remedies: Sequence[tuple[Sequence[int], str]]) -> str:
    """Return the message for work at the socket that failed. ``remedies``: by the numbers of errors that they mend."""
    remedy = next((f"{words}, or {_OTHER_PATH}" for numbers, words in remedies if error.errno in numbers), None)
    return f"cannot {work}: {cause(error)}. {remedy or _sentence(_OTHER_PATH)}."


def no_tcp_listener(address: str, port: int, error: OSError) -> StartError:
    """Return the error for a TCP address that the page cannot be served on."""
    reason, remedy = cause(error), _sentence(_OTHER_ADDRESS)
    if error.errno == errno.EADDRINUSE:
        find = f"sudo ss -ltnp 'sport = :{port}' shows it"
        reason, remedy = "the port is in use", f"Stop the program that uses it ({find}), or {_OTHER_ADDRESS}"
    elif error.errno in _DENIED:
        remedy = f"Ports below 1024 need root: {_OTHER_ADDRESS}"
    elif error.errno == errno.EADDRNOTAVAIL:
        reason = "this machine does not have that address"
    return StartError(error.errno, f"cannot listen on {address}: {reason}. {remedy}.")


def no_unix_listener(path: Path, error: OSError) -> StartError:
    """Return the error for a unix socket that the page cannot be served on."""
    reason, remedy = cause(error), _sentence(_OTHER_ADDRESS)
    if error.errno == errno.EADDRINUSE:
        reason, remedy = "the file is in use, or is not a socket", f"Stop the program that uses it, or {_OTHER_ADDRESS}"
    elif error.errno == errno.ENOENT:
        reason, remedy = f"the directory {path.parent} does not exist", f"Create it, or {_OTHER_ADDRESS}"
    elif error.errno in _DENIED:
        remedy = f"Give this user write access to {path.parent}, or {_OTHER_ADDRESS}"
    return StartError(error.errno, f"cannot listen on unix:{path}: {reason}. {remedy}.")


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:]
