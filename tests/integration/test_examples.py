"""Each example of docs/lua-api.md, docs/migration.md and docs/labels.md does what it says."""

from pathlib import Path

import pytest
from support.collector import Collector
from support.examples import Example, examples_of
from support.nginx import Nginx
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

EXAMPLES = [
    (name, n, example)
    for name in ("lua-api.md", "migration.md", "labels.md")
    for n, example in enumerate(examples_of(name))
]


@pytest.mark.parametrize(
    "example", [example for *_, example in EXAMPLES], ids=[f"{name} {n}" for name, n, _ in EXAMPLES]
)
def test_an_example(example: Example, socket_path: Path) -> None:
    port, collector, example = free_port(), Collector(socket_path), example.with_free_peers()
    site = example.site(port, collector.url)
    with collector, Nginx(socket_path, site, workers=1, include="") as nginx:
        printed = example.run(port).splitlines()
        missing = {line for line in example.shown if line not in printed}
        wait_until(lambda: missing <= set(collector.page().splitlines()), message=f"{sorted(missing)} on the page")
        wanted = ("Logged once", "while connecting to upstream")
        assert [line for line in nginx.errors() if not any(words in line for words in wanted)] == []
