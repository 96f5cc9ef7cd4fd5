"""The reasons of requests that failed, from an access_log with the same variables: docs/metrics.md, read once more."""

import re
from collections import Counter
from pathlib import Path

from support.collector import Samples
from support.labels import by_labels

Reasons = Counter[tuple[str, ...]]  # by (server, status, origin, reason)

FAMILY = "nginx_http_failed_requests_total"
LABELS = ("server", "status", "origin", "reason")
_ATTEMPTS = (
    "upstream_addr",
    "upstream_status",
    "upstream_connect_time",
    "upstream_header_time",
    "upstream_bytes_received",
)
_LIMITS = ("limit_req_status", "limit_conn_status")
_VARIABLES = (
    *("server_name", "status", "bytes_sent", "upstream_cache_status"), *_ATTEMPTS, *_LIMITS, "ssl_client_verify"
)  # fmt: skip
LOG_FORMAT = "log_format reasons '{}';".format("\t".join(f"${name}" for name in _VARIABLES))

_BY_STATUS = {
    **dict.fromkeys(("400", "405", "411", "412", "415", "416", "417", "421", "501", "505"), ("client", "bad_request")),
    **dict.fromkeys(("413", "414"), ("client", "too_large")),
    **dict.fromkeys(("401", "403"), ("nginx", "denied")),
    **dict.fromkeys(("404", "410"), ("nginx", "not_found")),
    "444": ("nginx", "dropped"),
}


def _items(text: str) -> list[str]:
    return re.split(r", | : ", text)


def _of_attempts(log: dict[str, str]) -> tuple[str, str] | None:
    addresses = _items(log["upstream_addr"])
    real = [i for i, address in enumerate(addresses) if re.match(r"\d+(\.\d+){3}:|\[|unix:", address)]
    if not real:
        return ("nginx", "no_live_peer")
    names = ("status", "connect_time", "header_time", "bytes_received")
    status, connect, header, received = (_items(log[f"upstream_{name}"])[real[-1]] for name in names)
    if header != "-":
        return ("upstream", "from_upstream") if int(status) >= 400 else None
    if status == "504":
        return ("nginx", "connect_timeout" if connect == "-" else "response_timeout")
    if status != "502":
        return None
    if connect == "-":
        return ("nginx", "connect_failed")
    return ("nginx", "no_response" if received == "0" else "invalid_response")


def reason(log: dict[str, str]) -> tuple[str, str]:
    """Return the origin and the reason of a line of the log, by the names of its variables."""
    status = log["status"]
    if status == "499" or (status == "400" and log["bytes_sent"] == "0"):
        return ("client", "closed_by_client")
    if status == "408":
        return ("client", "request_timeout")
    if log["upstream_cache_status"] in ("HIT", "STALE", "UPDATING", "REVALIDATED"):
        return ("cache", "cached_error")
    if log["upstream_addr"] != "-" and (of_attempts := _of_attempts(log)):
        return of_attempts
    if log["limit_req_status"] == "REJECTED":
        return ("nginx", "rate_limited")
    if log["limit_conn_status"] == "REJECTED":
        return ("nginx", "connection_limited")
    if status == "400" and log["ssl_client_verify"].startswith("FAILED"):
        return ("client", "tls")
    return _BY_STATUS.get(status, ("nginx", "answered"))


def lines(path: Path) -> list[dict[str, str]]:
    """Return the variables of each line, by their names."""
    text = path.read_text() if path.exists() else ""
    return [dict(zip(_VARIABLES, line.split("\t"), strict=True)) for line in text.splitlines()]


def reasons_of_log(path: Path) -> Reasons:
    """Return what a page should have of these requests."""
    failed = (log for log in lines(path) if int(log["status"]) >= 400)
    return Counter((log["server_name"] or "_", log["status"], *reason(log)) for log in failed)


def reasons_of_page(samples: Samples) -> Reasons:
    """Return what a page has; a row that stands at 0 for its first scrape is none."""
    return +by_labels(samples, FAMILY, *LABELS)


def by_status(reasons: Reasons) -> Counter[tuple[str, ...]]:
    """Return the requests by (server, status)."""
    counts: Counter[tuple[str, ...]] = Counter()
    for (server, status, *_), count in reasons.items():
        counts[server, status] += count
    return counts


def failed_responses(samples: Samples) -> Counter[tuple[str, ...]]:
    """Return by (server, status) the responses of ``nginx_http_responses_total`` with a status of 400 or above."""
    responses = by_labels(samples, "nginx_http_responses_total", "server", "status")
    return Counter({key: count for key, count in responses.items() if key[1] >= "400" and count})
