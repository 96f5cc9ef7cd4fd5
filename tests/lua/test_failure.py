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
NOT_FOUND = ("404", "0.000", "0.001", "170")
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


REASONS: list[tuple[str, int, Variables, str, str]] = [
    # 1. the client
    ("gone while it waits", 499, upstream(A, LEFT), "client", "closed_by_client"),
    ("gone, and there was no upstream", 499, {}, "client", "closed_by_client"),
    ("gone after a retry", 499, upstream(f"{A}, {B}", REFUSED, LEFT), "client", "closed_by_client"),
    ("gone while its header comes", 400, {"bytes_sent": "0"}, "client", "closed_by_client"),
    ("gone, with a bad certificate", 400, {"bytes_sent": "0", "ssl_client_verify": "FAILED:x"}, "client", "closed_by_client"),
    ("too slow", 408, {"bytes_sent": "0"}, "client", "request_timeout"),
    ("too slow for an upload", 408, upstream(A, LEFT), "client", "request_timeout"),
    # 2. the cache
    *((state, 404, {"upstream_cache_status": state}, "cache", "cached_error") for state in ("HIT", "STALE", "UPDATING", "REVALIDATED")),
    ("stale, as the upstream is away", 404, upstream(A, REFUSED, upstream_cache_status="STALE"), "cache", "cached_error"),
    ("revalidated", 404, upstream(A, ("304", "0.000", "0.001", "1"), upstream_cache_status="REVALIDATED"), "cache", "cached_error"),
    *((state, 404, upstream(A, NOT_FOUND, upstream_cache_status=state), "upstream", "from_upstream") for state in ("MISS", "EXPIRED", "BYPASS")),
    ("nothing in the cache, no peer", 502, upstream("backend", REFUSED, upstream_cache_status="MISS"), "nginx", "no_live_peer"),
    # 3. the last attempt
    ("answers 404", 404, upstream(A, NOT_FOUND), "upstream", "from_upstream"),
    ("answers 500", 500, upstream(V6, FAILED), "upstream", "from_upstream"),
    ("answers 502 itself", 502, upstream(UNIX, ("502", "0.000", "0.001", "170")), "upstream", "from_upstream"),
    ("answers 504 itself", 504, upstream(A, ("504", "0.000", "0.001", "170")), "upstream", "from_upstream"),
    ("answers 400", 400, upstream(A, ("400", "0.000", "0.001", "170"), bytes_sent="300"), "upstream", "from_upstream"),
    ("refuses", 502, upstream(A, REFUSED), "nginx", "connect_failed"),
    ("refuses, IPv6", 502, upstream(V6, REFUSED), "nginx", "connect_failed"),
    ("refuses, unix", 502, upstream(UNIX, REFUSED), "nginx", "connect_failed"),
    ("a unix socket with a comma", 502, upstream("unix:/a, b", REFUSED), "nginx", "connect_failed"),
    ("a unix socket with a colon", 502, upstream("unix:/a : b", REFUSED), "nginx", "connect_failed"),
    ("resets before a header", 502, upstream(A, UNANSWERED), "nginx", "no_response"),
    ("a bad header", 502, upstream(A, INVALID), "nginx", "invalid_response"),
    ("drops SYN", 504, upstream(A, UNREACHED), "nginx", "connect_timeout"),
    ("hangs", 504, upstream(A, TIMED_OUT), "nginx", "response_timeout"),
    ("hangs within its header", 504, upstream(A, ("504", "0.000", "-", "9")), "nginx", "response_timeout"),
    ("retried, the last refuses", 502, upstream(f"{A}, {B}", TIMED_OUT, REFUSED), "nginx", "connect_failed"),
    ("retried, the last hangs", 504, upstream(f"{A}, {B}", REFUSED, TIMED_OUT), "nginx", "response_timeout"),
    ("retried, the last answers", 500, upstream(f"{A}, {V6}, {UNIX}", REFUSED, INVALID, FAILED), "upstream", "from_upstream"),
    ("retried, then none is left", 502, upstream(f"{A}, {B}, backend", UNREACHED, UNANSWERED, REFUSED), "nginx", "no_response"),
    ("redirected", 504, upstream(f"{A} : {B}", REFUSED, UNREACHED, between=(" : ",)), "nginx", "connect_timeout"),
    ("retried, redirected, retried", 404,
     upstream(f"{A}, {B} : {V6}, {A}", REFUSED, REFUSED, TIMED_OUT, NOT_FOUND, between=(", ", " : ")), "upstream", "from_upstream"),
    ("redirected, retried, bytes of the last", 502,
     upstream(f"{A} : {B}, {V6}", INVALID, INVALID, UNANSWERED, between=(" : ",)), "nginx", "no_response"),
    ("redirected to no peer", 502, upstream(f"{A} : backend", INVALID, REFUSED, between=(" : ",)), "nginx", "invalid_response"),
    ("redirected to none that was tried", 500, upstream(f"{A} : ", REFUSED, ("", "", "", ""), between=(" : ",)), "nginx", "connect_failed"),
    ("an attempt that is not why", 404, upstream(A, OK), "nginx", "not_found"),
    ("nor why a limit is met", 503, upstream(A, OK, **LIMIT), "nginx", "rate_limited"),
    ("an attempt that ended for nginx's own reasons", 500, upstream(A, LEFT), "nginx", "answered"),
    ("an upload that is too large", 413, upstream(A, LEFT), "client", "too_large"),
    ("a range that an upstream's body lacks", 416, upstream(A, OK), "client", "bad_request"),
    # 4. no attempt
    ("no peer", 502, upstream("backend", REFUSED), "nginx", "no_live_peer"),
    *((name, 502, upstream(name, REFUSED), "nginx", "no_live_peer")
      for name in ("10.0.0.1", "10.0.0.1.example", "1and1:80", "4.backend:80", "unix", "1.2.3:80", "1.2.3.4.5:80", "::1:80", "localhost:80")),
    ("no peer, redirected to no other", 502, upstream("a : b", REFUSED, REFUSED, between=(" : ",)), "nginx", "no_live_peer"),
    ("no peer, whatever a limit says", 502, upstream("backend", REFUSED, **LIMIT), "nginx", "no_live_peer"),
    # 5. limits
    ("too many requests", 503, LIMIT, "nginx", "rate_limited"),
    ("the same, as 429", 429, LIMIT, "nginx", "rate_limited"),
    ("the same, as 444", 444, LIMIT, "nginx", "rate_limited"),
    ("the same, as 404 behind error_page", 404, LIMIT, "nginx", "rate_limited"),
    ("too many connections", 503, LIMIT_CONNECTIONS, "nginx", "connection_limited"),
    ("both", 503, {**LIMIT, **LIMIT_CONNECTIONS}, "nginx", "rate_limited"),
    *((f"{name}: {state}", 404, {name: state}, "nginx", "not_found")
      for name, states in (("limit_req_status", ("PASSED", "DELAYED", "REJECTED_DRY_RUN", "DELAYED_DRY_RUN", "")),
                           ("limit_conn_status", ("PASSED", "REJECTED_DRY_RUN")))
      for state in states),
    # 6. the status
    ("a bad certificate", 400, {"bytes_sent": "200", "ssl_client_verify": "FAILED:certificate has expired"}, "client", "tls"),
    ("no certificate", 400, {"bytes_sent": "200", "ssl_client_verify": "NONE"}, "client", "bad_request"),
    ("a good certificate", 400, {"bytes_sent": "200", "ssl_client_verify": "SUCCESS"}, "client", "bad_request"),
    ("a bad certificate that nginx takes", 404, {"ssl_client_verify": "FAILED:self-signed certificate"}, "nginx", "not_found"),
    *((str(status), status, {"bytes_sent": "200"}, "client", "bad_request") for status in (400, 405, 411, 412, 415, 416, 417, 421, 501, 505)),
    *((str(status), status, {}, "client", "too_large") for status in (413, 414)),
    *((str(status), status, {}, "nginx", "denied") for status in (401, 403)),
    *((str(status), status, {}, "nginx", "not_found") for status in (404, 410)),
    ("444", 444, {"bytes_sent": "0"}, "nginx", "dropped"),
    *((str(status), status, {}, "nginx", "answered") for status in (402, 406, 409, 418, 422, 429, 451, 498, 500, 502, 503, 504, 507, 599, 999)),
    # texts that nginx does not write
    ("empty", 502, upstream("", ("", "", "", "")), "nginx", "answered"),
    ("no lists beside the addresses", 502, {"upstream_addr": A}, "nginx", "answered"),
    ("lists that are too short", 502, upstream(f"{A}, {B}", REFUSED), "nginx", "answered"),
    ("statuses alone", 502, {"upstream_addr": f"{A}, {B}", "upstream_status": "502, 502"}, "nginx", "connect_failed"),
    ("no numbers", 502, upstream(A, ("x", "x", "x", "x")), "nginx", "answered"),
    ("separators alone", 502, upstream(", : , , ", (", ", ", ", ", ", ", ")), "nginx", "no_live_peer"),
    ("patterns of Lua", 502, upstream("%d+%.%d+ [[%z]:80", REFUSED), "nginx", "no_live_peer"),
    ("bytes", 502, upstream("\udcff\x00\udc80", ("\udcff", "\x00", "-", "-")), "nginx", "no_live_peer"),
    ("long", 502, upstream(", ".join([A] * 5000), *[REFUSED] * 5000), "nginx", "connect_failed"),
]  # fmt: skip


@pytest.fixture(scope="module")
def reasons() -> dict[str, tuple[str, str]]:
    results = ask(*(["failure", status, variables] for _, status, variables, _, _ in REASONS))
    names = [f"{name} {status}" for name, status, *_ in REASONS]
    assert len(set(names)) == len(names)
    return {name: (origin.decode(), reason.decode()) for name, (origin, reason) in zip(names, results, strict=True)}


@pytest.mark.parametrize(("name", "status", "origin", "reason"), [(*row[:2], *row[3:]) for row in REASONS])
def test_reason(reasons: dict[str, tuple[str, str]], name: str, status: int, origin: str, reason: str) -> None:
    assert reasons[f"{name} {status}"] == (origin, reason)


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


def test_a_request_below_400_reads_what_it_did_before_failures_were_counted() -> None:
    needed = ["bytes_sent", "request_length", "server_name"]
    succeeded, redirected, failed = ask(["request_reads", 200], ["request_reads", 399], ["request_reads", 400])
    assert [name.decode() for name in succeeded] == [name.decode() for name in redirected] == needed
    assert len(failed) > len(needed)


def test_the_addresses_that_are_remembered_are_bounded() -> None:
    (kilobytes,) = ask(["failure_memory", 400_000])
    assert kilobytes < 1024
