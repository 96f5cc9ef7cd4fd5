"""The runbook as a page of the collector."""

import re
from pathlib import Path

import pytest
from resty_metrics.live import runbook
from resty_metrics.live.assets import read_runbook
from support.collector import Collector
from support.nginx import ROOT

TEXT = """# Runbook

What `a < b` is.

## OneAlert

Look: *here*, or in
[dashboards](dashboards.md).

## Other
"""


def test_headings_paragraphs_and_what_is_in_a_line() -> None:
    html = runbook.page(TEXT)
    assert "<p>What <code>a &lt; b</code> is.</p>" in html
    assert '<h2 id="onealert">OneAlert</h2>\n<p>Look: <em>here</em>, or in dashboards.</p>' in html
    assert '<li><a href="#onealert">OneAlert</a></li><li><a href="#other">Other</a></li>' in html


def test_it_is_that_of_the_documentation() -> None:
    """Nothing in it is of a form that the page does not show as what it is."""
    text = (ROOT / "docs" / "runbook.md").read_text()
    assert read_runbook() == text
    assert not re.findall(r"^(?:\||\d\.|[-*] |```|>|    )", text, re.MULTILINE)


@pytest.mark.parametrize(
    "alert", sorted(re.findall(r"- alert: (\w+)", (ROOT / "prometheus/rules/alerts.yml").read_text()))
)
def test_each_alert_has_its_place(alert: str) -> None:
    assert f'<h2 id="{alert.lower()}">{alert}</h2>' in runbook.page(read_runbook())


def test_a_collector_serves_it(shared: Path) -> None:
    with Collector(shared / "collector.sock") as collector:
        page = collector.page("/-/runbook")
        assert page == runbook.page(read_runbook())
