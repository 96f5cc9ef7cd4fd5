"""deploy/compose.yaml, as the compose client understands it; what it mounts, as nginx and Prometheus do."""

import os
import shlex
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import readme
from support.collector import Collector
from support.nginx import ROOT, Nginx
from support.wait import free_port, wait_until

DEPLOY = ROOT / "deploy"
IMAGE_UID = 10001
PLUGINS = "/usr/libexec/docker/cli-plugins"  # where Ubuntu has the client alone; it runs without docker too
COMPOSE = shutil.which("docker-compose", path=f"{PLUGINS}:{os.environ['PATH']}") or "docker-compose"
SHARE = "/usr/share/resty-metrics"

Volume = tuple[str, str, bool]


def client(*words: str) -> str:
    """Another command than README.md's with its flags: without an engine there is nothing to bring up."""
    docker, compose, *flags, up, build = shlex.split(readme.blocks()["compose"])
    assert (docker, compose, up, build) == ("docker", "compose", "up", "--build")
    done = subprocess.run(
        [COMPOSE, *flags, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load(client("config"))["services"]
    return services


# Version 1 of the client prints the short form of volumes and ports, version 2 the long form.


def volumes(service: dict[str, Any]) -> list[Volume]:
    """Source, target, and True for a read-only one."""
    return [volume(one) for one in service["volumes"]]


def volume(entry: str | dict[str, Any]) -> Volume:
    if isinstance(entry, dict):
        return entry["source"], entry["target"], entry.get("read_only", False)
    source, target, *mode = entry.split(":")
    return source, target, mode == ["ro"]


def published_on(entry: str | dict[str, Any]) -> str:
    """The address of this machine at which a port is published."""
    if isinstance(entry, dict):
        return str(entry.get("host_ip", ""))
    return str(entry).rpartition(":")[0].rpartition(":")[0]


def test_what_is_mounted_from_here_is_here(services: dict[str, Any]) -> None:
    mounted = [one for service in services.values() for one in volumes(service) if one[0].startswith("/")]
    assert {target for _, target, _ in mounted} >= {f"{SHARE}/lua", f"{SHARE}/nginx.conf.d", "/etc/prometheus/rules"}
    assert [source for source, _, _ in mounted if not Path(source).exists()] == []
    assert [source for source, _, read_only in mounted if not read_only] == []


def test_the_directory_is_shared_and_belongs_to_the_collector(services: dict[str, Any]) -> None:
    directory = "/run/resty-metrics"
    shared = {name: one for name in services for one in volumes(services[name]) if one[1] == directory}
    assert shared == {
        "owner": ("socket", directory, False),
        "collector": ("socket", directory, False),
        "openresty": ("socket", directory, True),
    }
    assert services["owner"]["entrypoint"][:2] == ["chown", f"{IMAGE_UID}:{IMAGE_UID}"]
    assert set(services["owner"]["entrypoint"][2:]) == {target for _, target, _ in volumes(services["collector"])}
    assert services["collector"]["depends_on"]["owner"]["condition"] == "service_completed_successfully"
    assert f"USER {IMAGE_UID}:{IMAGE_UID}" in (ROOT / "Dockerfile").read_text()


def test_nginx_depends_on_nobody(services: dict[str, Any]) -> None:
    assert "depends_on" not in services["openresty"]


def test_the_collector_has_no_more_than_it_needs(services: dict[str, Any]) -> None:
    collector = services["collector"]
    assert collector["read_only"] is True
    assert collector["cap_drop"] == ["ALL"]
    assert collector["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in collector
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert {published_on(port) for port in published} == {"127.0.0.1"}


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    written = (DEPLOY / "compose" / "prometheus.yml").read_text()
    there = tmp_path / "prometheus.yml"
    there.write_text(written.replace("/etc/prometheus/rules", str(ROOT / "prometheus" / "rules")))
    done = subprocess.run(
        ["promtool", "check", "config", there], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rules found" in done.stdout


def test_grafana_is_given_what_the_dashboards_ask_for(services: dict[str, Any]) -> None:
    given = yaml.safe_load((DEPLOY / "compose" / "datasources.yml").read_text())["datasources"][0]
    own = yaml.safe_load((ROOT / "grafana/provisioning/datasources/resty-metrics.yml").read_text())["datasources"][0]
    assert {**given, "url": own["url"]} == own
    provider = yaml.safe_load((ROOT / "grafana/provisioning/dashboards/resty-metrics.yml").read_text())["providers"][0]
    assert provider["options"]["path"] in {target for _, target, _ in volumes(services["grafana"])}


def test_a_request_of_the_site_is_counted(socket_path: Path) -> None:
    port = free_port()
    site = (DEPLOY / "compose" / "site.conf").read_text()
    site = site.replace(SHARE, "{share}").replace("listen 8080", f"listen 127.0.0.1:{port}")
    with Collector(socket_path) as collector, Nginx(socket_path, site, include="") as nginx:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as response:
            assert response.status == 200
        wait_until(lambda: collector.request_counts() == {("localhost", "GET", "200"): 1}, message="the request")
        assert nginx.errors() == []
