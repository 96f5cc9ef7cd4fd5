"""A real Prometheus that scrapes collectors, each second as a rule."""

import json
import signal
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from support.wait import free_port, wait_until

CONFIGURATION = """
global: {{ scrape_interval: {interval}, scrape_timeout: {interval}, evaluation_interval: {evaluation} }}
rule_files: {rules}
scrape_configs:
  - job_name: resty-metrics
    {client}
    static_configs: [{{ targets: {targets} }}]
{more}
"""


class Prometheus:
    """Debian's Prometheus, with its data under ``directory``. It evaluates ``rules``, files of them, each second
    unless ``evaluation`` says otherwise.

    ``client``: more YAML of its job; ``more``: of the configuration, as it is to stand at the end, more jobs first.
    ``arguments``: further flags. ``agent``: it has no storage to ask, only what it passes on.
    """

    def __init__(
        self,
        directory: Path,
        *collector_ports: int,
        rules: Iterable[Path] = (),
        interval: str = "1s",
        evaluation: str = "1s",
        client: str = "",
        more: str = "",
        arguments: Iterable[str] = (),
        agent: bool = False,
    ) -> None:
        self._directory = directory
        self.port = free_port()
        targets = json.dumps([f"127.0.0.1:{port}" for port in collector_ports])
        files = json.dumps([str(path) for path in rules])
        (directory / "prometheus.yml").write_text(
            CONFIGURATION.format(
                targets=targets, rules=files, interval=interval, evaluation=evaluation, client=client, more=more
            )
        )
        self._process: subprocess.Popen[bytes] | None = None
        mode = ["--enable-feature=agent", "--storage.agent.path"] if agent else ["--storage.tsdb.path"]
        self._arguments = [*mode[:-1], f"{mode[-1]}={directory}/data", *arguments]

    def __enter__(self) -> "Prometheus":
        words = [
            "prometheus",
            f"--config.file={self._directory}/prometheus.yml",
            *self._arguments,
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        ]
        with (self._directory / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(words, stderr=log, stdout=log, stdin=subprocess.DEVNULL)
        wait_until(self._ready, 60, "Prometheus")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(timeout=30)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def page(self) -> str:
        """What it says of itself."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=20) as response:
            return str(response.read().decode())

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._directory / "prometheus.log").read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=2) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """An instant query: labels and value of each series. Raises urllib.error.HTTPError for a wrong expression."""
        return [(found["metric"], float(found["value"][1])) for found in self._ask(expression)]

    def _ask(self, expression: str) -> list[dict[str, Any]]:
        result: list[dict[str, Any]] = self._get("query?" + urllib.parse.urlencode({"query": expression}))["result"]
        return result

    def _get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}", timeout=20) as response:
            data: dict[str, Any] = json.load(response)["data"]
        return data

    def rules(self) -> list[dict[str, Any]]:
        """The rules; of each ``health`` is ok, err (then ``lastError`` says why), or unknown until it ran."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def history(self, selector: str) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
        """The raw samples behind a range selector: labels, and (time, value) of each."""
        return [
            (found["metric"], [(float(when), float(value)) for when, value in found["values"]])
            for found in self._ask(selector)
        ]

    def value(self, expression: str) -> float | None:
        """The one value that an expression gives; None if it gives none."""
        found = self.query(expression)
        assert len(found) <= 1, found
        return found[0][1] if found else None
