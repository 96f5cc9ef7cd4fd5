"""The request of the proof is sent, and the page is read until it has counted it.

Rules:
- What can be known is known before anything is changed: ``reachable`` opens connections, and sends nothing on them.
- An address that fails does not end the proof: the next one is tried.
"""

import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_address

from resty_metrics.commands.doctor.examination import examine, read_page
from resty_metrics.commands.doctor.finding import Verdict
from resty_metrics.commands.doctor.observe import web
from resty_metrics.commands.doctor.settings import Settings
from resty_metrics.commands.install import proof
from resty_metrics.commands.install.error_logs import ErrorLogs
from resty_metrics.commands.install.interruption import run
from resty_metrics.commands.install.refused import RefusedError
from resty_metrics.commands.install.targets import Target

CONNECT_SECONDS = 5.0
COUNT_SECONDS = 10.0  # for the first request
LATER_SECONDS = 3.0  # for each further one
ALL_SECONDS = 40.0
LOOK_SECONDS = 20.0
MOST_TARGETS = 16
_WAIT = 0.25
_MOST = 4096


def page(settings: Settings) -> str:
    """Return the collector's page. Raises RefusedError where there is none."""
    secured = settings.web_config_file is not None
    answer = run(lambda: web.get(settings.web_listen_address[0], settings.web_telemetry_path, secured))
    if answer.error is not None:
        raise RefusedError(f"{answer.url}: {answer.error}")
    if answer.wants is not None:
        raise RefusedError(f"{answer.url} requires {answer.wants}, so install cannot read the counts")
    if read_page(answer) is None:
        raise RefusedError(f"{answer.url} is not a page of a collector. Check --web.listen-address")
    return answer.text


def reachable(targets: Sequence[Target]) -> tuple[tuple[Target, ...], dict[Target, str]]:
    """Return the first targets that can be reached, and why others cannot."""
    reached: list[Target] = []
    failures: dict[Target, str] = {}
    ends = time.monotonic() + LOOK_SECONDS
    for target in targets:
        if len(reached) == MOST_TARGETS or time.monotonic() > ends:
            break
        why = _unreachable(target)
        if why is None:
            reached.append(target)
        else:
            failures[target] = why
    return tuple(reached), failures


def _unreachable(target: Target) -> str | None:
    """Return why the address cannot be reached now, or None. No request is sent, so nginx logs and counts nothing.

    Where a TLS handshake would run Lua code of the user's, none is begun.
    """
    try:
        with _connected(target) as plain:
            if target.tls and not target.runs_lua and not target.proxy_protocol:
                _secured(plain, target).close()
    except OSError as error:
        return f"{target.label}: {_words(error)}"
    return None


def prove(settings: Settings, targets: Sequence[Target], logs: ErrorLogs) -> str:
    """Send requests until one is counted, and return a description of that. Raises RefusedError."""
    known = proof.counted(page(settings))
    sent: list[str] = []
    errors: list[str] = []
    ends = time.monotonic() + ALL_SECONDS
    for target in targets:
        if time.monotonic() > ends:
            break
        try:
            send(target)
        except OSError as error:
            errors.append(f"{target.label}: {_words(error)}")
            continue
        sent.append(target.label)
        if _is_counted(settings, known, COUNT_SECONDS if len(sent) == 1 else LATER_SECONDS):
            return f"a request to {' or '.join(sent)} is on the page"
    if not sent:
        raise RefusedError(f"no address of nginx accepted a request: {'; '.join(errors)}")
    words = f"a request was sent to {'; '.join(sent)}, but was not on the page within {COUNT_SECONDS:g} s"
    raise RefusedError(words, *errors, *logs.complaints(), *_why(settings))


def send(target: Target) -> None:
    """Begin a request, end our side, and wait until nginx closes the connection. Raises OSError."""
    with _connected(target) as plain:
        if target.proxy_protocol:
            plain.sendall(proof.PROXY_HEADER)
        if target.tls:
            with _secured(plain, target) as wrapped:
                wrapped.sendall(proof.REQUEST)
                with suppress(OSError):  # nginx may close without ending TLS
                    wrapped.unwrap().close()
            return
        plain.sendall(proof.HTTP2_REQUEST if target.http2 else proof.REQUEST)
        plain.shutdown(socket.SHUT_WR)
        _read_to_the_end(plain, silent=not target.http2)


def _is_counted(settings: Settings, known: float, seconds: float) -> bool:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if proof.counted(page(settings)) > known:
            return True
        time.sleep(_WAIT)
    return False


@contextmanager
def _connected(target: Target) -> Iterator[socket.socket]:
    client = _connection(target)
    with client:
        client.settimeout(CONNECT_SECONDS)
        yield client


def _connection(target: Target) -> socket.socket:
    if target.unix is None:
        return _local(socket.create_connection((target.host, target.port), CONNECT_SECONDS))
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(CONNECT_SECONDS)
    try:
        client.connect(target.unix)
    except OSError:
        client.close()
        raise
    return client


def _local(client: socket.socket) -> socket.socket:
    """Return the connection if it is within this machine. Raises OSError: another one may have a shared address now."""
    own_host, peer_host = client.getsockname()[0], client.getpeername()[0]
    if own_host != peer_host and not ip_address(peer_host).is_loopback:
        client.close()
        raise OSError("that address now belongs to another machine")
    return client


def _secured(plain: socket.socket, target: Target) -> ssl.SSLSocket:
    """Begin TLS with any certificate, version and cipher: it is our machine, and nothing secret is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context.wrap_socket(plain, server_hostname=target.name)


def _read_to_the_end(client: socket.socket, silent: bool) -> None:
    """Read until nginx closes. ``silent``: it must say nothing. Raises OSError."""
    size = 0
    while piece := client.recv(_MOST):
        size += len(piece)
        if silent:
            raise OSError(f"it answered {piece[:20]!r}, which is not HTTP/1")
    if not silent and size == 0:
        raise OSError("it did not speak HTTP/2")


def _words(error: OSError) -> str:
    reason = getattr(error, "reason", None)  # of TLS
    return f"TLS: {reason}" if reason else error.strerror or str(error) or type(error).__name__


def _why(settings: Settings) -> list[str]:
    """Return the failures that doctor finds while the changes are still in place."""
    _, findings = run(lambda: examine(settings))
    return [f"{finding.evidence} -> {finding.remedy}" for finding in findings if finding.verdict is Verdict.FAIL]
