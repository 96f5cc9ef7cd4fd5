"""What all chaos scenarios share. The summary shows what was measured."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.stage import RESULTS, Stage, opened


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(1800))
            item.add_marker(pytest.mark.skipif(os.geteuid() != 0, reason="only root can inflict these faults"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if RESULTS:
        terminalreporter.section("chaos: requests, rate, seconds until it healed")
    for result in RESULTS:
        waits: dict[str, list[float]] = {}
        for what, seconds in result.waits:
            waits.setdefault(what, []).append(seconds)
        text = "; ".join(f"{what} {max(seconds):.2f} (of {len(seconds)})" for what, seconds in waits.items())
        terminalreporter.write_line(f"{result.name}: {result.requests}, {result.rate:.0f}/s; {text}")


@pytest.fixture
def long(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--long"))


@pytest.fixture
def stage(request: pytest.FixtureRequest, shared: Path, long: bool) -> Iterator[Stage]:
    """The usual stage: one host, the socket in a directory that may be removed and made again."""
    with opened(request.node.name, shared, long) as stage:
        yield stage
