"""TLS of the server: a context from the web configuration, and the names in a client's certificate.

Rule: a context is made from its files as a whole and never changed: a connection keeps the one it began with.
"""

import ipaddress
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resty_metrics.process import files
from resty_metrics.web.tls_names import CIPHERS, CURVES

if TYPE_CHECKING:
    from resty_metrics.web.config import TlsServer

_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_VERIFY = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


class TlsError(Exception):
    """An error in ``key`` of tls_server_config; the text says what is wrong with it."""

    def __init__(self, key: str, words: str) -> None:
        super().__init__(words)
        self.key = key


@dataclass(frozen=True, slots=True)
class Tls:
    """A context, with the names a client may have. ``allowed_sans`` None: any verified certificate is admitted."""

    context: ssl.SSLContext
    allowed_sans: frozenset[str] | None

    def admits(self, certificate: Mapping[str, Any] | None) -> bool:
        """Return whether a certificate, as ``getpeercert()`` returns it, has an allowed name."""
        return self.allowed_sans is None or not self.allowed_sans.isdisjoint(subject_names(certificate))


def subject_names(certificate: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield the alternative names that exporter-toolkit compares: DNS, e-mail, URI and IP, the last in Go's form."""
    for kind, value in (certificate or {}).get("subjectAltName", ()):
        if kind in ("DNS", "email", "URI"):
            yield value
        elif kind == "IP Address":
            address = ipaddress.ip_address(value.strip())
            mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
            yield str(mapped or address)


@contextmanager
def _as_file(text: str | None, path: Path | None) -> Iterator[str]:
    """Yield a path from which OpenSSL can read ``text``; without a text, ``path`` itself."""
    if text is None:
        yield str(path)
        return
    descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def make(config: "TlsServer", directory: Path) -> Tls:
    """Make the context from its files, relative to ``directory``. Raises TlsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    context.minimum_version, context.maximum_version = _VERSIONS[config.min_version], _VERSIONS[config.max_version]
    if not config.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    _set_ciphers(context, config)
    for curve in config.curve_preferences:
        context.set_ecdh_curve(CURVES[curve])
    _load_certificate(context, config, directory)
    context.verify_mode = _VERIFY[config.client_auth_type]
    if context.verify_mode != ssl.CERT_NONE:
        _load_authorities(context, config, directory)
    sans = config.client_allowed_sans
    return Tls(context, None if sans is None else frozenset(sans))


def _set_ciphers(context: ssl.SSLContext, config: "TlsServer") -> None:
    names = [CIPHERS[name] for name in config.cipher_suites if name in CIPHERS]
    if names:
        context.set_ciphers(":".join(names))
    elif config.cipher_suites:  # those of TLS 1.3 alone
        context.minimum_version = ssl.TLSVersion.TLSv1_3


def _load_certificate(context: ssl.SSLContext, config: "TlsServer", directory: Path) -> None:
    for key, path in (("cert_file", config.cert_file), ("key_file", config.key_file)):
        if path is not None:
            _readable(key, directory / path)
    certificate = None if config.cert_file is None else directory / config.cert_file
    key_file = None if config.key_file is None else directory / config.key_file
    with _as_file(config.cert, certificate) as cert, _as_file(config.key, key_file) as private:
        try:
            context.load_cert_chain(cert, private, password="")  # else OpenSSL would ask on the terminal
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            name = "cert_file" if config.cert is None else "cert"
            reason = getattr(error, "reason", None) or "no PEM"
            raise TlsError(name, f"certificate and key cannot be used: {reason}") from None


def _load_authorities(context: ssl.SSLContext, config: "TlsServer", directory: Path) -> None:
    """Load the configured authorities; without any, the system's, as Go does."""
    key = "client_ca_file" if config.client_ca is None else "client_ca"
    try:
        if config.client_ca_file is not None:
            _readable(key, directory / config.client_ca_file)
            context.load_verify_locations(cafile=directory / config.client_ca_file)
        elif config.client_ca is not None:
            context.load_verify_locations(cadata=config.client_ca)
        else:
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "reason", None) or "no PEM"
        raise TlsError(key, f"no certificates that can be used: {reason}") from None


def _readable(key: str, path: Path) -> None:
    try:
        files.read(path)
    except OSError as error:
        raise TlsError(key, f"cannot be read: {error.strerror}") from None
