"""Proof that the page counted our request: pure, over the page's text."""

from prometheus_client.parser import text_string_to_metric_families

METRIC = "nginx_http_responses_total"
LABEL = "other"  # for RESTY_METRICS, a method that nginx does not know
PROXY_HEADER = b"PROXY UNKNOWN\r\n"
# HTTP/1.1 without Host: nginx answers 400 by itself, and counts it.
REQUEST = b"RESTY_METRICS / HTTP/1.1\r\nUser-Agent: resty-metrics install\r\nConnection: close\r\n\r\n"


def status_of(answer: bytes) -> int | None:
    """Return the status in the status line; None where there is no such line."""
    words = answer.split(b"\r\n", 1)[0].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        return None
    return int(words[1])


def counted(page: str, status: int) -> float:
    """Return how many requests like that of the proof the page shows, over all servers."""
    lines = "".join(f"{line}\n" for line in page.splitlines() if line.startswith(f"{METRIC}{{"))
    return sum(
        sample.value
        for family in text_string_to_metric_families(lines)
        for sample in family.samples
        if sample.labels.get("method", LABEL) == LABEL and sample.labels.get("status", str(status)) == str(status)
    )
