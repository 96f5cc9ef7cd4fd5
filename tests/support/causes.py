"""Each reason of docs/metrics.md, "Failed requests", by its real causes, and what looks like a failure and is none."""

from support.driving import (
    GET,
    Cause,
    asks,
    encrypts,
    gets,
    hangs,
    one_by_one,
    reads_a_little,
    sends,
    until_cache,
    updates,
)

UP, DOWN, SILENT = "127.0.0.1:UPSTREAM", "127.0.0.1:DOWN", "127.0.0.1:SILENT"
SOON = "proxy_connect_timeout 150ms; proxy_read_timeout 150ms;"
POST = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc"
CHUNKED = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
TLS = "ssl_certificate CERTIFICATE; ssl_certificate_key KEY; ssl_client_certificate AUTHORITY; ssl_verify_client on;"
SORRY = "location = /sorry { return 200; }"
METRICS = '(package.loaded["resty.metrics"] or dofile("{share}/lua/resty/metrics/load.lua"))'

GONE, SLOW = "client closed_by_client", "client request_timeout"
BAD, LARGE = "client bad_request", "client too_large"
CACHED, ANSWERED, PASSED_ON = "cache cached_error", "nginx answered", "upstream from_upstream"
REFUSED, NO_PEER = "502 nginx connect_failed", "502 nginx no_live_peer"
NO_RESPONSE, INVALID = "502 nginx no_response", "502 nginx invalid_response"
NO_CONNECTION, NO_ANSWER = "504 nginx connect_timeout", "504 nginx response_timeout"


def passed(to: str, more: str = "") -> str:
    return f'location / {{ proxy_pass "http://{to}"; {more} }} '


def cached(path: str, more: str = "") -> str:
    to_cache = "proxy_cache pages; proxy_cache_key $server_name; proxy_cache_valid any 1s;"
    return passed(f"{UP}/{path}", f"{to_cache} add_header X-Cache $upstream_cache_status always; {more}")


def upstream(name: str, *servers: str) -> str:
    return f"upstream {name} {{ {' '.join(f'server {server};' for server in servers)} }}"


def asked(how: str) -> str:
    return f"location / {{ auth_request /asked; }} location = /asked {{ {how} }}"


CLIENT = [
    Cause("gone-waiting", passed(f"{UP}/hang/gone-waiting"), (f"499 {GONE}",), hangs()),
    Cause("gone-in-header", "", (f"400 {GONE}",), sends("GET / HTTP/1.1\r\nHo", leaves=True)),
    Cause("gone-in-body", passed(f"{UP}/200"), (f"400 {GONE}",), sends(POST, leaves=True)),
    Cause("slow-header", "client_header_timeout 150ms;", (f"408 {SLOW}",), sends("GET / HTTP/1.1\r\nHo")),
    Cause("slow-body", passed(f"{UP}/200", "client_body_timeout 150ms;"), (f"408 {SLOW}",), sends(POST)),
    Cause("slow-upload", passed(f"{UP}/hang", "client_body_timeout 150ms; proxy_request_buffering off;"),
          (f"408 {SLOW}",), sends(POST)),
    Cause("bad-certificate", f"{TLS} return 200;", ("400 client tls",), encrypts(certificate=True), listen="ssl"),
    Cause("bad-certificate-page", f"error_page 495 /sorry; {SORRY} {TLS}", ("400 client tls",),
          encrypts(certificate=True), listen="ssl"),
    Cause("no-certificate", f"{TLS} return 200;", (f"400 {BAD}",), encrypts(), listen="ssl"),
    Cause("no-certificate-page", f"error_page 496 /sorry; {SORRY} {TLS}", (f"400 {BAD}",), encrypts(), listen="ssl"),
    # Whoever takes such certificates and then answers with 400, has this for the reason.
    Cause("certificate-taken", f"{TLS.replace('client on', 'client optional_no_ca')} return 400;", ("400 client tls",),
          encrypts(certificate=True), listen="ssl"),
    Cause("plain-to-tls", f"{TLS} return 200;", (f"400 {BAD}",), sends(GET), listen="ssl"),
    Cause("misdirected", f"{TLS} }} server {{ listen 127.0.0.1:SELF ssl; server_name other.example; {TLS}",
          (f"421 {BAD}",), encrypts(host="other.example"), listen="ssl"),
    Cause("large-header", "large_client_header_buffers 1 1k;", (f"400 {BAD}",), asks(X="x" * 2000)),
    Cause("no-host", "", (f"400 {BAD}",), sends("GET / HTTP/1.1\r\n\r\n")),
    Cause("no-line", "", (f"400 {BAD}",), sends("\x00\x01\r\n\r\n")),
    Cause("bad-chunk", passed(f"{UP}/200"), (f"400 {BAD}",), sends(CHUNKED + "no number\r\n")),
    Cause("post-to-file", "root ROOT;", (f"405 {BAD}",), asks("POST")),
    Cause("trace", "return 200;", (f"405 {BAD}",), asks("TRACE")),
    Cause("precondition", "root ROOT;", (f"412 {BAD}",), asks(If_Match='"another"')),
    Cause("mkcol", "dav_methods MKCOL;", (f"415 {BAD}",), sends(POST.replace("POST /", "MKCOL /new/") + "defghij")),
    Cause("range", "root ROOT;", (f"416 {BAD}",), asks(Range="bytes=1000-")),
    Cause("encoding", "return 200;", (f"501 {BAD}",), sends(CHUNKED.replace("chunked", "unknown"))),
    Cause("version", "return 200;", (f"505 {BAD}",), sends(GET.replace("1.1", "3.1"))),
    *(Cause(f"return-{status}", f"return {status};", (f"{status} {BAD}",), asks()) for status in (411, 417)),
    Cause("large-body", "client_max_body_size 2; root ROOT;", (f"413 {LARGE}",), sends(f"{POST}defghij")),
    Cause("large-upload", passed(f"{UP}/hang", "proxy_request_buffering off; proxy_http_version 1.1;")
          + "client_max_body_size 2;", (f"413 {LARGE}",), sends(f"{CHUNKED}5\r\nabcde\r\n")),
    Cause("long-line", "large_client_header_buffers 1 1k;", (f"414 {LARGE}",),
          sends(f"GET /{'x' * 2000} HTTP/1.1\r\n\r\n")),
]  # fmt: skip

CACHE = [
    Cause("cache-hit", cached("404").replace("1s", "60s"), (f"404 {PASSED_ON}", f"404 {CACHED}"), until_cache("HIT"),
          polled=True),
    Cause("cache-stale", cached("404-then-reset/1", "proxy_cache_use_stale error;"),
          (f"404 {PASSED_ON}", f"404 {CACHED}"), until_cache("STALE"), polled=True),
    Cause("cache-revalidated", cached("404-then-304/1", "proxy_cache_revalidate on;"),
          (f"404 {PASSED_ON}", f"404 {CACHED}"), until_cache("REVALIDATED"), polled=True),
    Cause("cache-updating", cached("404-then-hang/cache-updating", "proxy_cache_use_stale updating;"),
          (f"404 {PASSED_ON}", f"404 {CACHED}", NO_RESPONSE), updates, polled=True),
    Cause("cache-expired", cached("500"), (f"500 {PASSED_ON}", f"500 {CACHED}"), until_cache("EXPIRED"), polled=True),
    # What nginx has in its cache is a 200: no variable has that status, so this is told by the cache's own.
    Cause("cache-range", cached("200", "proxy_force_ranges on;").replace("1s", "60s"),
          (f"416 {CACHED}",), one_by_one(until_cache("HIT"), asks(Range="bytes=1000-"))),
    Cause("cache-precondition", cached("200").replace("1s", "60s"), (f"412 {CACHED}",),
          one_by_one(until_cache("HIT"), asks(If_Unmodified_Since="Sat, 01 Jan 2000 00:00:00 GMT"))),
]  # fmt: skip

UPSTREAM = [
    *(Cause(f"answers-{status}", passed(f"{UP}/{status}"), (f"{status} {PASSED_ON}",), asks())
      for status in (400, 401, 403, 404, 413, 429, 500, 502, 503, 504)),
    Cause("answers-408", passed(f"{UP}/408"), (f"408 {SLOW}",), asks()),
    Cause("answers-behind-page", passed(f"{UP}/503", "proxy_intercept_errors on; error_page 503 /sorry;") + SORRY,
          (f"503 {PASSED_ON}",), asks()),
    Cause("refuses", passed(DOWN), (REFUSED,), asks()),
    Cause("refuses-6", passed("[::1]:DOWN"), (REFUSED,), asks()),
    Cause("refuses-unix", passed("unix:/nobody/listens, here.sock:/"), (REFUSED,), asks()),
    Cause("refuses-fastcgi", f"location / {{ fastcgi_pass {DOWN}; }}", (REFUSED,), asks()),
    Cause("no-tls", f"location / {{ proxy_pass https://{UP}/; }}", (REFUSED,), asks()),
    Cause("unknown-tls", "proxy_ssl_verify on; proxy_ssl_trusted_certificate AUTHORITY;"
          "location / { proxy_pass https://127.0.0.1:ENCRYPTED/; }", (REFUSED,), asks()),
    Cause("resets", passed(f"{UP}/reset"), (NO_RESPONSE,), asks()),
    Cause("closes", passed(f"{UP}/close"), (NO_RESPONSE,), asks()),
    Cause("bad-header", passed(f"{UP}/bad"), (INVALID,), asks()),
    Cause("half-header", passed(f"{UP}/half"), (INVALID,), asks()),
    Cause("large-answer-header", passed(f"{UP}/large"), (INVALID,), asks()),
    Cause("no-fastcgi", f"location / {{ fastcgi_pass {UP}; fastcgi_param A b; }}", (INVALID,), asks()),
    Cause("full", passed("127.0.0.1:FULL", SOON), (NO_CONNECTION,), asks()),
    Cause("silent-tls", f"location / {{ proxy_pass https://{SILENT}; {SOON} }}", (NO_CONNECTION,), asks()),
    Cause("silent", passed(SILENT, SOON), (NO_ANSWER,), asks()),
    Cause("all-down", passed("all-down"), (NO_PEER,), asks(), upstream("all-down", f"{DOWN} down", f"{UP} down")),
    Cause("digits", passed("10.0.0.1"), (NO_PEER,), asks(), upstream("10.0.0.1", f"{DOWN} down", f"{UP} down")),
    Cause("learnt-down", passed("learnt"), (REFUSED, NO_PEER), gets("/", "/"),
          upstream("learnt", *(f"{host}:DOWN max_fails=1 fail_timeout=600s" for host in ("127.0.0.1", "127.0.0.2")))
          .replace("server", "zone learnt 128k; server", 1)),
    Cause("retried-answers", passed("retried-1/500"), (f"500 {PASSED_ON}",), asks(),
          upstream("retried-1", DOWN, f"{UP} backup")),
    Cause("retried-refuses", passed("retried-2/500", "proxy_next_upstream error http_500;"), (REFUSED,), asks(),
          upstream("retried-2", UP, f"{DOWN} backup")),
    Cause("retried-hangs", passed("retried-3/reset", SOON), (NO_ANSWER,), asks(),
          upstream("retried-3", UP, f"{SILENT} backup")),
    Cause("behind-page", passed(f"{UP}/close", "error_page 502 /sorry;") + SORRY, (NO_RESPONSE,), asks()),
    Cause("behind-missing-page", passed(SILENT, f"{SOON} error_page 504 = /none;") + "location = /none { root ROOT; }",
          ("404 nginx response_timeout",), asks()),
    Cause("redirected", "recursive_error_pages on;" + passed(DOWN, "error_page 502 = @second;")
          + f"location @second {{ proxy_pass http://{SILENT}; {SOON} }}", (NO_ANSWER,), asks()),
    Cause("redirected-to-nobody", "recursive_error_pages on;" + passed(SILENT, f"{SOON} error_page 504 = @second;")
          + "location @second { proxy_pass http://nobody; }", ("502 nginx response_timeout",), asks(),
          upstream("nobody", f"{DOWN} down", f"{UP} down")),
    Cause("accelerated", passed(f"{UP}/accelerated") + f"location = /inner {{ internal; proxy_pass http://{DOWN}; }}",
          (REFUSED,), asks()),
    Cause("accelerated-to-nothing", passed(f"{UP}/accelerated") + "location = /inner { internal; root ROOT; }",
          ("404 nginx not_found",), asks()),
    Cause("accelerated-to-forbidden", passed(f"{UP}/accelerated") + "location = /inner { internal; deny all; }",
          ("403 nginx denied",), asks()),
]  # fmt: skip

NGINX = [
    Cause("rate", "limit_req zone=rate; root ROOT;", ("503 nginx rate_limited",), gets("/", "/")),
    Cause("rate-429", "limit_req zone=rate; limit_req_status 429; root ROOT;", ("429 nginx rate_limited",),
          gets("/", "/")),
    Cause("rate-page", f"root ROOT; error_page 503 =404 /sorry; location / {{ limit_req zone=rate; }} {SORRY}",
          ("404 nginx rate_limited",), gets("/", "/")),
    Cause("rate-dry", "limit_req zone=rate; limit_req_dry_run on; root ROOT;", ("404 nginx not_found",) * 2,
          gets("/none", "/none")),
    Cause("connections", passed(f"{UP}/hang/connections", "limit_conn connections 1;"),
          ("503 nginx connection_limited", f"499 {GONE}"), hangs(asks())),
    Cause("connections-page", passed(f"{UP}/hang/connections-page", "limit_conn connections 1;")
          + f"error_page 503 =429 /sorry; {SORRY}", ("429 nginx connection_limited", f"499 {GONE}"), hangs(asks())),
    Cause("connections-dry", "limit_conn connections 1; root ROOT; location /none { limit_conn_dry_run on; }"
          f"location = / {{ proxy_pass http://{UP}/hang/connections-dry; }}", ("404 nginx not_found", f"499 {GONE}"),
          hangs(gets("/none"))),
    Cause("deny", "location / { deny all; }", ("403 nginx denied",), asks()),
    Cause("no-password", "location / { auth_basic a; auth_basic_user_file /dev/null; }", ("401 nginx denied",), asks()),
    Cause("no-index", "root ROOT; index none;", ("403 nginx denied",), asks()),
    *(Cause(f"auth-{status}", asked(f"return {status};"), (f"{status} nginx denied",), asks())
      for status in (401, 403)),
    Cause("auth-upstream", asked(f"proxy_pass http://{UP}/403;"), ("403 nginx denied",), asks()),
    Cause("auth-refused", asked(f"proxy_pass http://{DOWN};"), (f"500 {ANSWERED}",), asks()),
    Cause("missing", "root ROOT;", ("404 nginx not_found",), gets("/none")),
    Cause("gone", "return 410;", ("410 nginx not_found",), asks()),
    Cause("dropped", "return 444;", ("444 nginx dropped",), sends(GET)),
    *(Cause(f"returns-{status}", f"return {status};", (f"{status} {ANSWERED}",), asks())
      for status in (402, 429, 500, 502, 503, 504)),
    Cause("lua-error", "location / { content_by_lua_block { error('on purpose') } }", (f"500 {ANSWERED}",), asks()),
    Cause("lua-exit", "location / { access_by_lua_block { ngx.exit(502) } }", (f"502 {ANSWERED}",), asks()),
    Cause("unresolvable", "location / { set $to nobody.invalid; proxy_pass http://$to; }", (f"502 {ANSWERED}",),
          asks()),
    Cause("loop", "location / { rewrite ^ /again/$uri last; }", (f"500 {ANSWERED}",), asks()),
]  # fmt: skip

HOOKS = [
    Cause("scope", "set $resty_metrics_scope api; log_by_lua_file {share}/lua/resty/metrics/scope.lua;"
          + passed(f"{UP}/close"), (NO_RESPONSE,) * 3, gets("/", "/", "/")),
    Cause("own-hook", f'log_by_lua_block {{ {METRICS}.log {{ scope = "own" }} }} return 500;',
          (f"500 {ANSWERED}",), asks()),
    Cause("off", "access_log off; log_by_lua_file {share}/lua/resty/metrics/off.lua; return 500;", (), asks()),
    Cause("nothing", f"access_log off; log_by_lua_block {{ {METRICS}.log_nothing() }} return 500;", (), asks()),
]  # fmt: skip

# What has a status below 400, whatever happened.
NONE = [
    Cause("body-cut-by-upstream", passed(f"{UP}/cut"), (), sends(GET)),
    Cause("body-hangs", passed(f"{UP}/stall", SOON), (), sends(GET)),
    Cause("body-cut-by-client", passed(f"{UP}/body"), (), reads_a_little),
    Cause("garbage", passed(f"{UP}/garbage"), (), sends(GET)),
    Cause("mirror", passed(f"{UP}/200", "mirror /asked;") + f"location = /asked {{ proxy_pass http://{DOWN}; }}", (),
          asks()),
    Cause("capture", "location = /asked { return 500; } location / { content_by_lua_block { "
          "ngx.print(ngx.location.capture('/asked').status) } }", (), asks()),
    Cause("succeeds", passed(f"{UP}/200"), (), asks()),
    Cause("moved", passed(f"{UP}/301"), (), asks()),
    Cause("page-200", passed(DOWN, "error_page 502 =200 /sorry;") + SORRY, (), asks()),
    Cause("stale-200", cached("200-then-reset/1", "proxy_cache_use_stale error;"), (), until_cache("STALE")),
]  # fmt: skip

CAUSES = [*CLIENT, *CACHE, *UPSTREAM, *NGINX, *HOOKS, *NONE]
