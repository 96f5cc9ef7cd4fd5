"""The request of the proof, and the number of such requests on a page. Pure.

The request is given up: the client ends its side before the request has a URI. nginx then ends the request at once. It
sends no answer, so it looks at no location, error_page, named location or filter, and runs the log phase as for every
request. The status in the log is 400; in HTTP/2, where a header that cannot be decoded ends the connection, it is 000.

A request that nginx answers with 400 would not do: ``error_page 400`` leads even a malformed one to a location.

Sources: nginx's src/http/ngx_http_request.c (``ngx_http_read_request_header``, ``ngx_http_finalize_request``),
src/http/v2/ngx_http_v2.c (``ngx_http_v2_finalize_connection``), RFC 9113 (frames), RFC 7541 (header fields).
"""

from prometheus_client.parser import text_string_to_metric_families

METRIC = "nginx_http_responses_total"
METHOD = b"RESTY_METRICS"
LABEL = "other"  # for that method, which nginx does not know
STATUSES = frozenset({"400", "000", "0", "_"})
PROXY_HEADER = b"PROXY UNKNOWN\r\n"
REQUEST = METHOD + b" /install"  # the request line has no end, so it is not parsed

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS, _HEADERS = 4, 1
_END_STREAM_AND_HEADERS = 5
_NAME_IS_METHOD = b"\x02"  # a literal field whose name is entry 2 of the static table, ":method"
_NO_SUCH_ENTRY = b"\xbe"  # entry 62, the first of the dynamic table, which is empty


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


_FIELDS = _NAME_IS_METHOD + bytes((len(METHOD),)) + METHOD + _NO_SUCH_ENTRY
HTTP2_REQUEST = _PREFACE + _frame(_SETTINGS, 0, 0, b"") + _frame(_HEADERS, _END_STREAM_AND_HEADERS, 1, _FIELDS)


def counted(page: str) -> float:
    """Return how many requests like that of the proof the page shows, over all servers."""
    lines = "".join(f"{line}\n" for line in page.splitlines() if line.startswith(f"{METRIC}{{"))
    return sum(
        sample.value
        for family in text_string_to_metric_families(lines)
        for sample in family.samples
        if sample.labels.get("method", LABEL) == LABEL and sample.labels.get("status", "400") in STATUSES
    )
