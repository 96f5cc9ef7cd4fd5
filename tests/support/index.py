"""Where Python packages come from on this machine, for a pip that runs on another."""

import subprocess
import sys
from pathlib import Path

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# All else in pip's configuration may name files that are not there.
_OF_INDEX = ("index-url", "extra-index-url", "trusted-host", "proxy", "default-timeout", "timeout")


def write_pip_configuration(path: Path) -> None:
    """What this machine's pip is told of its index, for the pip inside."""
    words = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout
    settings = dict(line.split("=", 1) for line in listed.splitlines())
    named = {key.rpartition(".")[2]: value.strip("'") for key, value in settings.items()}
    path.write_text("[global]\n" + "".join(f"{key} = {value}\n" for key, value in named.items() if key in _OF_INDEX))
