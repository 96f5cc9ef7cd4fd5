"""deploy/kubernetes/: against the schemas that Kubernetes publishes, and against what must never be."""

from collections.abc import Iterator
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from resty_metrics import __version__
from support.nginx import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("sidecar", "daemonset")
OLDEST, NEWEST = "1.29", kubernetes_validate.latest_version()
IMAGE_UID = 10001
COLLECTOR_PORT = 19145

Resource = dict[str, Any]


def resources(overlay: str) -> Iterator[Resource]:
    """As kustomize builds them: the overlays have nothing but resources."""
    kustomization = yaml.safe_load((KUBERNETES / overlay / "kustomization.yaml").read_text())
    assert set(kustomization) == {"apiVersion", "kind", "resources"}
    files = sorted(path.name for path in (KUBERNETES / overlay).glob("*.yaml"))
    assert sorted([*kustomization["resources"], "kustomization.yaml"]) == files
    for name in kustomization["resources"]:
        yield from yaml.safe_load_all((KUBERNETES / overlay / name).read_text())


def of_kind(overlay: str, kind: str) -> Resource:
    (found,) = (one for one in resources(overlay) if one["kind"] == kind)
    return found


def pod(overlay: str) -> Resource:
    (found,) = (one for one in resources(overlay) if one["kind"] in ("Deployment", "DaemonSet"))
    template: Resource = found["spec"]["template"]
    return template


def containers(overlay: str) -> list[Resource]:
    spec = pod(overlay)["spec"]
    return [*spec["initContainers"], *spec["containers"]]


def collector(overlay: str) -> Resource:
    (found,) = (one for one in containers(overlay) if one["name"] == "collector")
    return found


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_own_kinds_are_valid(overlay: str, version: str) -> None:
    own = [one for one in resources(overlay) if not one["apiVersion"].startswith("monitoring.coreos.com/")]
    assert len(own) >= 2
    for one in own:
        kubernetes_validate.validate(one, version, strict=True)


def test_the_check_is_one() -> None:
    broken = of_kind("daemonset", "DaemonSet")
    broken["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, NEWEST, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_of_ours_can_take_nginx_out_of_service(overlay: str) -> None:
    ours = [one for one in containers(overlay) if one["image"] == f"resty-metrics:{__version__}"]
    assert len(ours) == 2
    for one in ours:
        assert "readinessProbe" not in one
        assert "startupProbe" not in one
        assert "restartPolicy" not in one  # a sidecar that nginx would wait for


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_fences(overlay: str) -> None:
    spec, one = pod(overlay)["spec"], collector(overlay)
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert one["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": IMAGE_UID,
        "runAsGroup": IMAGE_UID,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    for each in containers(overlay):
        assert each["resources"]["requests"].keys() == {"cpu", "memory"}
        assert each["resources"]["limits"].keys() == {"memory"}  # a limit of CPU would delay answers to workers


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_monitor_and_policy_mean_this_pod_and_its_port(overlay: str) -> None:
    labels = pod(overlay)["metadata"]["labels"]
    ports = {port["name"]: port["containerPort"] for one in containers(overlay) for port in one.get("ports", [])}
    assert ports["metrics"] == COLLECTOR_PORT
    monitor, policy = of_kind(overlay, "PodMonitor")["spec"], of_kind(overlay, "NetworkPolicy")["spec"]
    assert monitor["selector"]["matchLabels"] == policy["podSelector"]["matchLabels"] == labels
    assert [one["port"] for one in monitor["podMetricsEndpoints"]] == ["metrics"]
    open_to_all = {port["port"] for rule in policy["ingress"] if "from" not in rule for port in rule["ports"]}
    assert open_to_all == set(ports) - {"metrics"}
    (of_page,) = (rule for rule in policy["ingress"] if {"protocol": "TCP", "port": "metrics"} in rule["ports"])
    (allowed,) = of_page["from"]
    assert allowed == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    assert collector(overlay)["livenessProbe"]["exec"]["command"] == ["resty-metrics", "healthcheck"]


def test_nginx_reaches_the_directory_and_does_not_write_it() -> None:
    (nginx,) = (one for one in containers("sidecar") if one["name"] == "nginx")
    mounts = {mount["mountPath"]: mount for mount in nginx["volumeMounts"]}
    assert mounts["/run/resty-metrics"] == {"name": "socket", "mountPath": "/run/resty-metrics", "readOnly": True}
    ours = {mount["mountPath"]: mount["name"] for mount in collector("sidecar")["volumeMounts"]}
    assert ours["/run/resty-metrics"] == "socket"


def test_who_owns_the_directory_of_the_node() -> None:
    (owner,) = pod("daemonset")["spec"]["initContainers"]
    targets = [mount["mountPath"] for mount in collector("daemonset")["volumeMounts"]]
    assert owner["command"] == ["chown", f"{IMAGE_UID}:{IMAGE_UID}", *targets]
    assert owner["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["CHOWN"]}
