"""The rows of Pipeline health behind the socket: the table, sources and page, the journal."""

from grafana.model import Panel, Query, Row
from grafana.promql import HERE, NGINX, quantile, total

_HERE = "{{instance}}"
_JOURNAL = "resty_metrics_journal"

ROWS_OF_THE_TABLE = Row(
    "Rows",
    (
        Panel(
            "Rows by family",
            "Label sets in the table; a family holds 10,000. Growth without end is a label with too many values: "
            "map it to fewer (docs/labels.md).",
            "short",
            (Query(f"sum by (nginx, family) (resty_metrics_rows{{{NGINX}}})", "{{family}} {{nginx}}"),),
            width=6,
        ),
        Panel(
            "Which label it is",
            "Values of each label, of families that are half full. The one with the most is the one to map to fewer.",
            "short",
            (
                Query(
                    f"max by (nginx, family, label) (resty_metrics_label_values{{{NGINX}}})",
                    "{{family}} {{label}} {{nginx}}",
                ),
            ),
            width=6,
            none="no family is half full",
        ),
        Panel(
            "Overflow",
            "Label sets counted under other, in the collector and in workers, and idle rows that made room. Sums "
            "stay right. See RestyMetricsOverflow in docs/runbook.md.",
            "cps",
            (
                Query(total("resty_metrics_overflow_rows_total", "nginx, family", NGINX), "{{family}} {{nginx}}"),
                Query(
                    total("resty_metrics_worker_overflow_total", "nginx, family", NGINX),
                    "in a worker: {{family}} {{nginx}}",
                ),
                Query(
                    total("resty_metrics_evicted_rows_total", "nginx, family", NGINX),
                    "made room: {{family}} {{nginx}}",
                ),
            ),
            width=6,
        ),
        Panel(
            "Lost rows by reason",
            "Any is a loss: docs/delivery.md has each reason. A spool that was full: more room for it, or a "
            "collector that is back sooner.",
            "cps",
            (
                Query(total("resty_metrics_lost_rows_total", "instance, reason", HERE), "{{reason}} ({{instance}})"),
                Query(
                    total("resty_metrics_worker_lost_rows_total", "nginx, reason", NGINX),
                    "in a worker: {{reason}} {{nginx}}",
                ),
            ),
            width=6,
        ),
        Panel(
            "Rows received",
            "Rows of accepted batches, per second: what the collector works on. It costs about 2.5 us of CPU each.",
            "cps",
            (Query(total("resty_metrics_rows_received_total", "instance", HERE), _HERE),),
            width=12,
        ),
        Panel(
            "Families that claim one name",
            "1: a family of yours has the name of a built-in one, which is not on the page. Rename yours.",
            "short",
            (Query(f"max by (nginx, family) (resty_metrics_family_conflict{{{NGINX}}})", "{{family}} {{nginx}}"),),
            width=12,
            none="no conflict",
        ),
    ),
)

PAGE = Row(
    "Sources and page",
    (
        Panel(
            "Sources",
            "Red: lua: no worker's heartbeat is alive; stub_status, vts: it could not be fetched or read, for the "
            "reason beside. The other sources are on the page all the same.",
            "short",
            (
                Query(
                    f"min by (instance, nginx, source) (resty_metrics_source_up{{{NGINX}}})",
                    "{{source}} {{nginx}} ({{instance}})",
                ),
            ),
            "state",
        ),
        Panel(
            "Errors of sources",
            "refused, status: correct the address or the location; timeout: nginx is overloaded; parse: the address "
            "leads to another page; credentials: the file of the password or token.",
            "cps",
            (
                Query(
                    total("resty_metrics_source_errors_total", "source, nginx, reason", NGINX),
                    "{{source}} {{nginx}} {{reason}}",
                ),
            ),
        ),
        Panel(
            "Time for sources",
            "Part of each scrape. Near the timeout of the source (5 s) it will fail: is that nginx overloaded, are "
            "vts's filters too many?",
            "s",
            (
                Query(
                    f"max by (instance, nginx, source) (resty_metrics_source_duration_seconds{{{NGINX}}})",
                    "{{source}} {{nginx}} ({{instance}})",
                ),
            ),
        ),
        Panel(
            "Time for the page",
            "p99 of putting a page together, sources not counted. Above a second: too many rows.",
            "s",
            (Query(quantile(0.99, "resty_metrics_render_duration_seconds", "instance", HERE), _HERE),),
            width=6,
        ),
        Panel(
            "Memory of the collector",
            "About 3 KB a row. Growth with steady rows: please report it.",
            "bytes",
            (Query(f"max by (instance) (process_resident_memory_bytes{{{HERE}}})", _HERE),),
            width=6,
        ),
        Panel(
            "CPU of the collector",
            "1 is a whole core. Near it the collector falls behind: fewer rows (labels with fewer values), or fewer "
            "scrapes.",
            "short",
            (Query(total("process_cpu_seconds_total", "instance", HERE), _HERE),),
            width=6,
        ),
        Panel(
            "Open descriptors",
            "Of what the process may have. Each sender holds one or two: near 1 raise LimitNOFILE of its unit.",
            "percentunit",
            (
                Query(
                    f"max by (instance) (process_open_fds{{{HERE}}} / process_max_fds{{{HERE}}})",
                    _HERE,
                ),
            ),
            width=6,
        ),
    ),
)

JOURNAL = Row(
    "Journal",
    (
        Panel(
            "Journal",
            "Red: what is counted is in memory only; a restart now would begin at what was written last. `/-/ready` "
            "says why: make room on the disk, mend its rights.",
            "short",
            (Query(f"min by (instance) ({_JOURNAL}_up{{{HERE}}})", _HERE),),
            "state",
            width=6,
        ),
        Panel(
            "Errors of the journal",
            "Times it could not be written, by reason. It is tried again each second or so, and comes back by itself.",
            "cps",
            (Query(total(f"{_JOURNAL}_errors_total", "instance, reason", HERE), "{{reason}} ({{instance}})"),),
            width=6,
            none="no errors",
        ),
        Panel(
            "Waiting to be written",
            "How long the oldest record waits, and p99 of a commit. Workers wait as long for their answer. Seconds: "
            "the disk is slow or stalled; move --state.dir.",
            "s",
            (
                Query(f"max by (instance) ({_JOURNAL}_pending_seconds{{{HERE}}})", "oldest ({{instance}})"),
                Query(quantile(0.99, f"{_JOURNAL}_commit_duration_seconds", "instance", HERE), "commit ({{instance}})"),
            ),
            width=6,
        ),
        Panel(
            "Size",
            "The log grows to 8 MB, or four times the table, and then goes into a snapshot. Without end: snapshots "
            "fail; see errors.",
            "bytes",
            (
                Query(f"max by (instance) ({_JOURNAL}_log_bytes{{{HERE}}})", "log ({{instance}})"),
                Query(f"max by (instance) ({_JOURNAL}_snapshot_bytes{{{HERE}}})", "snapshot ({{instance}})"),
            ),
            width=6,
        ),
    ),
)
