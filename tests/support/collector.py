"""A real collector process of the test's own."""

import base64
import http.client
import os
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from prometheus_client.parser import text_string_to_metric_families
from support.idle import wait_idle
from support.nginx import Counts, Durations
from support.wait import free_port, wait_until

COMMAND = str(Path(sys.executable).with_name("resty-metrics"))

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples_of(page: str) -> Samples:
    """Every sample of a page by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def counts_of(samples: Samples) -> Counts:
    """Requests by (server, method, status)."""
    counts: Counts = Counter()
    for (name, labels), value in samples.items():
        if name == "nginx_http_responses_total":
            by = dict(labels)
            counts[by["server"], by["method"], by["status"]] += int(value)
    return counts


def durations_of(samples: Samples) -> Durations:
    """Durations by (server, status_class): the default labels. A sample that lacks them is a KeyError."""
    counts: Durations = Counter()
    for (name, labels), value in samples.items():
        if name == "nginx_http_request_duration_seconds_count":
            by = dict(labels)
            counts[by["server"], by["status_class"]] += int(value)
    return counts


def families_of(samples: Samples) -> tuple[Counts, Durations]:
    """Requests and durations of one page."""
    return counts_of(samples), durations_of(samples)


def basic(user: str, password: str) -> str:
    """An Authorization header."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


class Collector:
    """``resty-metrics serve`` on a socket and a free port. A new ``start`` keeps both.

    ``under``: what its command line begins with, such as unshare. ``tls``: how its page is asked, if by TLS;
    ``user``: as whom, with a password; ``stderr``: where its log goes instead of to ``log``.
    """

    def __init__(
        self,
        socket_path: Path,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        under: Sequence[str] = (),
        tls: ssl.SSLContext | None = None,
        user: tuple[str, str] | None = None,
        stderr: int | None = None,
    ) -> None:
        self.socket_path = socket_path
        self.state_dir = socket_path.with_suffix(".state")
        self.port = free_port()
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        self.tls = tls
        self._user = user
        self._arguments: Sequence[str] = arguments
        self._under = under
        self._environment = {**os.environ, **(environment or {})}
        self._log = os.memfd_create("log")  # in no directory that a test may remove
        self._stderr = self._log if stderr is None else stderr
        self.process: subprocess.Popen[bytes] | None = None

    def __del__(self) -> None:
        os.close(self._log)

    def __enter__(self) -> "Collector":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.terminate()

    def start(self) -> None:
        words = [
            *self._under,
            COMMAND,
            "serve",
            f"--socket.path={self.socket_path}",
            f"--state.dir={self.state_dir}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            *self._arguments,
        ]
        self.process = subprocess.Popen(words, stderr=self._stderr, stdin=subprocess.DEVNULL, env=self._environment)
        wait_until(self.ready, message="the collector's readiness")

    def ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the collector ended: {self.log()}"
        try:
            with self._open("/-/ready", {}, 2) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def terminate(self) -> int:
        """SIGTERM, and the exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout=10)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=10)

    def log(self) -> str:
        """What it has logged: a thread writes it, perhaps after the answer that a test has waited for."""
        if self.process is not None and self.process.poll() is None:
            wait_idle(self.pid)
        size = os.fstat(self._log).st_size
        return os.pread(self._log, size, 0).decode(errors="replace")

    def page(self, path: str = "/metrics", **headers: str) -> str:
        with self._open(path, {name.replace("_", "-"): value for name, value in headers.items()}, 20) as response:
            return str(response.read().decode())

    def _open(self, path: str, headers: Mapping[str, str], seconds: float) -> http.client.HTTPResponse:
        request = urllib.request.Request(self.url + path, headers=dict(headers))
        if self._user is not None:
            request.add_header("Authorization", basic(*self._user))
        found: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=seconds, context=self.tls)
        return found

    def reload(self) -> None:
        """Have it read its configuration again; it needs --web.enable-lifecycle."""
        request = urllib.request.Request(f"{self.url}/-/reload", method="POST")
        with urllib.request.urlopen(request, timeout=20, context=self.tls):
            pass

    def samples(self) -> Samples:
        return samples_of(self.page())

    def value(self, name: str, **labels: str) -> float | None:
        """One sample of the page; None if it is absent."""
        family = name.removesuffix("_total")  # which the parser adds to counters that have none
        lines = (line for line in self.page().split("\n") if family in line)  # to parse a whole page takes long
        return samples_of("".join(f"{line}\n" for line in lines)).get((name, frozenset(labels.items())))

    def request_counts(self) -> Counts:
        """Requests by (server, method, status), from the page."""
        return counts_of(self.samples())

    def both_families(self) -> tuple[Counts, Durations]:
        """Requests, and their durations by (server, status_class), from one page."""
        return families_of(self.samples())
