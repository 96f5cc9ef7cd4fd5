"""A healthy collector and a healthy nginx."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.collector import Collector
from support.doctor import heard_of, site
from support.nginx import Nginx


@pytest.fixture
def collector(socket_path: Path) -> Iterator[Collector]:
    with Collector(socket_path) as running:
        yield running


@pytest.fixture
def nginx(collector: Collector) -> Iterator[Nginx]:
    """A healthy nginx whose workers were heard of."""
    with Nginx(collector.socket_path, site()) as running:
        heard_of(collector)
        yield running
