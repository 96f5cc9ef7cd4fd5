"""Our includes in configurations that have everything already: at any place, beside a user's own directives."""

import re
from collections.abc import Callable
from pathlib import Path

import crossplane  # type: ignore[import-untyped]
import pytest
from support.client import get
from support.collector import Collector
from support.labels import by_labels
from support.nginx import INCLUDES, ROOT, Nginx
from support.wait import free_port, wait_until

# What nginx takes once in http{}: an include that has one breaks a configuration that has its own.
ONCE = {
    "lua_package_path", "lua_package_cpath", "init_by_lua_block", "init_by_lua_file", "init_worker_by_lua_block",
    "init_worker_by_lua_file", "exit_worker_by_lua_block", "exit_worker_by_lua_file", "log_by_lua_block",
    "log_by_lua_file",
}  # fmt: skip
ALLOWED = {
    "resty-metrics.conf": {"lua_shared_dict", "geo", "log_by_lua_file"},
    "resty-metrics-own-hook.conf": {"lua_shared_dict", "geo"},
    "upstreams.conf": {"map"},
    "lifecycle.conf": {"init_worker_by_lua_block"},
    "stub-status.conf": {"server"},
}


@pytest.mark.parametrize("name", ALLOWED)
def test_it_uses_one_directive_that_nginx_takes_once(name: str) -> None:
    parsed = crossplane.parse(str(ROOT / "nginx.conf.d" / name), single=True, check_ctx=False, check_args=False)
    assert parsed["status"] == "ok", parsed["errors"]
    directives = [block["directive"] for block in parsed["config"][0]["parsed"]]
    assert set(directives) == ALLOWED[name]
    assert sum(directive in ONCE for directive in directives) <= 1


OURS, OWN_HOOK, UPSTREAMS, LIFECYCLE, STUB_STATUS = (
    f"include {{share}}/nginx.conf.d/{name}.conf;"
    for name in ("resty-metrics", "resty-metrics-own-hook", "upstreams", "lifecycle", "stub-status")
)
# What a configuration may have that nginx orders, counts or allows once.
MAP_HASH = "map_hash_bucket_size 256; map_hash_max_size 8192;"
OWN = """
map $uri $kind { ~^/a a; default other; }
geo $near { default 0; 127.0.0.0/8 1; }
split_clients $request_id $half { 50% a; * b; }
variables_hash_bucket_size 128; variables_hash_max_size 4096;
server_names_hash_bucket_size 128; server_names_hash_max_size 2048;
types_hash_bucket_size 128; types_hash_max_size 4096;
proxy_headers_hash_bucket_size 128; proxy_headers_hash_max_size 1024;
log_format resty_metrics '$request';
lua_shared_dict mine 1m;
lua_package_path "{share}/lua/?.lua;;";
init_by_lua_block { }
exit_worker_by_lua_block { }
server { listen 127.0.0.1:PORT; server_name shop.example; location / { return 200; } }
"""


def answer_of(make: Callable[[], Nginx]) -> tuple[int, str]:
    """What ``nginx -t`` says of it: the exit status and its words."""
    nginx = make()
    try:
        done = nginx.command("-t")
        return done.returncode, done.stderr + nginx.log()
    finally:
        nginx.__exit__(None, None, None)


def accepted(socket_path: Path, http: str) -> tuple[int, str]:
    return answer_of(lambda: Nginx(socket_path, http.replace("PORT", str(free_port())), include=""))


PLACES = [
    ("first", f"{OURS} {LIFECYCLE} {STUB_STATUS} {MAP_HASH} {OWN}"),
    ("last", f"{MAP_HASH} {OWN} {OURS} {LIFECYCLE} {STUB_STATUS}"),
    ("between", f"{OURS} {MAP_HASH} {OWN} {STUB_STATUS} {LIFECYCLE}"),
    ("own hook, first", f"{OWN_HOOK} log_by_lua_block {{ }} {MAP_HASH} {OWN}"),
    ("own hook, last", f"log_by_lua_block {{ }} {MAP_HASH} {OWN} {OWN_HOOK}"),
    ("upstreams, last", f"{OURS} {MAP_HASH} {OWN} {UPSTREAMS}"),
    ("upstreams before the include", f"{MAP_HASH} {UPSTREAMS} {OWN} {OURS}"),
    ("settings, then sizes", f'geo $resty_metrics_labels {{ default "a=arg_a"; }} {OURS} {MAP_HASH} {OWN}'),
]


@pytest.mark.parametrize("http", [http for _, http in PLACES], ids=[name for name, _ in PLACES])
def test_nginx_takes_it_at_any_place(socket_path: Path, http: str) -> None:
    status, words = accepted(socket_path, http)
    assert status == 0, words
    assert not re.search(r"\[(warn|emerg|error)\]", words), words


@pytest.mark.parametrize("name", ["00-resty-metrics.conf", "zz-resty-metrics.conf"])
def test_nginx_takes_it_before_and_after_other_files_of_a_directory(socket_path: Path, name: str) -> None:
    """nginx reads the files that a wildcard names in the order of their names."""

    def make() -> Nginx:
        nginx = Nginx(socket_path, "include {prefix}/conf.d/*.conf;", include="")
        (nginx.prefix / "conf.d").mkdir()
        ours = OURS.replace("{share}", str(nginx.share))
        setting = 'geo $resty_metrics_labels { default "tenant=http_x_tenant"; }'
        (nginx.prefix / "conf.d" / name).write_text(f"{ours}\n{setting}\n")
        own = f"{MAP_HASH} {OWN}".replace("{share}", str(nginx.share)).replace("PORT", str(free_port()))
        (nginx.prefix / "conf.d" / "mine.conf").write_text(own)
        return nginx

    status, words = answer_of(make)
    assert status == 0, words


# What cannot be had, and the words that docs/troubleshooting.md quotes for it.
REFUSED = [
    (
        "upstreams before the sizes",
        f"{OURS} {UPSTREAMS} {MAP_HASH} {OWN}",
        '"map_hash_bucket_size" directive is duplicate',
    ),
    ("the include twice", f"{OURS} {OURS} {OWN}", 'lua_shared_dict "resty_metrics_spool" is already defined'),
    ("both includes", f"{OURS} {OWN_HOOK} {OWN}", 'lua_shared_dict "resty_metrics_spool" is already defined'),
    (
        "a dictionary of that name",
        f"lua_shared_dict resty_metrics_spool 1m; {OURS} {OWN}",
        'of shared memory zone "resty_metrics_spool" conflicts with already declared size',
    ),
    ("a hook file in http", f"log_by_lua_block {{ }} {OURS} {OWN}", '"log_by_lua_file" directive is duplicate'),
    ("a hook block in http", f"{OURS} log_by_lua_block {{ }} {OWN}", "[emerg] is duplicate in"),
    ("lifecycle twice", f"{OURS} {LIFECYCLE} {LIFECYCLE}", "[emerg] is duplicate in"),
    ("lifecycle beside init_worker", f"{OURS} init_worker_by_lua_block {{ }} {LIFECYCLE}", "[emerg] is duplicate in"),
]


@pytest.mark.parametrize(("http", "words"), [case[1:] for case in REFUSED], ids=[name for name, _, _ in REFUSED])
def test_what_nginx_refuses_is_in_the_documents(socket_path: Path, http: str, words: str) -> None:
    status, said = accepted(socket_path, http)
    assert status == 1
    assert words in said
    text = " ".join((ROOT / "docs/troubleshooting.md").read_text().split())
    assert words in text, "docs/troubleshooting.md does not explain it"


def test_only_upstreams_conf_makes_a_map() -> None:
    """The first map fixes map_hash_bucket_size and map_hash_max_size for all of http{}."""
    files = (ROOT / "nginx.conf.d").glob("*.conf")
    with_map = {path.name for path in files if re.search(r"^\s*map\s", path.read_text(), re.MULTILINE)}
    assert with_map == {"upstreams.conf"}


def test_only_stub_status_and_vts_listen_and_on_loopback_alone() -> None:
    listens: dict[str, list[str]] = {}
    for path in sorted((ROOT / "nginx.conf.d").glob("*.conf")):
        for line in re.findall(r"^\s*listen\s+(.*);", path.read_text(), re.MULTILINE):
            listens.setdefault(path.name, []).append(line)
    assert listens == {"stub-status.conf": ["127.0.0.1:19146"], "vts.conf": ["127.0.0.1:19147"]}


SETTING = 'geo $resty_metrics_labels { default "tenant=http_x_tenant"; }'
BY_MAP = 'map "" $resty_metrics_labels { default "tenant=http_x_tenant"; }'
STATED = {
    "before": f"{SETTING} {OURS}",
    "after": f"{OURS} {SETTING}",
    "by map before": f"{BY_MAP} {OURS}",
    "by map after": f"{OURS} {BY_MAP}",
    "before the own hook": f"{SETTING} log_by_lua_file {{share}}/lua/resty/metrics/hook.lua; {OWN_HOOK}",
}


@pytest.mark.slow
@pytest.mark.parametrize("http", STATED.values(), ids=STATED)
def test_a_setting_holds_before_and_after_the_include(socket_path: Path, http: str) -> None:
    port = free_port()
    buckets = http.replace("labels", "buckets").replace("tenant=http_x_tenant", "0.5 1")
    buckets = buckets.replace(OURS, "").replace(OWN_HOOK, "").split(" log_by_lua_file")[0]
    socket = f"geo $resty_metrics_socket {{ default {socket_path}; }}"
    before, after = (socket, "") if http.startswith(("geo", "map")) else ("", socket)
    site = f"server {{ listen 127.0.0.1:{port}; server_name a.example; location / {{ return 200; }} }}"
    nginx = Nginx(socket_path, f"{before} {http} {buckets} {after} {site}", include="")
    for name in INCLUDES:  # the helper states the socket in them
        path = nginx.share / "nginx.conf.d" / name
        path.write_text(re.sub(r"^geo \$resty_metrics_socket.*$", "", path.read_text(), flags=re.MULTILINE))
    with Collector(socket_path) as collector, nginx:
        get(port, "/", {"X-Tenant": "acme"}, 3)
        name = "nginx_http_responses_total"
        wait_until(lambda: by_labels(collector.samples(), name, "tenant") == {("acme",): 3}, message="the label")
        bounds = {
            labels[0] for labels in by_labels(collector.samples(), "nginx_http_request_duration_seconds_bucket", "le")
        }
        assert bounds == {"0.5", "1.0", "+Inf"}
        assert nginx.errors() == []


@pytest.mark.slow
@pytest.mark.parametrize("switch", ["", "geo $resty_metrics_upstreams { default off; }"])
@pytest.mark.parametrize("order", [0, 1])
def test_upstreams_are_counted_unless_they_are_switched_off(socket_path: Path, switch: str, order: int) -> None:
    port, peer = free_port(), free_port()
    lines = [OURS, switch, UPSTREAMS]
    site = f"""{" ".join(lines[:: -1 if order else 1])}
        server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{peer}; }} }}
        server {{ listen 127.0.0.1:{peer}; log_by_lua_file {{share}}/lua/resty/metrics/off.lua; return 200; }}"""
    with Collector(socket_path) as collector, Nginx(socket_path, site, include="") as nginx:
        get(port, "/", times=3)
        wait_until(lambda: collector.request_counts().total() == 3, message="the requests")
        attempts = by_labels(collector.samples(), "nginx_http_upstream_attempts_total", "status")
        assert attempts == ({} if switch else {("200",): 3})
        assert nginx.errors() == []
