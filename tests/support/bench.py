"""``scripts/bench`` as a person runs it."""

import subprocess

from support.nginx import ROOT


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command and wait for its end."""
    words = [str(ROOT / "scripts" / "bench"), *arguments]
    return subprocess.run(words, capture_output=True, text=True, timeout=250, check=False)
