"""Certificates of a test's own, made by openssl."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, in files of PEM."""

    cert: Path
    key: Path


class Authority:
    """Signs certificates; its own is ``pair.cert``."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        directory.mkdir(exist_ok=True)
        self._directory = directory
        self.pair = self._new(name, "-addext", "basicConstraints=critical,CA:TRUE")

    def _new(self, name: str, *more: str) -> Pair:
        pair = Pair(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        words = ["openssl", "req", "-x509", *_KEY, "-subj", f"/CN={name}", *more]
        subprocess.run([*words, "-keyout", str(pair.key), "-out", str(pair.cert)], check=True, capture_output=True)
        return pair

    def issue(self, name: str, sans: str = "DNS:localhost,IP:127.0.0.1", days: int = 2) -> Pair:
        """A certificate for a server or a client. ``sans``: as openssl writes subjectAltName."""
        pair = Pair(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        signed = ["-CA", str(self.pair.cert), "-CAkey", str(self.pair.key), "-addext", f"subjectAltName={sans}"]
        words = ["openssl", "req", "-x509", *_KEY[:-1], str(days), "-subj", f"/CN={name}", *signed]
        words += ["-addext", "basicConstraints=critical,CA:FALSE"]
        subprocess.run([*words, "-keyout", str(pair.key), "-out", str(pair.cert)], check=True, capture_output=True)
        return pair
