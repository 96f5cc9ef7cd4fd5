"""The commands of README.md as they stand there: what a newcomer types.

A block of them is marked by a comment before it, which nobody sees who reads the page: ``<!-- newcomer: NAME -->``.
"""

import re
import textwrap

from support.nginx import ROOT

PATIENTLY = "curl --silent --fail --retry 60 --retry-delay 1 --retry-connrefused"
"""What a newcomer asks with for something that has just been started."""

_BLOCK = re.compile(
    r"^(?P<margin> *)<!-- newcomer: (?P<name>\w+) -->\n\n(?P<block>(?:(?P=margin) {4}.*\n|\n)+)", re.MULTILINE
)


def blocks() -> dict[str, str]:
    """By name, without margins. A mark without a block, or used twice: AssertionError."""
    text = (ROOT / "README.md").read_text()
    found = [(one["name"], textwrap.dedent(one["block"]).strip()) for one in _BLOCK.finditer(text)]
    assert len(found) == text.count("<!-- newcomer:") == len(dict(found)), found
    return dict(found)
