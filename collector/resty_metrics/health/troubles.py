"""The closed list of troubles. Every reader of health takes names, severities, titles and remedies from here.

``resty_metrics_trouble{trouble}`` has the name, prometheus/rules/alerts.yml an alert of ``alert`` with the severity,
docs/runbook.md a section of that name, and docs/metrics.md a line in its table of troubles.

Rule: a trouble is about the pipeline. The requests of the site (errors, latency) have alerts of their own.
"""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["critical", "warning"]
Command = Literal["doctor", "watch", "check-config"]

RELABEL = (
    "Where an nginx without a name has a label nginx of yours, give the label another name and reload that nginx "
    "(docs/instances.md)."
)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of trouble.

    ``title``: a sentence, in which {of} is the name of the nginx; ``remedy``: an instruction, where it does not depend
    on a reason (remedies.py); ``command``: the command to run, if one helps; ``per_nginx``: it concerns one nginx;
    ``counters``: those of the page that have its reasons, without their prefix.
    """

    name: str
    severity: Severity
    alert: str
    title: str
    remedy: str
    command: Command | None = "doctor"
    per_nginx: bool = False
    counters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trouble:
    """A trouble that holds now. ``nginx``: "" for none, or one without a name; ``evidence``: what shows it.

    ``check``: the command that checks the files in question, if any.
    """

    kind: Kind
    evidence: str
    remedy: str
    nginx: str = ""
    check: str | None = None

    @property
    def title(self) -> str:
        return title_of(self.kind, self.nginx)


def title_of(kind: Kind, nginx: str) -> str:
    """Return the title of a trouble of this nginx."""
    return kind.title.format(of=f" {nginx}" if nginx else "")


STANDBY = Kind(
    "standby",
    "warning",
    "RestyMetricsStandby",
    "This collector stands by: another one holds the lock of the socket",
    "Stop one of the two collectors, or give each its own --socket.path. This one takes over when the other one ends.",
)
SOCKET_DOWN = Kind(
    "socket_down",
    "critical",
    "RestyMetricsSocketDown",
    "The socket does not lead to this collector",
    "Check that the socket's directory exists and that the collector's user can write to it. If another program owns "
    "that path, choose another one: --socket.path, and $resty_metrics_socket in nginx. Workers keep their counts until "
    "then.",
)
SOCKET_CONTENDED = Kind(
    "socket_contended",
    "warning",
    "RestyMetricsSocketContended",
    "Another program keeps removing or replacing the socket",
    "Watch which program does it, and stop it: often a cleaner of /tmp or /run, a security scanner, or a second "
    "service with the same path.",
    "watch",
    counters=("socket_rebinds_total",),
)
SOCKET_UNREACHABLE = Kind(
    "socket_unreachable",
    "critical",
    "RestyMetricsSocketUnreachable",
    "No worker of nginx can reach the socket",
    "Let the user of nginx's workers search each directory of the socket's path and write to the socket.",
)
REFUSALS = Kind(
    "refusals",
    "warning",
    "RestyMetricsRefusals",
    "The collector refuses datagrams",
    "See the collector's log: it explains each reason once.",
    counters=("refusals_total",),
)
NOTHING_ARRIVES = Kind(
    "nothing_arrives",
    "critical",
    "RestyMetricsNothingArrives",
    "nginx{of} serves requests, and none of them is counted",
    "Run doctor: it names the cause. If the include of resty-metrics is missing, run: sudo resty-metrics install",
    per_nginx=True,
)
COVERAGE = Kind(
    "coverage",
    "warning",
    "RestyMetricsCoverage",
    "Some requests of nginx{of} are not counted",
    "Run doctor: it names each log_by_lua that replaces ours, with file and line. Add our line there.",
    per_nginx=True,
)
WORKERS_MISSING = Kind(
    "workers_missing",
    "warning",
    "RestyMetricsWorkersMissing",
    "Workers of nginx{of} have stopped reporting",
    "Check whether these workers hang or were killed: see nginx's error log, and dmesg.",
    per_nginx=True,
)
SPOOL_FULL = Kind(
    "spool_full",
    "warning",
    "RestyMetricsSpoolFull",
    "The spool of nginx{of} is nearly full",
    "Keep the collector running. If it runs, enlarge the spool: lua_shared_dict resty_metrics_spool 32m;",
    per_nginx=True,
)
SOURCE_DOWN = Kind(
    "source_down",
    "warning",
    "RestyMetricsSourceDown",
    "A status page of nginx{of} cannot be read",
    "See the collector's log for the reason, and check that nginx answers at that address.",
    per_nginx=True,
)
ROWS_LOST = Kind(
    "rows_lost",
    "critical",
    "RestyMetricsRowsLost",
    "Rows were lost: their requests are in no metric",
    "Run doctor for the reason; docs/delivery.md explains each.",
    counters=("lost_rows_total", "worker_lost_rows_total"),
)
OVERFLOW = Kind(
    "overflow",
    "warning",
    "RestyMetricsOverflow",
    "Metrics of nginx{of} have too many label sets: new ones are counted as other",
    "Map the label with the most values to a few of them (docs/labels.md), or remove it. Sums stay right.",
    per_nginx=True,
)
GAUGES_CUT = Kind(
    "gauges_cut",
    "warning",
    "RestyMetricsGaugesCut",
    "Some rows of your gauges are not on the page",
    "Use fewer gauges, or labels with fewer values.",
    counters=("heartbeat_rows_refused_total",),
)
WORKER_ERRORS = Kind(
    "worker_errors",
    "warning",
    "RestyMetricsWorkerErrors",
    "Workers of nginx{of} report errors",
    "See nginx's error log: it has one line for each error. Ten minutes after the last error this ends by itself.",
    per_nginx=True,
    counters=("worker_errors_total",),
)
JOURNAL_DOWN = Kind(
    "journal_down",
    "warning",
    "RestyMetricsJournalDown",
    "The journal cannot be written: counts are in memory only",
    "See the collector's log for the fault of its state directory.",
    counters=("journal_errors_total",),
)
JOURNAL_STALLS = Kind(
    "journal_stalls",
    "warning",
    "RestyMetricsJournalStalls",
    "The journal is slow: a write has not finished for seconds",
    "Check what keeps the disk of --state.dir busy. Workers keep what is not written.",
)
CONFIG_REFUSED = Kind(
    "config_refused",
    "warning",
    "RestyMetricsConfigRefused",
    "A configuration file was refused: the previous configuration is in force",
    "Correct the file and reload the collector.",
    "check-config",
)
FAMILY_CONFLICT = Kind(
    "family_conflict",
    "warning",
    "RestyMetricsFamilyConflict",
    "Metrics of nginx{of} are withheld from the page: another family has their name or series",
    f"Where a metric of yours has that name, delete it with metric:reset() and give it another name. {RELABEL}",
    per_nginx=True,
)
KINDS = (
    STANDBY,
    SOCKET_DOWN,
    SOCKET_CONTENDED,
    SOCKET_UNREACHABLE,
    REFUSALS,
    NOTHING_ARRIVES,
    COVERAGE,
    WORKERS_MISSING,
    SPOOL_FULL,
    SOURCE_DOWN,
    ROWS_LOST,
    OVERFLOW,
    GAUGES_CUT,
    WORKER_ERRORS,
    JOURNAL_DOWN,
    JOURNAL_STALLS,
    CONFIG_REFUSED,
    FAMILY_CONFLICT,
)
BY_NAME = {kind.name: kind for kind in KINDS}
