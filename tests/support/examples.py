"""The examples of a page of documentation: a configuration, the commands that use it, and what the page then shows."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from support.nginx import INSTALLED, ROOT
from support.wait import free_port

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PEER = re.compile(r"127\.0\.0\.1:80\d\d")
PORT = "127.0.0.1:8080"
PAGE = "127.0.0.1:19145"


@dataclass(frozen=True, slots=True)
class Example:
    """``http`` is the inside of ``http{}``, ``commands`` are of a shell, ``shown`` are lines of the page."""

    http: str
    commands: tuple[str, ...]
    shown: tuple[str, ...]

    def with_free_peers(self) -> "Example":
        """The same, its other addresses on free ports."""
        peers = {peer: f"127.0.0.1:{free_port()}" for peer in set(_PEER.findall(self.http)) - {PORT}}

        def moved(text: str) -> str:
            return _PEER.sub(lambda match: peers.get(match[0], match[0]), text)

        return Example(moved(self.http), tuple(map(moved, self.commands)), tuple(map(moved, self.shown)))

    def site(self, port: int, page: str = PAGE) -> str:
        """The configuration for Nginx, on a free port."""
        text = self.http.replace(PORT, f"127.0.0.1:{port}").replace(f"http://{PAGE}", page)
        return text.replace(INSTALLED, "{share}")

    def run(self, port: int) -> str:
        """What the commands print."""
        return "".join(
            subprocess.run(
                ["sh", "-c", command.replace(PORT, f"127.0.0.1:{port}")],
                capture_output=True,
                text=True,
                timeout=30,
                check=True,
            ).stdout
            for command in self.commands
        )


def examples_of(name: str) -> list[Example]:
    """The examples of ``docs/NAME``: each an nginx block, then a console block, then a text block."""
    blocks = _BLOCK.findall((Path(ROOT) / "docs" / name).read_text())
    found = []
    for i, (kind, http) in enumerate(blocks):
        if kind == "nginx":
            (after, commands), (last, shown) = blocks[i + 1 : i + 3]
            assert (after, last) == ("console", "text"), f"docs/{name}: what follows a configuration"
            found.append(Example(http, tuple(commands.splitlines()), tuple(shown.splitlines())))
    return found
