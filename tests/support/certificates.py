"""Certificates of a test's own, made by openssl."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

LOCAL = "DNS:localhost,IP:127.0.0.1"
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=30)


@dataclass(frozen=True)
class Certificate:
    """Files in PEM."""

    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """A server that shows it."""
        found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        found.load_cert_chain(self.certificate, self.key)
        return found

    def copy_to(self, certificate: Path, key: Path) -> None:
        """In place of what is there, as a rotation does."""
        for source, target in ((self.certificate, certificate), (self.key, key)):
            beside = target.with_name(f"{target.name}.new")
            beside.write_bytes(source.read_bytes())
            beside.replace(target)


class Authority:
    """A certificate authority with its files in ``directory``."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._directory = directory
        self._key = directory / f"{name}.key"
        self.file = directory / f"{name}.pem"
        subject = ("-x509", "-subj", f"/CN={name}", "-days", "2")
        extension = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
        _openssl("req", *subject, *extension, *_KEY, "-keyout", str(self._key), "-out", str(self.file))

    def issue(self, name: str, alternatives: str = "") -> Certificate:
        """A certificate for a server or a client. ``alternatives``: as in ``DNS:a.example,IP:127.0.0.1``."""
        made = Certificate(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        signed = ("-CA", str(self.file), "-CAkey", str(self._key), "-days", "2")
        extension = ("-addext", f"subjectAltName={alternatives or f'DNS:{name}'}")
        _openssl(
            "req", "-x509", "-subj", f"/CN={name}", *signed, *extension,
            "-addext", "basicConstraints=critical,CA:FALSE", *_KEY,
            "-keyout", str(made.key), "-out", str(made.certificate),
        )  # fmt: skip
        made.key.chmod(0o644)
        return made
