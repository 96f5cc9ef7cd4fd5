"""The warnings, each with its text and its remedy.

Two modules decide which of them hold: collector/resty_metrics/live/notices.py from the collector's own parts,
collector/resty_metrics/commands/top/warnings.py from its page.

Rule: a warning that is an alert of prometheus/rules/alerts.yml has the alert's name and severity, and its section in
docs/runbook.md.
"""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["critical", "warning"]
Command = Literal["doctor", "watch", "check-config"]

LEAST_COVERAGE = 0.99  # of nginx's requests
LEAST_SPOOL = 0.2  # of the spool that should be free
SLOW_COMMIT_SECONDS = 1.0

RELABEL = (
    "Where an nginx without a name has a label nginx of yours, give the label another name and reload that nginx "
    "(docs/instances.md)."
)


@dataclass(frozen=True, slots=True)
class Advice:
    """A warning.

    ``title``: a template for str.format; ``do``: the remedy, "" where it depends on a reason (remedies.py).

    ``command``: the command to run; ``alert``: there is an alert of that name.
    """

    name: str
    severity: Severity
    title: str
    do: str
    command: Command | None = "doctor"
    alert: bool = True


STANDBY = Advice(
    "RestyMetricsStandby",
    "warning",
    "This collector stands by: another one has the socket",
    "End one of the two, or give each a socket path of its own. This one takes over when the other ends.",
)
SOCKET_DOWN = Advice(
    "RestyMetricsSocketDown",
    "critical",
    "The socket leads to nobody, or to somebody else",
    "Give the collector's user the right to write the directory of the socket; workers keep what they count until then."
    " Where something else owns that path, choose another: --socket.path, and $resty_metrics_socket in nginx.",
)
CONTENDED = Advice(
    "RestyMetricsSocketContended",
    "warning",
    "Somebody keeps removing or replacing the socket",
    "See who does it, as it happens, and stop that: a cleaner of /tmp or /run, a scanner, a second service.",
    "watch",
)
REBOUND = Advice(
    "RestyMetricsSocketRebound",
    "warning",
    "The socket was taken away or changed, and put back",
    CONTENDED.do,
    "watch",
    alert=False,
)
NO_WORKER = Advice(
    "RestyMetricsSourceDown",
    "warning",
    "No worker of nginx{of} is heard of",
    "See that nginx runs with the include in http{}, and has served a request (or includes lifecycle.conf). A worker "
    "that cannot send says so in nginx's error log.",
)
SOURCE_DOWN = Advice("RestyMetricsSourceDown", "warning", "The source {source} cannot be read", "")
NOTHING_ARRIVES = Advice(
    "RestyMetricsNothingArrives",
    "critical",
    "nginx counts requests, and none arrives here",
    "Add the include to http{} of the configuration that runs; where a server has a log_by_lua of its own, add our "
    "line to it.",
)
COVERAGE = Advice(
    "RestyMetricsCoverage",
    "warning",
    "Only {share} of the requests of nginx{of} are counted",
    "Add our line to the log_by_lua that replaces ours; doctor names file and line.",
)
WORKERS_MISSING = Advice(
    "RestyMetricsWorkersMissing",
    "warning",
    "{heard} of {run} workers of nginx{of} are heard of",
    "Include lifecycle.conf. Otherwise see what nginx's error log says of the worker that cannot send.",
)
SPOOL_FULL = Advice(
    "RestyMetricsSpoolFull",
    "warning",
    "The spool in nginx{of} is nearly full",
    "Keep the collector running, or give it more room: lua_shared_dict resty_metrics_spool 32m;",
)
REFUSALS = Advice("RestyMetricsRefusals", "warning", "Datagrams are refused: {reason}", "")
ROWS_LOST = Advice(
    "RestyMetricsRowsLost",
    "critical",
    "Numbers were lost",
    "See docs/delivery.md for the reason, and the log of the side that lost them. Often the collector was away for "
    "long and nginx's spool was full.",
)
OVERFLOW = Advice(
    "RestyMetricsOverflow",
    "warning",
    "{family}, or the table, has as many rows as it may have",
    "Map the label with the most values to few of them (docs/labels.md), or leave it out. Sums stay right.",
    None,
)
GAUGES_CUT = Advice(
    "RestyMetricsGaugesCut",
    "warning",
    "Rows of gauges are not on the page: {reason}",
    "",
    None,
    alert=False,
)
JOURNAL_DOWN = Advice(
    "RestyMetricsJournalDown", "warning", "Counts are in memory only: the journal cannot be written", ""
)
JOURNAL_STALLS = Advice(
    "RestyMetricsJournalStalls",
    "warning",
    "The journal's writes stall",
    "See the disk of --state.dir. Workers keep what is not written.",
    alert=False,
)
CONFIG_REFUSED = Advice(
    "RestyMetricsConfigRefused",
    "warning",
    "The configuration was refused, the one before goes on",
    "Correct the file and reload.",
    "check-config",
)
SEND_ERRORS = Advice(
    "RestyMetricsSendErrors",
    "warning",
    "Workers could not send",
    "nginx's error log says why. They hold what they have until then.",
    alert=False,
)
WORKER_ERRORS = Advice(
    "RestyMetricsWorkerErrors",
    "warning",
    "Workers report errors",
    "nginx's error log says more of each.",
    None,
    alert=False,
)
UNANSWERED = Advice(
    "RestyMetricsUnanswered",
    "warning",
    "Workers could not be answered",
    "See the collector's log. They send again what was not answered, and it is counted once.",
    alert=False,
)
CONFLICT = Advice(
    "RestyMetricsFamilyConflict",
    "warning",
    "{family} is withheld from the page: another family has its name or its series",
    f"Where a metric of yours has its name, delete that one, metric:reset(), and give it another name. {RELABEL}",
    None,
    alert=False,
)
ERRORS_HIGH = Advice(
    "NginxErrorRatioHigh",
    "critical",
    "Requests fail",
    "502, 503 and 504 come from behind nginx: find the failing peer and take it out, or take the last change back. 500 "
    "is often nginx's own: see its error log.",
    None,
)
LATENCY_HIGH = Advice(
    "NginxLatencyHigh",
    "warning",
    "One request in a hundred takes longer than a second",
    "See whether upstreams take that long, or slow clients; give long polls and downloads their own scope.",
    None,
)
