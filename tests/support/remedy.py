"""A remedy of doctor, applied as a person pastes it."""

import subprocess

from support.collector import COMMAND
from support.doctor import Diagnosis


def remedy(found: Diagnosis, check: str) -> str:
    """Return the remedy of the first problem of a check."""
    problems = [one for one in found.findings[check] if one["verdict"] in ("WARN", "FAIL")]
    assert problems, found.findings[check]
    return str(problems[0]["remedy"])


def sh(command: str) -> None:
    """Run a command as a person pastes it; ours are in no PATH."""
    words = command.replace("sudo ", "").replace("resty-metrics ", f"{COMMAND} ")
    done = subprocess.run(["sh", "-c", words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
