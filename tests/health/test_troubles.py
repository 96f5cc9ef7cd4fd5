"""The closed list: each trouble has an alert, a section of the runbook, and a line of docs/metrics.md."""

import re
from typing import Any

import pytest
import yaml
from resty_metrics.health.troubles import BY_NAME, KINDS, Kind, title_of
from support.nginx import ROOT

RULES = yaml.safe_load((ROOT / "prometheus" / "rules" / "alerts.yml").read_text())
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
METRICS = (ROOT / "docs" / "metrics.md").read_text()


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_trouble_has_all_that_readers_need(kind: Kind) -> None:
    assert re.fullmatch("[a-z]+(_[a-z]+)*", kind.name)
    assert kind.remedy.strip().endswith((".", ";", "install", ")"))
    assert f"\n## {kind.alert}\n" in RUNBOOK
    rule = alerts()[kind.alert]
    assert rule["expr"] == f'resty_metrics_trouble{{trouble="{kind.name}"}} == 1'
    assert rule["labels"]["severity"] == kind.severity
    assert rule["annotations"]["runbook"] == f"docs/runbook.md#{kind.alert.lower()}"
    (row,) = [line for line in METRICS.splitlines() if line.startswith(f"| {kind.severity} | `{kind.name}` |")]
    assert f"[{kind.alert}](runbook.md#{kind.alert.lower()})" in row


def test_names_are_unique() -> None:
    assert len(BY_NAME) == len({kind.alert for kind in KINDS}) == len({kind.title for kind in KINDS}) == len(KINDS)


def test_every_alert_on_a_trouble_is_of_the_list() -> None:
    named = {match for rule in alerts().values() for match in re.findall(r'trouble="(\w+)"', rule["expr"])}
    assert named == set(BY_NAME)


def test_a_title_names_the_nginx() -> None:
    for kind in KINDS:
        assert ("edge" in title_of(kind, "edge")) == kind.per_nginx
        assert "{" not in title_of(kind, "")
        assert "  " not in title_of(kind, "")
