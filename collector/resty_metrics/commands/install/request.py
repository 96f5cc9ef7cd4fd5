"""The request of the proof, and the page that must have counted it."""

import socket
import ssl
import time
from collections.abc import Sequence

from resty_metrics.commands.doctor.examination import examine, read_page
from resty_metrics.commands.doctor.finding import Verdict
from resty_metrics.commands.doctor.observe import web
from resty_metrics.commands.doctor.settings import Settings
from resty_metrics.commands.install import proof
from resty_metrics.commands.install.error_logs import ErrorLogs
from resty_metrics.commands.install.interruption import run
from resty_metrics.commands.install.refused import RefusedError
from resty_metrics.commands.install.targets import Target

ANSWER_SECONDS = 5.0
COUNT_SECONDS = 10.0
_WAIT = 0.25
_MOST = 4096


def page(settings: Settings) -> str:
    """Return the collector's page. Raises RefusedError where there is none."""
    secured = settings.web_config_file is not None
    answer = run(lambda: web.get(settings.web_listen_address[0], settings.web_telemetry_path, secured))
    if answer.error is not None:
        raise RefusedError(f"{answer.url}: {answer.error}")
    if answer.wants is not None:
        raise RefusedError(f"{answer.url} wants {answer.wants}, so what it counted cannot be seen from here")
    if read_page(answer) is None:
        raise RefusedError(f"{answer.url} is no page of ours: see --web.listen-address")
    return answer.text


def prove(settings: Settings, targets: Sequence[Target], logs: ErrorLogs) -> str:
    """Send one request, see it counted, and return a description of that. Raises RefusedError."""
    before = page(settings)
    target, status = _answered(targets)
    known = proof.counted(before, status)
    ends = time.monotonic() + COUNT_SECONDS
    while time.monotonic() < ends:
        if proof.counted(page(settings), status) > known:
            return f"a request to {target.label}, answered {status}, is on the page"
        time.sleep(_WAIT)
    words = f"a request to {target.label} was answered {status}, but was not on the page within {COUNT_SECONDS:g} s"
    raise RefusedError(words, *logs.complaints(), *_why(settings))


def _answered(targets: Sequence[Target]) -> tuple[Target, int]:
    errors = []
    for target in targets:
        try:
            status = proof.status_of(_ask(target))
        except OSError as error:
            errors.append(f"{target.label}: {error.strerror or error}")
            continue
        if status is not None:
            return target, status
        errors.append(f"{target.label}: no answer of HTTP/1")
    raise RefusedError(f"no address that nginx listens on answered a request: {'; '.join(errors) or 'there is none'}")


def _ask(target: Target) -> bytes:
    with _connected(target) as plain:
        plain.settimeout(ANSWER_SECONDS)
        if target.proxy_protocol:
            plain.sendall(proof.PROXY_HEADER)
        if not target.tls:
            return _exchange(plain, proof.REQUEST)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = (
            False,
            ssl.CERT_NONE,
        )  # our own machine, and nothing secret is sent
        with context.wrap_socket(plain) as wrapped:
            return _exchange(wrapped, proof.REQUEST)


def _connected(target: Target) -> socket.socket:
    if target.unix is None:
        return socket.create_connection((target.host, target.port), ANSWER_SECONDS)
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(ANSWER_SECONDS)
    client.connect(target.unix)
    return client


def _exchange(client: socket.socket, request: bytes) -> bytes:
    client.sendall(request)
    answer = b""
    while b"\r\n" not in answer and len(answer) < _MOST:
        piece = client.recv(_MOST)
        if not piece:
            break
        answer += piece
    return answer


def _why(settings: Settings) -> list[str]:
    """Return the failures that doctor finds while the changes are still in place."""
    _, findings = run(lambda: examine(settings))
    return [f"{one.seen} -> {one.remedy}" for one in findings if one.verdict is Verdict.FAIL]
