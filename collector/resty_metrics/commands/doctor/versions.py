"""Check that all parts have one version: ``versions``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from resty_metrics import __version__
from resty_metrics.commands.doctor.finding import Finding, Verdict, skip, warn


@dataclass(frozen=True, slots=True)
class Installed:
    """The installed versions: of the running collector, of the module in workers, of the Lua files on disk."""

    collector: Sequence[str]
    workers: Sequence[str]
    files: Mapping[str, str]


def check(installed: Installed) -> Finding:
    """Check ``versions``: doctor, collector and Lua module agree.

    The answered probe already proves the wire's version.
    """
    named = [("doctor", __version__)]
    named += [("collector", version) for version in installed.collector]
    named += [("Lua module in the workers", version) for version in installed.workers]
    named += [(f"Lua module at {path}", version) for path, version in sorted(installed.files.items())]
    shown = ", ".join(f"{name} {version}" for name, version in named)
    if len({version for _, version in named}) > 1:
        differ = warn(
            "versions", f"they differ: {shown}", "install the same version of all, reload nginx, restart the collector"
        )
        return replace(differ, parts=frozenset({"version"}))
    if not installed.collector:
        return skip("versions", f"no collector gave its version ({shown})")
    return Finding("versions", Verdict.OK, shown)
