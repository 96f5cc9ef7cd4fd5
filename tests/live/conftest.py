"""What the tests of the live page share."""

from collections.abc import Iterator

import pytest
from support.browser import Browser


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One for all: it takes seconds to start."""
    with Browser(tmp_path_factory.mktemp("chromium")) as started:
        yield started
