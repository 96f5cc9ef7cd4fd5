"""The policy of docs/packages.md: what is written there compiles. No machine of ours enforces it."""

import re
import subprocess
from pathlib import Path

from support.nginx import ROOT


def test_the_policy_compiles(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "packages.md").read_text()
    (policy,) = [
        one for one in re.findall(r"(?:^(?:    .*)?\n)+", text, re.MULTILINE) if "    module resty_metrics" in one
    ]
    (tmp_path / "resty_metrics.te").write_text(re.sub(r"^    ", "", policy, flags=re.MULTILINE))
    commands = [
        line.split() for line in text.splitlines() if line.startswith(("    checkmodule", "    semodule_package"))
    ]
    assert len(commands) == 2
    for words in commands:
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "resty_metrics.pp").stat().st_size > 0
