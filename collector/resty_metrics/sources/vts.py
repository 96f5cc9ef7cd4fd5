"""The vts module's JSON as the metrics that vts itself exposes: same names, labels, types and help.

Source of the format: nginx-module-vts, ``ngx_http_vhost_traffic_status_display_json.c`` and
``ngx_http_vhost_traffic_status_display_prometheus.c``.

Rules:
- A number that the document lacks is absent: older versions lack keys.
- The document lists every peer of the configuration. vts's own page shows those that have a node in shared memory: the
  first request makes it, ``reset`` zeroes it, ``delete`` removes it. A peer has a ring of times if it has a node.
- ``reset`` zeroes the count of a histogram and not its buckets. Buckets above their count are left out, since a strict
  reader refuses the whole page for them; sum and count stay.
- The document is not always UTF-8 and holds raw control bytes: a byte that is no UTF-8 is shown as ``\\xHH``.
- Versions 0.2.4 and 0.2.5 escape names for HTML as well (``display_encode_uri``), which breaks the JSON of a name with
  a quote: any client could take the source away. It is undone.
- Derived series are what Prometheus can make of the others: the zone ``*`` (the sum of all; its name is that of vts's
  default ``display_sum_key``) and the averages of times. On unless the source says otherwise.
- A zone shows once: vts keeps its numbers by address, so a peer listed as primary and as backup is one series
  (docs/decisions/0004-a-vts-peer-is-one-series.md).
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from resty_metrics.exposition.text import MetricFamily, MetricType, sample
from resty_metrics.sources.errors import SourceError

Document = Mapping[str, Any]
Labels = dict[str, str]

_CODES = ("1xx", "2xx", "3xx", "4xx", "5xx")
_CACHE = ("miss", "bypass", "expired", "stale", "updating", "revalidated", "hit", "scarce")
_CONNECTIONS = ("accepted", "active", "handled", "reading", "requests", "waiting", "writing")
_SHARED = (("max_size", "maxSize"), ("used_size", "usedSize"), ("used_node", "usedNode"), ("free_size", "freeSize"))
_BYTES = (("in", "inBytes"), ("out", "outBytes"))
# These versions escape names for JSON and then for HTML: a name with a quote is no longer valid JSON.
_HTML_ESCAPED = re.compile(rb'"moduleVersion":"v?0\.2\.[45]\b')
_FROM_HTML = ((b"\\&quot;", b'\\"'), (b"&lt;", b"<"), (b"&gt;", b">"), (b"&amp;", b"&"))
_SUM = "*"
_HEAD_BYTES = 1024  # of a document: host name and versions
_UNSHOWABLE = re.compile("[\x00\ud800-\udfff]")
_MAX_UNSIGNED = 2**64 - 1
_MAX_NAME = 2**16 - 1  # vts keeps the length of a name in 16 bits

# (name without prefix, type, help); %s is the name of the shared memory zone
_METRICS: tuple[tuple[str, MetricType, str], ...] = (
    ("info", "gauge", "Nginx info"),
    ("start_time_seconds", "gauge", "Nginx start time"),
    ("main_connections", "gauge", "Nginx connections"),
    ("main_shm_usage_bytes", "gauge", "Shared memory [%s] info"),
    ("server_bytes_total", "counter", "The request/response bytes"),
    ("server_requests_total", "counter", "The requests counter"),
    ("status_code_requests_total", "counter", "The requests counter by status code "),
    ("server_request_seconds_total", "counter", "The request processing time in seconds"),
    ("server_request_seconds", "gauge", "The average of request processing times in seconds"),
    ("server_request_duration_seconds", "histogram", "The histogram of request processing time"),
    ("server_cache_total", "counter", "The requests cache counter"),
    ("filter_bytes_total", "counter", "The request/response bytes"),
    ("filter_requests_total", "counter", "The requests counter"),
    ("filter_request_seconds_total", "counter", "The request processing time in seconds counter"),
    ("filter_request_seconds", "gauge", "The average of request processing times in seconds"),
    ("filter_request_duration_seconds", "histogram", "The histogram of request processing time"),
    ("filter_cache_total", "counter", "The requests cache counter"),
    ("upstream_bytes_total", "counter", "The request/response bytes"),
    ("upstream_requests_total", "counter", "The upstream requests counter"),
    (
        "upstream_request_seconds_total",
        "counter",
        "The request Processing time including upstream in seconds",
    ),
    (
        "upstream_request_seconds",
        "gauge",
        "The average of request processing times including upstream in seconds",
    ),
    ("upstream_response_seconds_total", "counter", "The only upstream response processing time in seconds"),
    ("upstream_response_seconds", "gauge", "The average of only upstream response processing times in seconds"),
    (
        "upstream_request_duration_seconds",
        "histogram",
        "The histogram of request processing time including upstream",
    ),
    (
        "upstream_response_duration_seconds",
        "histogram",
        "The histogram of only upstream response processing time",
    ),
    ("cache_usage_bytes", "gauge", "THe cache zones info"),
    ("cache_bytes_total", "counter", "The cache zones request/response bytes"),
    ("cache_requests_total", "counter", "The cache requests counter"),
)


def parse(body: bytes) -> Document:
    """Parse the document. Raises SourceError (``parse``)."""
    if _HTML_ESCAPED.search(body[:_HEAD_BYTES]):
        for escaped, plain in _FROM_HTML:
            body = body.replace(escaped, plain)
    try:
        document = json.loads(body.decode("utf-8", "surrogateescape"), strict=False)
    except (ValueError, RecursionError) as error:
        raise SourceError("parse", f"not the JSON of vts: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("connections"), dict):
        raise SourceError("parse", "JSON, but not that of vts: does the URL end in /format/json?")
    return document


def _show(text: str) -> str:
    """Convert a name to a label's value: a byte that is no UTF-8 becomes ``\\xHH``."""
    if len(text) > _MAX_NAME:
        raise SourceError("too_large", f"a name of {len(text)} characters; vts has none above {_MAX_NAME}")

    def escape(match: re.Match[str]) -> str:
        code = ord(match[0])
        if 0xDC80 <= code <= 0xDCFF:
            return f"\\x{code - 0xDC00:02X}"
        return f"\\x{code:02X}" if code < 0x80 else f"\\u{code:04X}"

    return _UNSHOWABLE.sub(escape, text)


def _unsigned(value: object, metric: str) -> int:
    """Check a number of the document: vts writes all numbers unsigned, none above 64 bits.

    Raises SourceError (``parse``).
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise SourceError("parse", f"a number is expected for {metric}, not {type(value).__name__}")
    if not 0 <= value <= _MAX_UNSIGNED:
        raise SourceError("parse", f"a number for {metric} is negative or does not fit 64 bits")
    return value


class _Lines:
    """Sample lines by metric, a series once."""

    def __init__(self, labels: Mapping[str, str], derived: bool) -> None:
        self.derived = derived
        self.by_metric: dict[str, list[bytes]] = {name: [] for name, _, _ in _METRICS}
        self._more = labels
        self._keys: set[tuple[str, tuple[str, ...]]] = set()

    def add(self, metric: str, labels: Labels, value: object, suffix: str = "", scale: float = 1) -> None:
        """Add one sample of ``value / scale``, unless the document lacks the value or the series is there already."""
        if value is None:
            return
        number = _unsigned(value, metric)
        name, shown = f"nginx_vts_{metric}{suffix}", _shown(labels)
        key = (name, tuple(shown.values()))
        if key not in self._keys:
            self._keys.add(key)
            self.by_metric[metric].append(
                sample(name, {**shown, **self._more}, number if scale == 1 else number / scale)
            )

    def has_histogram(self, metric: str, labels: Labels) -> bool:
        """Return whether there is one already. Two names may look the same, and parts of both would make none."""
        return (f"nginx_vts_{metric}_count", tuple(_shown(labels).values())) in self._keys


def _shown(labels: Labels) -> Labels:
    return {label: _show(text) for label, text in labels.items()}


def _table(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return an object of the document; empty where it is absent. Raises SourceError (``parse``)."""
    table = parent.get(key, {})
    if not isinstance(table, dict):
        raise SourceError("parse", f"{key} is expected to be an object")
    return table


def _main(document: Document, lines: _Lines) -> None:
    names = (("hostname", "hostName"), ("module_version", "moduleVersion"), ("version", "nginxVersion"))
    lines.add("info", {label: str(document[key]) for label, key in names if key in document}, 1)
    lines.add("start_time_seconds", {}, document.get("loadMsec"), scale=1000)
    connections, shared = _table(document, "connections"), _table(document, "sharedZones")
    for status in _CONNECTIONS:
        lines.add("main_connections", {"status": status}, connections.get(status))
    for label, key in _SHARED:
        lines.add("main_shm_usage_bytes", {"shared": label}, shared.get(key))


def _histogram(lines: _Lines, metric: str, labels: Labels, node: Mapping[str, Any], prefix: str) -> None:
    """Add a histogram; nothing if the node lacks its buckets, count or sum.

    Buckets are cumulative in the document; only the node's counter has the observations above the last one. Buckets are
    in the order of the configuration, which vts does not sort.
    """
    buckets = _table(node, f"{prefix}Buckets")
    bounds, counters = buckets.get("msecs", []), buckets.get("counters", [])
    count, total = node.get("requestCounter"), node.get(f"{prefix}MsecCounter")
    if not bounds or len(bounds) != len(counters) or count is None or total is None:
        return
    if lines.has_histogram(metric, labels):
        return
    cumulative = sorted((_unsigned(bound, metric), counter) for bound, counter in zip(bounds, counters, strict=True))
    heights = [_unsigned(counter, metric) for _, counter in cumulative] + [_unsigned(count, metric)]
    is_plausible = heights == sorted(heights) and len(set(bounds)) == len(bounds)
    for bound, counter in cumulative if is_plausible else []:
        lines.add(metric, {**labels, "le": f"{bound / 1000:.3f}"}, counter, "_bucket")
    lines.add(metric, {**labels, "le": "+Inf"}, count, "_bucket")
    lines.add(metric, labels, total, "_sum", 1000)
    lines.add(metric, labels, count, "_count")


def _bytes_and_codes(lines: _Lines, scope: str, labels: Labels, node: Mapping[str, Any]) -> None:
    for direction, key in _BYTES:
        lines.add(f"{scope}_bytes_total", {**labels, "direction": direction}, node.get(key))
    responses = _table(node, "responses")
    for code in _CODES:
        lines.add(f"{scope}_requests_total", {**labels, "code": code}, responses.get(code))


def _times(lines: _Lines, scope: str, labels: Labels, node: Mapping[str, Any], prefix: str) -> None:
    lines.add(f"{scope}_{prefix}_seconds_total", labels, node.get(f"{prefix}MsecCounter"), scale=1000)
    if lines.derived:
        lines.add(f"{scope}_{prefix}_seconds", labels, node.get(f"{prefix}Msec"), scale=1000)
    _histogram(lines, f"{scope}_{prefix}_duration_seconds", labels, node, prefix)


def _zone(lines: _Lines, scope: str, labels: Labels, node: Mapping[str, Any]) -> None:
    """Add a server zone, or a filter's zone."""
    _bytes_and_codes(lines, scope, labels, node)
    _times(lines, scope, labels, node, "request")
    responses = _table(node, "responses")
    for status in _CACHE:
        lines.add(f"{scope}_cache_total", {**labels, "status": status}, responses.get(status))


def _peer(lines: _Lines, upstream: str, node: Mapping[str, Any]) -> None:
    """Add a peer; nothing if vts has no node for it."""
    if not node.get("requestCounter") and not _table(node, "requestMsecs").get("times"):
        return
    labels = {"upstream": upstream, "backend": str(node.get("server", ""))}
    _bytes_and_codes(lines, "upstream", labels, node)
    _times(lines, "upstream", labels, node, "request")
    _times(lines, "upstream", labels, node, "response")


def _cache(lines: _Lines, name: str, node: Mapping[str, Any]) -> None:
    labels = {"cache_zone": name}
    for size, key in (("max", "maxSize"), ("used", "usedSize")):
        lines.add("cache_usage_bytes", {**labels, "cache_size": size}, node.get(key))
    for direction, key in _BYTES:
        lines.add("cache_bytes_total", {**labels, "direction": direction}, node.get(key))
    responses = _table(node, "responses")
    for status in _CACHE:
        lines.add("cache_requests_total", {**labels, "status": status}, responses.get(status))


def _nodes(document: Document, zones: str) -> Iterator[tuple[str, Any]]:
    yield from _table(document, zones).items()


def _zones(document: Document, lines: _Lines) -> None:
    for host, node in _nodes(document, "serverZones"):
        if host == _SUM and not lines.derived:
            continue
        _zone(lines, "server", {"host": host}, node)
        for code, count in _table(node, "statusCodes").items():  # vts shows them of servers alone
            lines.add("status_code_requests_total", {"host": host, "code": code}, count)
    for group, members in _nodes(document, "filterZones"):
        for name, node in members.items():
            _zone(lines, "filter", {"filter": group, "filter_name": name}, node)
    for upstream, peers in _nodes(document, "upstreamZones"):
        for node in peers:
            _peer(lines, upstream, node)
    for name, node in _nodes(document, "cacheZones"):
        _cache(lines, name, node)


def families(document: Document, labels: Mapping[str, str], derived: bool = True) -> list[MetricFamily]:
    """Return the families of a document. Raises SourceError (``parse``) if a part is invalid.

    ``labels`` go on each sample; ``derived``: include the series that can be computed from others.
    """
    lines = _Lines(labels, derived)
    try:
        _main(document, lines)
        _zones(document, lines)
    except (AttributeError, TypeError) as error:
        raise SourceError("parse", f"a part of the vts document is not what it should be: {error}") from None
    return list(_families(lines, str(_table(document, "sharedZones").get("name", ""))))


def _families(lines: _Lines, zone: str) -> Iterable[MetricFamily]:
    for name, kind, text in _METRICS:
        samples = lines.by_metric[name]
        if samples:
            yield MetricFamily(f"nginx_vts_{name}", kind, text.replace("%s", _show(zone)), samples)
