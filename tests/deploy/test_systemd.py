"""deploy/systemd/: the fences that docs/security.md promises, as systemd itself reads them."""

import shutil
import subprocess
from configparser import RawConfigParser

import pytest
from support.nginx import ROOT

SYSTEMD = ROOT / "deploy" / "systemd"
UNIT = SYSTEMD / "resty-metrics.service"
MOST_EXPOSED = 25  # tenths, by systemd-analyze security


def service(name: str) -> dict[str, str]:
    """The section Service of a unit, or of a drop-in; of a setting that stands there several times the last."""
    parser = RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(SYSTEMD / name)
    return dict(parser["Service"])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_it_is_no_more_exposed_than_the_documents_say() -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", UNIT],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-200:] + done.stderr


def test_fences() -> None:
    unit = service("resty-metrics.service")
    expected = {
        "User": "resty-metrics",
        "LimitCORE": "0",
        "RuntimeDirectoryMode": "0755",
        "StateDirectoryMode": "0750",
        "CapabilityBoundingSet": "",
        "AmbientCapabilities": "",
        "NoNewPrivileges": "yes",
        "MemoryDenyWriteExecute": "yes",
        "ProtectSystem": "full",
        "ProtectHome": "yes",
        "PrivateTmp": "yes",
        "PrivateDevices": "yes",
        "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    }
    assert unit.items() >= expected.items()


def test_attribution_gives_two_capabilities_and_nothing_else() -> None:
    given = "CAP_SYS_PTRACE CAP_DAC_READ_SEARCH"
    assert service("attribution.conf") == {"CapabilityBoundingSet": given, "AmbientCapabilities": given}
