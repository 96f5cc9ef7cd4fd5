"""The reason of a request that failed, from nginx's variables: the table of docs/metrics.md, "Failed requests"."""

import itertools

import pytest
from support.luajit import ask

Variables = dict[str, str]

A, B, V6, UNIX = "127.0.0.1:80", "10.0.0.2:8080", "[::1]:81", "unix:/run/c.sock"
REFUSED = ("502", "-", "-", "0")
UNANSWERED = ("502", "0.000", "-", "0")
INVALID = ("502", "0.000", "-", "17")
UNREACHED = ("504", "-", "-", "0")
TIMED_OUT = ("504", "0.000", "-", "0")
OK = ("200", "0.000", "0.001", "170")
ANSWERED_404 = ("404", "0.000", "0.001", "170")
NOT_MODIFIED = ("304", "0.000", "0.001", "170")
FAILED = ("500", "0.000", "0.001", "170")
LEFT = ("-", "0.000", "-", "0")
LIMIT = {"limit_req_status": "REJECTED"}
LIMIT_CONNECTIONS = {"limit_conn_status": "REJECTED"}


def upstream(
    addresses: str, *attempts: tuple[str, str, str, str], between: tuple[str, ...] = (), **more: str
) -> Variables:
    """The variables of these attempts: (status, connect time, header time, bytes received) of each."""
    separators = (*between, *([", "] * (len(attempts) - 1 - len(between))))
    names = ("upstream_status", "upstream_connect_time", "upstream_header_time", "upstream_bytes_received")
    lists = {
        name: "".join(
            map("".join, itertools.zip_longest((attempt[i] for attempt in attempts), separators, fillvalue=""))
        )
        for i, name in enumerate(names)
    }
    return {"upstream_addr": addresses, **lists, **more}


CLOSED_BY_CLIENT = "client closed_by_client"
REQUEST_TIMEOUT = "client request_timeout"
CACHED_ERROR = "cache cached_error"
FROM_UPSTREAM = "upstream from_upstream"
NO_LIVE_PEER = "nginx no_live_peer"
CONNECT_FAILED = "nginx connect_failed"
NO_RESPONSE = "nginx no_response"
INVALID_RESPONSE = "nginx invalid_response"
CONNECT_TIMEOUT = "nginx connect_timeout"
RESPONSE_TIMEOUT = "nginx response_timeout"
NOT_FOUND = "nginx not_found"
RATE_LIMITED = "nginx rate_limited"
ANSWERED = "nginx answered"
TOO_LARGE = "client too_large"
BAD_REQUEST = "client bad_request"
CONNECTION_LIMITED = "nginx connection_limited"
TLS = "client tls"
DENIED = "nginx denied"
DROPPED = "nginx dropped"

REASONS: list[tuple[str, int, Variables, str]] = [
    # 1. the client
    ("gone while it waits", 499, upstream(A, LEFT), CLOSED_BY_CLIENT),
    ("gone, and there was no upstream", 499, {}, CLOSED_BY_CLIENT),
    ("gone after a retry", 499, upstream(f"{A}, {B}", REFUSED, LEFT), CLOSED_BY_CLIENT),
    ("gone while its header comes", 400, {"bytes_sent": "0"}, CLOSED_BY_CLIENT),
    ("gone, with a bad certificate", 400, {"bytes_sent": "0", "ssl_client_verify": "FAILED:x"}, CLOSED_BY_CLIENT),
    ("too slow", 408, {"bytes_sent": "0"}, REQUEST_TIMEOUT),
    ("too slow for an upload", 408, upstream(A, LEFT), REQUEST_TIMEOUT),
    # 2. the cache
    *((state, 404, {"upstream_cache_status": state}, CACHED_ERROR)
      for state in ("HIT", "STALE", "UPDATING", "REVALIDATED")),
    ("stale, as the upstream is away", 404, upstream(A, REFUSED, upstream_cache_status="STALE"), CACHED_ERROR),
    ("revalidated", 404, upstream(A, NOT_MODIFIED, upstream_cache_status="REVALIDATED"), CACHED_ERROR),
    *((state, 404, upstream(A, ANSWERED_404, upstream_cache_status=state), FROM_UPSTREAM)
      for state in ("MISS", "EXPIRED", "BYPASS")),
    ("nothing in the cache, no peer", 502, upstream("backend", REFUSED, upstream_cache_status="MISS"), NO_LIVE_PEER),
    # 3. the last attempt
    ("answers 404", 404, upstream(A, ANSWERED_404), FROM_UPSTREAM),
    ("answers 500", 500, upstream(V6, FAILED), FROM_UPSTREAM),
    ("answers 502 itself", 502, upstream(UNIX, ("502", "0.000", "0.001", "170")), FROM_UPSTREAM),
    ("answers 504 itself", 504, upstream(A, ("504", "0.000", "0.001", "170")), FROM_UPSTREAM),
    ("answers 400", 400, upstream(A, ("400", "0.000", "0.001", "170"), bytes_sent="300"), FROM_UPSTREAM),
    ("refuses", 502, upstream(A, REFUSED), CONNECT_FAILED),
    ("refuses, IPv6", 502, upstream(V6, REFUSED), CONNECT_FAILED),
    ("refuses, unix", 502, upstream(UNIX, REFUSED), CONNECT_FAILED),
    ("a unix socket with a comma", 502, upstream("unix:/a, b", REFUSED), CONNECT_FAILED),
    ("a unix socket with a colon", 502, upstream("unix:/a : b", REFUSED), CONNECT_FAILED),
    ("resets before a header", 502, upstream(A, UNANSWERED), NO_RESPONSE),
    ("a bad header", 502, upstream(A, INVALID), INVALID_RESPONSE),
    ("drops SYN", 504, upstream(A, UNREACHED), CONNECT_TIMEOUT),
    ("hangs", 504, upstream(A, TIMED_OUT), RESPONSE_TIMEOUT),
    ("hangs within its header", 504, upstream(A, ("504", "0.000", "-", "9")), RESPONSE_TIMEOUT),
    ("retried, the last refuses", 502, upstream(f"{A}, {B}", TIMED_OUT, REFUSED), CONNECT_FAILED),
    ("retried, the last hangs", 504, upstream(f"{A}, {B}", REFUSED, TIMED_OUT), RESPONSE_TIMEOUT),
    ("retried, the last answers", 500, upstream(f"{A}, {V6}, {UNIX}", REFUSED, INVALID, FAILED), FROM_UPSTREAM),
    ("retried, then none is left", 502, upstream(f"{A}, {B}, backend", UNREACHED, UNANSWERED, REFUSED), NO_RESPONSE),
    ("redirected", 504, upstream(f"{A} : {B}", REFUSED, UNREACHED, between=(" : ",)), CONNECT_TIMEOUT),
    ("retried, redirected, retried", 404,
     upstream(f"{A}, {B} : {V6}, {A}", REFUSED, REFUSED, TIMED_OUT, ANSWERED_404, between=(", ", " : ")),
     FROM_UPSTREAM),
    ("redirected, retried, bytes of the last", 502,
     upstream(f"{A} : {B}, {V6}", INVALID, INVALID, UNANSWERED, between=(" : ",)), NO_RESPONSE),
    ("redirected to no peer", 502, upstream(f"{A} : backend", INVALID, REFUSED, between=(" : ",)), INVALID_RESPONSE),
    ("redirected to none that was tried", 500,
     upstream(f"{A} : ", REFUSED, ("", "", "", ""), between=(" : ",)), CONNECT_FAILED),
    ("an attempt that is not why", 404, upstream(A, OK), NOT_FOUND),
    ("nor why a limit is met", 503, upstream(A, OK) | LIMIT, RATE_LIMITED),
    ("an attempt that ended for nginx's own reasons", 500, upstream(A, LEFT), ANSWERED),
    ("an upload that is too large", 413, upstream(A, LEFT), TOO_LARGE),
    ("a range that an upstream's body lacks", 416, upstream(A, OK), BAD_REQUEST),
    # 4. no attempt
    ("no peer", 502, upstream("backend", REFUSED), NO_LIVE_PEER),
    *((name, 502, upstream(name, REFUSED), NO_LIVE_PEER)
      for name in ("10.0.0.1", "10.0.0.1.example", "1and1:80", "4.backend:80", "unix", "1.2.3:80", "1.2.3.4.5:80",
                   "::1:80", "localhost:80")),
    ("no peer, redirected to no other", 502, upstream("a : b", REFUSED, REFUSED, between=(" : ",)), NO_LIVE_PEER),
    ("no peer, whatever a limit says", 502, upstream("backend", REFUSED) | LIMIT, NO_LIVE_PEER),
    # 5. limits
    ("too many requests", 503, LIMIT, RATE_LIMITED),
    ("the same, as 429", 429, LIMIT, RATE_LIMITED),
    ("the same, as 444", 444, LIMIT, RATE_LIMITED),
    ("the same, as 404 behind error_page", 404, LIMIT, RATE_LIMITED),
    ("too many connections", 503, LIMIT_CONNECTIONS, CONNECTION_LIMITED),
    ("both", 503, {**LIMIT, **LIMIT_CONNECTIONS}, RATE_LIMITED),
    *((f"{name}: {state}", 404, {name: state}, NOT_FOUND)
      for name, states in (("limit_req_status", ("PASSED", "DELAYED", "REJECTED_DRY_RUN", "DELAYED_DRY_RUN", "")),
                           ("limit_conn_status", ("PASSED", "REJECTED_DRY_RUN")))
      for state in states),
    # 6. the status
    ("a bad certificate", 400, {"bytes_sent": "200", "ssl_client_verify": "FAILED:certificate has expired"}, TLS),
    ("no certificate", 400, {"bytes_sent": "200", "ssl_client_verify": "NONE"}, BAD_REQUEST),
    ("a good certificate", 400, {"bytes_sent": "200", "ssl_client_verify": "SUCCESS"}, BAD_REQUEST),
    ("a bad certificate that nginx takes", 404, {"ssl_client_verify": "FAILED:self-signed certificate"}, NOT_FOUND),
    *((str(status), status, {"bytes_sent": "200"}, BAD_REQUEST)
      for status in (400, 405, 411, 412, 415, 416, 417, 421, 501, 505)),
    *((str(status), status, {}, TOO_LARGE) for status in (413, 414)),
    *((str(status), status, {}, DENIED) for status in (401, 403)),
    *((str(status), status, {}, NOT_FOUND) for status in (404, 410)),
    ("444", 444, {"bytes_sent": "0"}, DROPPED),
    *((str(status), status, {}, ANSWERED)
      for status in (402, 406, 409, 418, 422, 429, 451, 498, 500, 502, 503, 504, 507, 599, 999)),
    # texts that nginx does not write
    ("empty", 502, upstream("", ("", "", "", "")), ANSWERED),
    ("no lists beside the addresses", 502, {"upstream_addr": A}, ANSWERED),
    ("lists that are too short", 502, upstream(f"{A}, {B}", REFUSED), ANSWERED),
    ("statuses alone", 502, {"upstream_addr": f"{A}, {B}", "upstream_status": "502, 502"}, CONNECT_FAILED),
    ("no numbers", 502, upstream(A, ("x", "x", "x", "x")), ANSWERED),
    ("separators alone", 502, upstream(", : , , ", (", ", ", ", ", ", ", ")), NO_LIVE_PEER),
    ("patterns of Lua", 502, upstream("%d+%.%d+ [[%z]:80", REFUSED), NO_LIVE_PEER),
    ("bytes", 502, upstream("\udcff\x00\udc80", ("\udcff", "\x00", "-", "-")), NO_LIVE_PEER),
    ("long", 502, upstream(", ".join([A] * 5000), *[REFUSED] * 5000), CONNECT_FAILED),
]  # fmt: skip


@pytest.fixture(scope="module")
def reasons() -> dict[tuple[str, int], str]:
    results = ask(*(["failure", status, variables] for _, status, variables, _ in REASONS))
    keys = [row[:2] for row in REASONS]
    assert len(set(keys)) == len(keys)
    return {key: b" ".join(result).decode() for key, result in zip(keys, results, strict=True)}


@pytest.mark.parametrize(("name", "status", "reason"), [(*row[:2], row[3]) for row in REASONS])
def test_reason(reasons: dict[tuple[str, int], str], name: str, status: int, reason: str) -> None:
    assert reasons[name, status] == reason


@pytest.mark.parametrize(
    ("status", "variables", "names"),
    [
        (499, {}, []),
        (408, {}, []),
        (400, {"bytes_sent": "0"}, ["bytes_sent"]),
        (404, {"upstream_cache_status": "HIT"}, ["upstream_cache_status"]),
        (502, upstream("backend", REFUSED), ["upstream_cache_status", "upstream_addr"]),
        (404, {}, ["upstream_cache_status", "upstream_addr", "limit_req_status", "limit_conn_status"]),
    ],
)
def test_no_variable_is_read_that_a_line_before_has_made_needless(
    status: int, variables: Variables, names: list[str]
) -> None:
    assert [name.decode() for name in ask(["failure_reads", status, variables])[0]] == names


@pytest.mark.parametrize(("status", "failed"), [(200, False), (399, False), (400, 400), (999, 999)])
def test_counting_a_request_reads_no_variable_for_failures(status: int, failed: int | bool) -> None:
    names, result = ask(["request_reads", status])[0]
    assert [name.decode() for name in names] == ["bytes_sent", "request_length", "server_name"]
    assert result == failed


def test_the_addresses_that_are_remembered_are_bounded() -> None:
    (kilobytes,) = ask(["failure_memory", 400_000])
    assert kilobytes < 1024
