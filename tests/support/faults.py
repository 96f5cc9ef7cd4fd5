"""Facts of a healthy collector, and of one with each trouble of the closed list."""

import stat
from dataclasses import replace
from typing import Any

from resty_metrics.health.facts import Facts, Journal, NginxFacts, Recent, RefusedFile, Socket, SourceState
from resty_metrics.kernel.access import SEARCH, Node, Obstacle

PATH = "/run/resty-metrics/collector.sock"
NGINX = NginxFacts("", 0, 0.0, 60.0, 1.0, 0.9)
WELL = Facts(
    Socket(PATH),
    Journal("/state", None, 0.1),
    [SourceState("vts", None, "http://127.0.0.1:1/vts", None, "", 0.1)],
    [NGINX],
)


def nginx(**changes: Any) -> Facts:
    return replace(WELL, nginx=[replace(NGINX, **changes)])


def recent(**changes: Any) -> Facts:
    return replace(WELL, recent=Recent(**changes))


def socket(**changes: Any) -> Facts:
    return replace(WELL, socket=replace(WELL.socket, **changes))


SHUT = Obstacle(Node("/run/resty-metrics", 900, 900, stat.S_IFDIR | 0o700), SEARCH, known=True)
REFUSED = SourceState("vts", None, "http://127.0.0.1:1/vts", "refused", "connection refused", 0.1)
FAULTS: dict[str, Facts] = {
    "standby": socket(up=False, standing_by=True),
    "socket_down": socket(up=False, faults=["the socket cannot be put right"]),
    "socket_contended": socket(up=False, contended=True, faults=["in a moment"]),
    "socket_unreachable": socket(obstacle=SHUT),
    "refusals": recent(refused={"uid": 3.0}, uids=[101]),
    "nothing_arrives": nginx(uncounted=50.0, coverage=0.1),
    "coverage": nginx(coverage=0.9876),
    "workers_missing": nginx(missing=1),
    "spool_full": nginx(spool_free=0.1),
    "source_down": replace(WELL, sources=[REFUSED]),
    "rows_lost": recent(lost={"family_cap": 3.0}),
    "overflow": replace(recent(overflow={("", "http_requests"): 7.0}), full={"http_requests": [("path", 900)]}),
    "gauges_cut": recent(gauges_cut={"worker_cap": 3.0}),
    "worker_errors": recent(worker_errors={("", "internal"): 2.0}),
    "journal_down": replace(WELL, journal=Journal("/state", "full")),
    "journal_stalls": replace(WELL, journal=Journal("/state", None, 2.5)),
    "config_refused": replace(WELL, misconfigured=[RefusedFile("/etc/web.yml", web=True, watched=True)]),
    "family_conflict": replace(WELL, withheld=[("", "nginx_http_requests_total")]),
}
