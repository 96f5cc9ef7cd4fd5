"""Credentials for a source, and the means to verify it: from files, as they are now.

Rule: an error about a file contains the path, never the content.
"""

import base64
import re
import ssl
from pathlib import Path

from resty_metrics.process import files
from resty_metrics.process.files import Stamp
from resty_metrics.sources.errors import SourceError
from resty_metrics.sources.source import Connection, Tls

_TOKEN = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


def authorization(connection: Connection) -> str | None:
    """Return the Authorization header; None if the source needs none. Raises SourceError (``credentials``)."""
    if connection.basic_auth is not None:
        pair = f"{connection.basic_auth.username}:".encode() + _line(connection.basic_auth.password_file)
        return f"Basic {base64.b64encode(pair).decode()}"
    if connection.authorization is not None:
        path = connection.authorization.credentials_file
        token = _line(path).decode("ascii", "replace")
        if not _TOKEN.fullmatch(token):
            raise SourceError("credentials", f"{path} has characters that no token has")
        return f"{connection.authorization.type} {token}"
    return None


def _line(path: Path) -> bytes:
    """Return the single line of a file. Raises SourceError (``credentials``)."""
    line = _read(path).rstrip(b"\r\n")
    if not line:
        raise SourceError("credentials", f"{path} is empty")
    if b"\n" in line:
        raise SourceError("credentials", f"{path} has more than one line")
    return line


def _read(path: Path) -> bytes:
    try:
        return files.read(path)
    except OSError as error:
        raise SourceError("credentials", f"{path} cannot be read: {error.strerror}") from None


def stamps(tls: Tls) -> tuple[Stamp, ...]:
    """Return values that change when one of the files does. Raises SourceError (``credentials``)."""
    values = []
    for path in tls.files:
        try:
            values.append(files.stamp(path))
        except OSError as error:
            raise SourceError("credentials", f"{path} cannot be read: {error.strerror}") from None
    return tuple(values)


def context(tls: Tls) -> ssl.SSLContext:
    """Build the context that verifies a server and shows it our certificate. Raises SourceError (``credentials``)."""
    for path in tls.files:
        _read(path)
    try:
        ssl_context = ssl.create_default_context(cafile=None if tls.ca_file is None else str(tls.ca_file))
    except (OSError, ValueError) as error:
        raise SourceError("credentials", f"{tls.ca_file} has no certificate authorities: {_reason(error)}") from None
    if tls.insecure_skip_verify:
        ssl_context.check_hostname = False
        ssl_context.verify_mode = ssl.CERT_NONE
    if tls.cert_file is not None and tls.key_file is not None:
        try:
            ssl_context.load_cert_chain(tls.cert_file, tls.key_file, password=_no_passphrase)
        except (OSError, ValueError) as error:
            words = f"{tls.cert_file} and {tls.key_file} are no certificate with its key"
            raise SourceError("credentials", f"{words}: {_reason(error)}") from None
    return ssl_context


def _no_passphrase() -> str:
    """Return no passphrase, so that OpenSSL does not ask for one on a terminal and stop the collector."""
    return ""


def _reason(error: Exception) -> str:
    return (error.reason or "no PEM") if isinstance(error, ssl.SSLError) else type(error).__name__
