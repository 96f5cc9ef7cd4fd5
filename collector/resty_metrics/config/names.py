"""The names of a setting: ``--socket.path``, ``socket_path``, ``RESTY_METRICS_SOCKET_PATH``."""

import difflib
import re
from collections.abc import Iterable, Mapping

from resty_metrics.config.problem import Problem

_PREFIX = "RESTY_METRICS_"
# Variables that Kubernetes and Docker's links set for a service with a name like ours ("resty-metrics").
_OF_A_SERVICE = re.compile(
    r"\w*_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://")


def name(flag: str) -> str:
    """Return the name of a flag's field: ``socket_path`` for ``--socket.path``."""
    return flag.removeprefix("--").replace(".", "_").replace("-", "_")


def variable(flag: str) -> str:
    """Return the name of a flag's variable: ``RESTY_METRICS_SOCKET_PATH`` for ``--socket.path``."""
    return _PREFIX + name(flag).upper()


def misspelt(environment: Mapping[str, str], known: Iterable[str]) -> list[Problem]:
    """Return a problem for each variable with our prefix that is not ``known`` as a setting."""
    known = set(known)
    prefixed = (name for name in environment if name.startswith(_PREFIX) and name not in known)
    wrong = sorted(name for name in prefixed if not _is_of_a_service(name, environment[name]))
    return [Problem(None, name, f"unknown setting. {_nearest(name, known)}") for name in wrong]


def _is_of_a_service(variable: str, value: str) -> bool:
    if variable.endswith("_PORT") and _ADDRESS.match(value):
        return True
    return _OF_A_SERVICE.fullmatch(variable) is not None


def _nearest(variable: str, known: set[str]) -> str:
    settings = sorted(name.removeprefix(_PREFIX) for name in known)
    near = difflib.get_close_matches(variable.removeprefix(_PREFIX), settings, n=1)
    return f"Did you mean {_PREFIX}{near[0]}?" if near else "resty-metrics serve --help lists the settings"
