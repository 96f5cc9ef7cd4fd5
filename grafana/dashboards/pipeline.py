"""The pipeline's health: the incident of docs/incident.md as it would have shown, and every part behind the page.

Rows go the way of a request: the socket, batches, workers, rows, sources and page, journal.
"""

from grafana.dashboards.pipeline_behind import JOURNAL, PAGE, ROWS_OF_THE_TABLE
from grafana.model import Dashboard, Panel, Query, Row
from grafana.promql import HERE, INSTANCE_CHOICES, NGINX, RESPONSES, grown, total

_WORKER = "{{nginx}} {{worker}} ({{instance}})"
_OF_WORKER = "instance, nginx, worker"


def _lost(over: str) -> str:
    here = grown("resty_metrics_lost_rows_total", labels=HERE, over=over)
    there = grown("resty_metrics_worker_lost_rows_total", labels=NGINX, over=over)
    return f"{here} + ({there} or vector(0))"


def _state(metric: str, well: str = "") -> str:
    return f"{well}min by (instance) (resty_metrics_{metric}{{{HERE}}})"


AT_A_GLANCE = Row(
    "At a glance",
    (
        Panel(
            "Collectors",
            "The least of `up`: 0 where Prometheus has no page. Is it running, what does its log say last? Nothing "
            "is lost meanwhile (RestyMetricsCollectorDown in docs/runbook.md).",
            "short",
            (Query(f"min(up{{{HERE}}})", "collectors"),),
            "stat",
            width=4,
            below=1,
        ),
        Panel(
            "Socket",
            "0: the file at the socket's path is not the collector's, or not with its mode and owner. "
            "Run `resty-metrics doctor` on the host of nginx: it names who has it.",
            "short",
            (Query(f"min(resty_metrics_socket_up{{{HERE}}})", "socket"),),
            "stat",
            width=4,
            below=1,
        ),
        Panel(
            "Rebinds",
            "How often the socket was put back, in the time that is shown. Any is somebody else's doing: "
            "`sudo resty-metrics doctor --watch` names who, as it happens.",
            "short",
            (Query(grown("resty_metrics_socket_rebinds_total", labels=HERE), "rebinds"),),
            "stat",
            width=4,
            bad=1,
        ),
        Panel(
            "Troubles",
            "How many troubles the collectors report (resty_metrics_trouble). The live page and "
            "`sudo resty-metrics doctor --problems` name each with its remedy.",
            "short",
            (Query(f"sum(resty_metrics_trouble{{{HERE}}})", "troubles"),),
            "stat",
            width=4,
            bad=1,
        ),
        Panel(
            "Last datagram",
            "Time since any worker sent anything, of the collector that waits longest. With lifecycle.conf it stays "
            "below 5 s. Above 15 s: run `resty-metrics doctor` on the host of nginx.",
            "s",
            (Query(f"max(resty_metrics_last_datagram_age_seconds{{{HERE}}})", "age"),),
            "stat",
            width=4,
            bad=15,
        ),
        Panel(
            "Lost rows",
            "Rows lost in the time that is shown, on either side. Requests happened that no metric has: "
            "RestyMetricsRowsLost in docs/runbook.md.",
            "short",
            (Query(_lost("$__range"), "rows"),),
            "stat",
            width=4,
            bad=1,
        ),
    ),
)

SOCKET = Row(
    "The socket: the incident as it would have looked",
    (
        Panel(
            "State",
            "Red at the path: the socket leads to nobody, or to somebody else. Red at undisturbed: somebody "
            "replaces it as fast as it is healed. Red at in charge: another collector holds the lock, and this one "
            "stands by.",
            "short",
            (
                Query(_state("socket_up"), "{{instance}} path"),
                Query(_state("socket_contended", "1 - "), "{{instance}} undisturbed"),
                Query(_state("socket_standby", "1 - "), "{{instance}} in charge"),
            ),
            "state",
            width=12,
        ),
        Panel(
            "Rebinds by reason",
            "What had happened to the socket: missing, replaced, its mode or owner, or unreachable. The collector's "
            "log names the process, if it still ran; `doctor --watch` the next one.",
            "short",
            (
                Query(
                    grown("resty_metrics_socket_rebinds_total", "instance, reason", HERE, "$__rate_interval"),
                    "{{reason}} ({{instance}})",
                ),
                Query(
                    grown("resty_metrics_socket_failed_rebinds_total", "instance", HERE, "$__rate_interval"),
                    "could not be put back ({{instance}})",
                ),
            ),
            width=12,
        ),
        Panel(
            "nginx's count and ours",
            "Requests as nginx counts them and as they arrive here. Ours alone at nothing: no worker counts, or "
            "none reaches the socket. It comes back with a peak: what waited is counted then, none is lost. While "
            "no worker is heard, nginx's own is known only where stub_status is fetched.",
            "reqps",
            (
                Query(total("nginx_http_requests_total", labels=NGINX), "nginx"),
                Query(total(RESPONSES, labels=NGINX), "ours"),
            ),
        ),
        Panel(
            "Errors of sending",
            "Failures of workers to reach the collector. ECONNREFUSED or ENOENT: it does not run, or another took "
            "its socket; EACCES: see --socket.mode; EAGAIN: it reads too slowly.",
            "cps",
            (
                Query(total("resty_metrics_worker_send_errors_total", "nginx, reason", NGINX), "{{reason}} {{nginx}}"),
                Query(
                    total("resty_metrics_worker_reopens_total", "nginx, reason", NGINX),
                    "opened anew: {{reason}} {{nginx}}",
                ),
            ),
            none="no worker failed",
        ),
        Panel(
            "Waiting in the workers",
            "Bytes of batches that wait for an answer. They grow while the collector is away, up to 4 MiB a worker; "
            "rows go on adding up then, nothing is lost. Above 0 with a collector that runs: it reads too slowly, "
            "or somebody else reads.",
            "bytes",
            (Query(f"sum by ({_OF_WORKER}) (resty_metrics_worker_unacked_bytes{{{NGINX}}})", _WORKER),),
        ),
    ),
)

BATCHES = Row(
    "Batches and senders",
    (
        Panel(
            "Datagrams by result",
            "applied, heartbeat, bye and probe are well; a duplicate is a batch whose answer was late. held, "
            "dropped and unanswerable have their reason beside.",
            "cps",
            (Query(total("resty_metrics_datagrams_total", "result", HERE), "{{result}}"),),
            width=6,
        ),
        Panel(
            "Refused",
            "uid: start the collector with --socket.allow-uid; version: update it; sender_cap: over 4,096 workers; "
            "invalid, undecodable: a stranger, or please report it.",
            "cps",
            (Query(total("resty_metrics_refusals_total", "reason", HERE), "{{reason}}"),),
            width=6,
        ),
        Panel(
            "Senders",
            "One for each worker, and for each that ended a while ago. Without end: workers that keep crashing.",
            "short",
            (Query(f"sum by (instance, state) (resty_metrics_senders{{{HERE}}})", "{{state}} ({{instance}})"),),
            width=6,
        ),
        Panel(
            "Answers",
            "Answers that no worker took, datagrams without a way to answer, state that was lost. Above 0 for long: "
            "the collector is out of descriptors (ulimit -n), or lost its journal.",
            "cps",
            (
                Query(total("resty_metrics_answers_failed_total", "instance", HERE), "failed ({{instance}})"),
                Query(
                    total("resty_metrics_datagrams_without_descriptor_total", "instance", HERE),
                    "no descriptor ({{instance}})",
                ),
                Query(total("resty_metrics_lost_state_total", "instance", HERE), "lost state ({{instance}})"),
            ),
            width=6,
        ),
    ),
)

WORKERS = Row(
    "Coverage and workers",
    (
        Panel(
            "Coverage",
            "Of the requests that nginx finished, the part that was counted. Below 1: a log_by_lua of a server or "
            "location replaces the hook; doctor names file and line.",
            "percentunit",
            (Query(f"min by (instance, nginx) (resty_metrics_coverage_ratio{{{NGINX}}})", "{{nginx}} ({{instance}})"),),
            width=6,
            none="known from 100 requests in five minutes on",
        ),
        Panel(
            "Begun and counted",
            "What the coverage is made of: requests that nginx began, and those whose hook ran. Apart for long: see "
            "coverage.",
            "reqps",
            (
                Query(total("resty_metrics_requests_begun_total", "nginx", NGINX), "begun {{nginx}}"),
                Query(total("resty_metrics_requests_ended_total", "nginx", NGINX), "counted {{nginx}}"),
            ),
            width=6,
        ),
        Panel(
            "CPU for sending",
            "CPU of each worker that sending its rows costs. Above 1 %: labels with many values, see the rows below.",
            "percentunit",
            (Query(total("resty_metrics_worker_flush_cpu_seconds_total", _OF_WORKER, NGINX), _WORKER),),
            width=6,
        ),
        Panel(
            "Lua memory",
            "Of each worker's Lua machine, your own code included. Growth without end is a leak; our part is the rows.",
            "bytes",
            (Query(f"sum by ({_OF_WORKER}) (resty_metrics_worker_lua_memory_bytes{{{NGINX}}})", _WORKER),),
            width=6,
        ),
        Panel(
            "Timers",
            "Timers of ngx_lua. pending near lua_max_pending_timers: your own code makes too many, and ours may not "
            "run.",
            "short",
            (Query(f"sum by (nginx, state) (resty_metrics_worker_timers{{{NGINX}}})", "{{state}} {{nginx}}"),),
            width=6,
        ),
        Panel(
            "Errors in the workers",
            "Wrong use of the Lua API, labels or buckets that cannot be used; each reason is in nginx's error log "
            "once, with what to do.",
            "cps",
            (Query(total("resty_metrics_worker_errors_total", "nginx, reason", NGINX), "{{reason}} {{nginx}}"),),
            none="no errors",
            width=6,
        ),
        Panel(
            "Shared dictionaries: free",
            "The spool below 20 %: ended workers left much that was not acknowledged; bring the collector back, or "
            "give lua_shared_dict resty_metrics_spool more room.",
            "percentunit",
            (
                Query(
                    f"min by (dict, nginx) (resty_metrics_shared_dict_free_bytes{{{NGINX}}}"
                    f" / resty_metrics_shared_dict_capacity_bytes{{{NGINX}}})",
                    "{{dict}} {{nginx}}",
                ),
            ),
            width=6,
        ),
        Panel(
            "Versions",
            "How many collectors and nginx run which version. Two of one kind for long: an update that was not "
            "finished. Module and collector may differ by an update; refusals for `version` say when they may not.",
            "short",
            (
                Query(f"count by (version) (resty_metrics_build_info{{{HERE}}})", "collector {{version}}"),
                Query(f"count by (version) (resty_metrics_lua_info{{{NGINX}}})", "module {{version}}"),
            ),
            width=6,
        ),
    ),
)

PIPELINE = Dashboard(
    "pipeline",
    "Pipeline health",
    "The way from a worker to the page: socket, batches, workers, rows, sources, journal.",
    (AT_A_GLANCE, SOCKET, BATCHES, WORKERS, ROWS_OF_THE_TABLE, PAGE, JOURNAL),
    INSTANCE_CHOICES,
)
