"""``resty-metrics doctor`` as a process, its findings read from JSON."""

import json
import os
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.collector import COMMAND, Collector
from support.nginx import NGINX, Nginx
from support.wait import free_port, wait_until

SITE = """include {{share}}/nginx.conf.d/lifecycle.conf;
server {{
    listen 127.0.0.1:{port};
    server_name a.example;
    location / {{ return 200 ok; }}
    {more}
}}
"""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """``status``: the exit status; ``report``: the JSON; ``findings``: what it holds, by check."""

    status: int
    report: dict[str, Any]

    @property
    def findings(self) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for one in self.report["findings"]:
            found.setdefault(one["check"], []).append(one)
        return found

    def verdicts(self, *verdicts: str) -> set[str]:
        """The checks with a finding of these verdicts."""
        return {one["check"] for one in self.report["findings"] if one["verdict"] in verdicts}

    def seen(self, check: str, verdict: str) -> str:
        """What was seen by the findings of one check with one verdict, and what is to be done."""
        found = [one for one in self.findings.get(check, []) if one["verdict"] == verdict]
        assert found, f"no {verdict} of {check} in {json.dumps(self.report['findings'], indent=1)}"
        return "\n".join(f"{one['seen']} -> {one['remedy']}" for one in found)


def command_of(nginx: Nginx) -> str:
    """What ``--nginx.command`` says of a test's own nginx."""
    return shlex.join([NGINX, "-p", str(nginx.prefix), "-e", str(nginx.error_log), "-c", str(nginx.conf)])


def words(socket_path: Path | None, nginx: Nginx | str | None, *arguments: str) -> list[str]:
    """Without an nginx one that does not exist is named, so that those of others on this machine are left alone."""
    command = command_of(nginx) if isinstance(nginx, Nginx) else nginx or "/nonexistent/nginx"
    path = [] if socket_path is None else [f"--socket.path={socket_path}"]
    return [COMMAND, "doctor", *path, f"--nginx.command={command}", *arguments]


def diagnose(
    socket_path: Path | None, nginx: Nginx | str | None, *arguments: str, under: Sequence[str] = (), **more: Any
) -> Diagnosis:
    """Run it. ``under``: a command before it; ``more``: for subprocess."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RESTY_METRICS_")}
    done = subprocess.run(
        [*under, *words(socket_path, nginx, "--json", *arguments)],
        capture_output=True,
        text=True,
        timeout=30,
        stdin=subprocess.DEVNULL,
        env=environment,
        check=False,
        **more,
    )
    assert done.stderr == ""
    return Diagnosis(done.returncode, json.loads(done.stdout))


def bad(found: Diagnosis) -> set[str]:
    """The checks with a finding that is not as it should be."""
    return found.verdicts("WARN", "FAIL")


def site(more: str = "") -> str:
    """What a healthy nginx serves; ``more`` is in its server."""
    return SITE.format(port=free_port(), more=more)


def heard_of(collector: Collector, workers: int = 2) -> None:
    wait_until(lambda: collector.value("resty_metrics_workers_seen") == workers, message="the workers' heartbeats")
