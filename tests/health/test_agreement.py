"""Each trouble, fed to all readers of health: they name it alike, with one severity. A healthy system has none."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
import yaml
from resty_metrics.commands.doctor import families, reported
from resty_metrics.commands.doctor import page as of_doctor
from resty_metrics.commands.doctor.finding import Verdict
from resty_metrics.commands.top import health as words
from resty_metrics.commands.top import page as of_top
from resty_metrics.commands.top import warnings as top
from resty_metrics.commands.top.meter import View
from resty_metrics.health.facts import Facts
from resty_metrics.health.judge import judge
from resty_metrics.health.troubles import BY_NAME, Kind, Trouble, title_of
from resty_metrics.live.history import History
from resty_metrics.live.notices import notices
from resty_metrics.observer import metric
from resty_metrics.observer.lines import lines
from support.faults import FAULTS, NGINX, WELL
from support.live import facts as shown
from support.nginx import ROOT

RULES = yaml.safe_load((ROOT / "prometheus" / "rules" / "alerts.yml").read_text())
ALERTS = {
    rule["expr"]: (rule["alert"], rule["labels"]["severity"]) for group in RULES["groups"] for rule in group["rules"]
}
SEVERITIES = {Verdict.FAIL: "critical", Verdict.WARN: "warning"}
# What the page has beside the metric of troubles, where a reader needs it.
FIGURES = {
    "overflow": 'resty_metrics_overflow_rows_total{{{}family="http_requests"}} 7\n',
    "family_conflict": 'resty_metrics_family_conflict{{{}family="nginx_http_requests_total"}} 1\n',
}


@dataclass(frozen=True)
class Said:
    """What a reader says of a trouble: the name of its alert, its severity, its title (None: in other words)."""

    alert: str
    severity: str
    title: str | None


def page(troubles: Sequence[Trouble]) -> str:
    """The page of a collector that has these troubles."""
    family = metric.family(troubles)
    text = "# HELP resty_metrics_build_info x\n# TYPE resty_metrics_build_info gauge\n"
    text += 'resty_metrics_build_info{version="1"} 1\n'
    text += f"# HELP {family.name} {family.help}\n# TYPE {family.name} gauge\n{b''.join(family.lines).decode()}"
    for one in troubles:
        line = FIGURES.get(one.kind.name, "").format(f'nginx="{one.nginx}",' if one.nginx else "")
        name = line.partition("{")[0]
        text += f"# HELP {name} x\n# TYPE {name} gauge\n{line}" if line else ""
    return text


def of_ready(troubles: Sequence[Trouble]) -> list[str]:
    return lines(troubles, "/run/resty-metrics/collector.sock")


def of_live(troubles: Sequence[Trouble]) -> list[Said]:
    return [Said(one.name, one.severity, one.title) for one in notices(shown(troubles=troubles), History())]


def of_top_warnings(troubles: Sequence[Trouble]) -> list[Said]:
    view = View(of_top.read(page(troubles)), 0.0, {}, {})
    titles = [title_of(kind, nginx) for kind, nginx in top.held(view.page)]
    found = top.warnings(view)
    assert all(any(one.evidence.startswith(title) for title in titles) for one in found)
    return [Said(str(one.name), one.severity, title) for one, title in zip(found, titles, strict=True)]


def of_doctor_findings(troubles: Sequence[Trouble]) -> list[Said]:
    read = of_doctor.read(page(troubles))
    found = [one for one in (*reported.check(read, "/state", {}), *families.check(read)) if one.is_problem]
    return [Said(BY_NAME[str(one.trouble)].alert, SEVERITIES[one.verdict], None) for one in found]


def of_alerts(troubles: Sequence[Trouble]) -> list[Said]:
    """The alerts on the series of the page that are 1."""
    held = [line for line in page(troubles).splitlines() if line.startswith(f"{metric.NAME}{{") and line.endswith(" 1")]
    names = [line.partition('trouble="')[2].partition('"')[0] for line in held]
    return [Said(*ALERTS[f'{metric.NAME}{{trouble="{name}"}} == 1'], None) for name in names]


def in_edge(facts: Facts) -> Facts:
    """The same of an nginx with a name."""
    recent = facts.recent
    return replace(
        facts,
        nginx=[replace(one, name="edge") for one in facts.nginx],
        sources=[replace(one, name="edge") for one in facts.sources],
        withheld=[("edge", family) for _, family in facts.withheld],
        recent=replace(
            recent,
            overflow={("edge", family): count for (_, family), count in recent.overflow.items()},
            worker_errors={("edge", reason): count for (_, reason), count in recent.worker_errors.items()},
        ),
    )


CASES = [(name, facts) for name, facts in FAULTS.items()]
CASES += [(name, in_edge(facts)) for name, facts in FAULTS.items() if BY_NAME[name].per_nginx]


def named(trouble: Trouble) -> tuple[Kind, str]:
    return trouble.kind, trouble.nginx


@pytest.mark.parametrize(("name", "facts"), CASES, ids=[f"{name}-{facts.nginx[0].name}" for name, facts in CASES])
def test_all_readers_say_the_same(name: str, facts: Facts) -> None:
    troubles = judge(facts)
    (trouble,) = troubles
    kind = BY_NAME[name]
    assert trouble.nginx == (facts.nginx[0].name if kind.per_nginx else "")
    expected = [Said(kind.alert, kind.severity, trouble.title)]
    untitled = [replace(expected[0], title=None)]
    assert of_live(troubles) == expected
    assert of_top_warnings(troubles) == expected
    assert of_doctor_findings(troubles) == untitled
    assert of_alerts(troubles) == untitled
    (line,) = of_ready(troubles)
    assert line.startswith(f"degraded: {trouble.title[:1].lower()}{trouble.title[1:]}: ")
    assert trouble.remedy in line


def test_of_a_healthy_system_all_readers_say_nothing() -> None:
    troubles = judge(WELL)
    assert troubles == judge(replace(WELL, nginx=[replace(NGINX, name="edge")])) == []
    readers = (of_ready, of_live, of_top_warnings, of_doctor_findings, of_alerts)
    assert [reader(troubles) for reader in readers] == [[]] * len(readers)
    assert all(word.works is not False for word in words.words(of_top.read(page(troubles))))


def test_all_at_once() -> None:
    """As they come from a page: in one order of severity."""
    troubles = [trouble for facts in FAULTS.values() for trouble in judge(facts)]
    wanted = sorted(kind.alert for kind in BY_NAME.values())
    for said in (of_live(troubles), of_top_warnings(troubles), of_doctor_findings(troubles), of_alerts(troubles)):
        assert sorted(one.alert for one in said) == wanted
    assert len(of_ready(troubles)) == len(wanted)
    for said in (of_live(troubles), of_top_warnings(troubles)):
        ranks = [one.severity != "critical" for one in said]
        assert ranks == sorted(ranks)
