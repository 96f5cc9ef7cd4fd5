"""The configuration of one nginx, judged."""

import re
from collections.abc import Mapping

import pytest
from resty_metrics.commands.doctor.finding import Finding, Verdict
from resty_metrics.commands.doctor.nginx_checks import Configured, check, refused
from resty_metrics.nginx_config.dump import read
from support.nginx import ROOT

SOCKET = "/run/resty-metrics/collector.sock"
OUR_LINE = '(package.loaded["resty.metrics"] or dofile("/usr/share/resty-metrics/lua/resty/metrics/load.lua")).log()'
VISIBLE = "configure arguments: --add-module=../ngx_lua-0.10.{} --prefix=/opt/nginx"
MAIN = "/etc/nginx/nginx.conf"


def included(name: str) -> str:
    return (ROOT / "nginx.conf.d" / name).read_text()


def judged(
    http: str,
    *,
    more: str = "",
    texts: Mapping[str, str | None] | None = None,
    build: str = "",
    lua: tuple[str, ...] = (),
) -> list[Finding]:
    """``http``: the inside of ``http{}``; OURS and OWN in it include our files."""
    body = http.replace("OURS", "include resty-metrics.conf;").replace("OWN", "include resty-metrics-own-hook.conf;")
    body = body.replace("FILE", "log_by_lua_file /x/lua/resty/metrics")
    body = body.replace("OTHER", 'map "" $resty_metrics_socket { default /elsewhere.sock; }')
    body = body.replace("LIFECYCLE", "include lifecycle.conf;").replace("STATUS", "include stub-status.conf;")
    body = body.replace("LINE", OUR_LINE)
    parts = {MAIN: f"{more}\nhttp {{\n{body}\n}}\n"}
    for name in ("resty-metrics", "resty-metrics-own-hook", "lifecycle", "stub-status"):
        if f"include {name}.conf;" in body:  # nginx shows no other file
            parts[f"/etc/nginx/{name}.conf"] = included(f"{name}.conf")
    dump = "".join(f"# configuration file {path}:\n{text}\n" for path, text in parts.items())
    configured = Configured(read(dump), "/opt/nginx", build, texts or {}, frozenset({"/var/run/alias.sock"}))
    return check(configured, SOCKET, frozenset(lua))


def found(findings: list[Finding], name: str) -> list[Finding]:
    return [one for one in findings if one.check == name]


def bad(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(one.check, one.verdict) for one in findings if one.verdict in (Verdict.WARN, Verdict.FAIL)]


def block(code: str) -> str:
    return f"log_by_lua_block {{ {code} }}"


HEALTHY = [
    ("the include", "OURS server { }"),
    ("all of ours", "OURS LIFECYCLE STATUS server { location / { } }"),
    ("own hook in http with the line", f"OWN {block(OUR_LINE)} server {{ }}"),
    ("own hook by require", "OWN " + block('local n = {} require("resty.metrics").log()') + " server { }"),
    ("require without parentheses", "OWN " + block("local m = require 'resty.metrics'\n m.log()") + " server { }"),
    ("an inner hook with the line", f"OURS server {{ location / {{ {block(OUR_LINE)} }} }}"),
    ("each server has it", f"OWN server {{ {block(OUR_LINE)} }} server {{ {block(OUR_LINE)} }}"),
    ("by a file that has it", "OURS server { log_by_lua_file hook.lua; }"),
    ("hook.lua itself", "OWN log_by_lua_file /x/lua/resty/metrics/hook.lua; server { }"),
    ("left out, and a scope", "OURS server { location /a { FILE/off.lua; } location /b { FILE/scope.lua; } }"),
    ("a scope from Lua", "OURS server { " + block('require("resty.metrics").log { scope = "api" }') + " }"),
    (
        "what the include states, stated anew",
        f'OTHER OURS map "" $resty_metrics_socket {{ default {SOCKET}; }} server {{ }}',
    ),
    (
        "labels for all requests, a name by the machine, and a scope",
        'OURS map "" $resty_metrics_labels { volatile; default "tenant=http_x_tenant"; } '
        "map $hostname $resty_metrics_nginx { a one; default two; } geo $resty_metrics_buckets { default '1 2'; } "
        'server { set $resty_metrics_labels "tenant=http_x_tenant"; '
        "location / { set $resty_metrics_scope api; set $resty_metrics_scope_labels a=b; FILE/scope.lua; } }",
    ),
    ("a local", "OURS server { " + block('local m = require "resty.metrics" m.log()') + " }"),
    ("pcall", "OURS server { " + block('local m = require "resty.metrics" pcall(m.log)') + " }"),
    ("a comment before the brace", "OURS server { log_by_lua_block # mine {\n { LINE } }"),
    ("escapes in a string of nginx", r"OURS server { log_by_lua 'local x = 1\nrequire(\"resty.metrics\").log()'; }"),
    ("code cache off where no server is", "OURS lua_code_cache off; server { lua_code_cache on; }"),
    ("content by lua is no log hook", "OURS server { content_by_lua_block { ngx.say('}') } }"),
]


@pytest.mark.parametrize(("name", "http"), HEALTHY, ids=[name for name, _ in HEALTHY])
def test_healthy(name: str, http: str) -> None:
    assert bad(judged(http, texts={"/opt/nginx/hook.lua": f"-- mine\n{OUR_LINE}\n"}, lua=("0.1.0",))) == []


OTHER = block("local x = 1")
SHADOWED = [
    ("server", f"OURS\nserver {{ server_name a.example;\n{OTHER} }}", 5, "server a.example"),
    ("location", f"OURS\nserver {{\nlocation /x {{ {OTHER} }} }}", 5, "server, location /x"),
    ("nested", f"OURS server {{ location / {{ location ~ \\.php$ {{\n{OTHER} }} }} }}", 4, r"location ~ \.php$"),
    ("named", f"OURS server {{ location @back {{ {OTHER} }} }}", 3, "location @back"),
    ("if", f"OURS server {{ location / {{ if ($x) {{ {OTHER} }} }} }}", 3, "location /, if $x"),
    ("limit_except", f"OURS server {{ location / {{ limit_except GET {{ {OTHER} }} }} }}", 3, "limit_except GET"),
    ("commented out", f"OURS server {{ log_by_lua_block {{ -- {OUR_LINE}\n }} }}", 3, "server"),
    ("long comment", f"OURS server {{ log_by_lua_block {{ --[[ {OUR_LINE} ]] }} }}", 3, "server"),
    ("a string", "OURS server { log_by_lua 'local x = 1'; }", 3, "server"),
    ("a file", "OURS server { log_by_lua_file other.lua; }", 3, "server"),
    ("a longer name", "OURS server { " + block('require("resty.metrics2").log()') + " }", 3, "server"),
    ("a name that ends like it", "OURS server { " + block('require("my.resty.metrics").log()') + " }", 3, "server"),
    ("a file of a similar name", "OURS server { log_by_lua_file /x/my-resty/metrics/hook.lua; }", 3, "server"),
    ("below a hook that counts", f"OURS server {{ {block(OUR_LINE)} location / {{\n{OTHER} }} }}", 4, "location /"),
]


@pytest.mark.parametrize(("name", "http", "line", "scope"), SHADOWED, ids=[one[0] for one in SHADOWED])
def test_a_shadowing_hook_is_named_with_file_line_and_the_line_to_add(
    name: str, http: str, line: int, scope: str
) -> None:
    texts = {"/opt/nginx/other.lua": "return 1", "/x/my-resty/metrics/hook.lua": "return 1"}
    texts |= {f"/usr/share/lua/5.1/{name}.lua": "return {}" for name in ("resty/metrics2", "my/resty/metrics")}
    findings = judged(http, texts=texts)
    (finding,) = [one for one in found(findings, "nginx.shadowed") if one.verdict is not Verdict.OK]
    assert finding.verdict is Verdict.WARN
    assert finding.evidence.startswith(f"{MAIN}:{line}: log_by_lua")
    assert scope in finding.evidence
    assert finding.remedy is not None
    assert "/usr/share/resty-metrics/lua/resty/metrics/load.lua" in finding.remedy
    assert bad(findings) == [("nginx.shadowed", "WARN")]


def test_the_line_for_code_in_a_string_has_no_quotes() -> None:
    (finding,) = found(judged("OURS server { log_by_lua 'local x = 1'; }"), "nginx.shadowed")
    line = str(finding.remedy).partition(": ")[2].partition("; then")[0]
    assert not {"'", '"'} & set(line)
    assert re.fullmatch(r"\(package\.loaded\[ \[\[resty\.metrics\]\] \] or dofile\(\[\[.*\]\]\)\)\.log\(\)", line)


def test_a_file_that_cannot_be_read_is_not_called_shadowing() -> None:
    findings = judged("OURS server { log_by_lua_file $lua; } server { log_by_lua_file secret.lua; }")
    assert [one.evidence.partition(". To be certain")[0] for one in found(findings, "nginx.shadowed")] == [
        f"not known: whether {MAIN}:3: log_by_lua_file in server calls our line: its file's name has a variable",
        f"not known: whether {MAIN}:3: log_by_lua_file in server calls our line: its file cannot be read from here",
    ]
    assert bad(findings) == []


APP = {"/usr/share/lua/5.1/app.lua": 'local l = require "app.inner" return { run = function() l.run() end }'}
INNER = {"/usr/share/lua/5.1/app/inner.lua": f"return {{ run = function() {OUR_LINE} end }}"}
GLOBAL = {"/usr/share/lua/5.1/app.lua": 'mm = require "resty.metrics"'}
MINE = "/usr/share/lua/5.1/mine.lua"
RUN = "/usr/share/lua/5.1/app.lua"
ANY_MODULE = "return { run = function() for _, m in pairs(package.loaded) do if m.log then m.log() end end end }"
UNCLEAR = [
    ("a module of a module", block('require("app").run()'), {**APP, **INNER}, "app.inner, which names resty.metrics"),
    ("one that was not found", block('require("app").run()'), APP, "app.inner, whose file was not found"),
    (
        "no call is seen",
        block('local t = { m = require("resty.metrics") } ngx.log(4, t)'),
        {},
        "no call of log is seen",
    ),
    (
        "a library of a name that anybody may use",
        block('require("resty.own").log()'),
        {},
        "resty.own, whose file was not",
    ),
    ("a module that runs texts", block('require("app").run()'), {RUN: "return { run = load(x) }"}, "name is not known"),
    ("a module that reads all modules", block('require("app").run()'), {RUN: ANY_MODULE}, "names are not known"),
    ("a branch", block("if ngx.var.x then LINE end"), {}, "condition"),
    ("bytecode", "log_by_lua_file a.lua;", {"/opt/nginx/a.lua": "\x1bLJ"}, "bytecode"),
    ("a module that was not found", block('require("my.log").run()'), {}, "my.log, whose file was not found"),
    (
        "a module that names us",
        block('require("my.log").run()'),
        {"/usr/share/lua/5.1/my/log.lua": 'return { run = function() require("resty.metrics").log() end }'},
        "my.log, which names resty.metrics",
    ),
    (
        "a module on a path of its own",
        block('require("my.log").run()'),
        {"/srv/lua/my/log.lua": 'return { run = require("resty.metrics").log }'},
        "my.log, which names resty.metrics",
    ),
    ("a file that it runs", block('dofile("/x/y.lua")'), {"/x/y.lua": OUR_LINE}, "/x/y.lua, which names resty.metrics"),
    ("a file that is not there", block('dofile("/x/y.lua")'), {}, "/x/y.lua, which cannot be read"),
]


@pytest.mark.parametrize(("name", "hook", "texts", "doubt"), UNCLEAR, ids=[one[0] for one in UNCLEAR])
@pytest.mark.parametrize("place", ["OURS server {{ {} }}", "OWN {} server {{ }}", "OWN server {{ {} }}"])
def test_what_cannot_be_told_is_neither_well_nor_a_fault(
    name: str, hook: str, texts: Mapping[str, str | None], doubt: str, place: str
) -> None:
    findings = judged("lua_package_path 'lua/?.lua;;'; " + place.format(hook), texts=texts)
    assert bad(findings) == []
    skipped = [one.evidence for one in findings if one.verdict is Verdict.SKIP and one.check != "nginx.lua"]
    assert skipped
    assert all(doubt in one for one in skipped)
    assert all("send a request there" in one for one in skipped)
    assert not any("load.lua" in one for one in skipped), "a line that a hook which counts would count twice"


NEVER = [
    ("behind return", f"do return end {OUR_LINE}"),
    ("a text", f"local s = [[{OUR_LINE}]] ngx.log(4, s)"),
    ("another function of ours", 'require("resty.metrics").counter()'),
    ("a module that is never loaded", 'do return end require("my.log").run()'),
]


@pytest.mark.parametrize(("name", "code"), NEVER, ids=[name for name, _ in NEVER])
def test_a_hook_that_names_us_and_never_calls_replaces_ours(name: str, code: str) -> None:
    assert bad(judged(f"OURS server {{ {block(code)} }}")) == [("nginx.shadowed", "WARN")]


STRING = {"/usr/share/lua/5.1/app.lua": 'function string.count() require("resty.metrics").log() end'}
INJECTED = {RUN: "local f return { init = function(g) f = g end, run = function() f() end }"}
CALL = "require('app').run()"
INIT = [
    ("a module that extends string", 'require "app"', STRING, "string.count()", Verdict.SKIP),
    ("a method of strings", 'require "app"', STRING, "('x'):count()", Verdict.SKIP),
    ("another function", 'require "app"', STRING, "string.rep('x', 2)", Verdict.WARN),
    ("a module that was not found", 'require "app"', {}, "ngx.log(4, 'x')", Verdict.SKIP),
    ("a module that gets ours", f"require('app').init(function() {OUR_LINE} end)", INJECTED, CALL, Verdict.SKIP),
    ("a module that others load", "require('app')", INJECTED, CALL, Verdict.WARN),
    ("nothing that it may change", 'require "app"', {}, "", Verdict.WARN),
    ("a library that was not found", 'require "resty.core"', {}, "ngx.log(4, 'x')", Verdict.WARN),
    (
        "an extension by a module, of ours",
        f"f = function() {OUR_LINE} end require 'app'",
        {RUN: "ngx.x = f"},
        "ngx.x()",
        Verdict.SKIP,
    ),
    (
        "used by a module of the hook",
        'require "app"',
        {**STRING, MINE: "return { f = string.count }"},
        "require('mine').f()",
        Verdict.SKIP,
    ),
]


@pytest.mark.parametrize(("name", "begun", "texts", "code", "verdict"), INIT, ids=[case[0] for case in INIT])
def test_init_by_lua_may_change_what_lua_and_nginx_have(
    name: str, begun: str, texts: Mapping[str, str | None], code: str, verdict: Verdict
) -> None:
    findings = judged(f"init_by_lua_block {{ {begun} }} OURS server {{ {block(code)} }}", texts=texts)
    assert [finding.verdict for finding in found(findings, "nginx.shadowed")] == [verdict]


@pytest.mark.parametrize("name", ["resty.lrucache", "resty.core.regex", "cjson.safe", "prometheus", "ngx.errlog"])
def test_a_library_that_was_not_found_does_not_call_us(name: str) -> None:
    findings = judged("OURS server { " + block(f'local l = require("{name}") l.log(1)') + " }")
    assert bad(findings) == [("nginx.shadowed", "WARN")]


def test_code_that_init_by_lua_made_may_call_us() -> None:
    begun = "init_by_lua_block { function count() LINE end } "
    findings = judged(f"{begun} OURS server {{ {block('count()')} }}")
    assert [one.verdict for one in found(findings, "nginx.shadowed")] == [Verdict.OK]
    own = "init_by_lua_block { logins = require('resty.metrics').counter('a', 'b') ngx.log(4, 'x') } "
    findings = judged(f"{own} OURS server {{ {block('logins:inc()')} }}")
    assert [one.verdict for one in found(findings, "nginx.shadowed")] == [Verdict.SKIP]


def test_a_global_that_a_module_of_init_by_lua_sets_may_be_ours() -> None:
    begun = 'init_by_lua_block { require "app" } '
    findings = judged(f"{begun} OURS server {{ {block('mm.log()')} }}", texts=GLOBAL)
    (finding,) = found(findings, "nginx.shadowed")
    assert finding.verdict is Verdict.SKIP
    assert (
        "init_by_lua may have changed, and init_by_lua uses the module app, which names resty.metrics"
        in finding.evidence
    )
    findings = judged(f"{begun} OURS server {{ {block('local x = ngx.var.x')} }}", texts=GLOBAL)
    assert bad(findings) == [("nginx.shadowed", "WARN")]


MANY = "; server s1.example; server s2.example and 57 more"


@pytest.mark.parametrize(("count", "more"), [(1, ""), (60, MANY)])
def test_one_snippet_that_shadows_in_many_servers_is_one_finding(count: int, more: str) -> None:
    servers = "".join(f"server {{ server_name s{at}.example; include snippet.conf; }} " for at in range(count))
    dump = (
        f"# configuration file {MAIN}:\nhttp {{ log_by_lua_block {{ {OUR_LINE} }} {servers} }}\n\n"
        f"# configuration file /etc/nginx/snippet.conf:\n{OTHER}\n\n"
    )
    configured = Configured(read(dump), "/opt/nginx", "", {}, frozenset())
    (finding,) = found(check(configured, SOCKET, frozenset()), "nginx.shadowed")
    assert finding.evidence == (
        f"/etc/nginx/snippet.conf:1: log_by_lua_block in server s0.example{more} replaces ours and does not call it: "
        "its requests are not counted"
    )


def test_our_line_in_a_lua_file_alone_is_known() -> None:
    """All checks follow, and the remedies name the directory that the Lua file names."""
    line = OUR_LINE.replace("/usr/share/resty-metrics", "/opt/rm")
    findings = judged("log_by_lua_file hook.lua; server { }", texts={"/opt/nginx/hook.lua": line})
    assert bad(findings) == [("nginx.spool", "WARN")]
    assert found(findings, "nginx.socket")
    shadowed = judged(f"log_by_lua_file hook.lua; server {{ {OTHER} }}", texts={"/opt/nginx/hook.lua": line})
    assert "/opt/rm/lua/" in str(found(shadowed, "nginx.shadowed")[0].remedy)


CODE_CACHE = [
    ("http", "lua_code_cache off; server { }", "FAIL", "in http{}"),
    ("the only server", "server { server_name a; lua_code_cache off; }", "FAIL", "in server a"),
    ("one of two servers", "server { } server { lua_code_cache off; }", "WARN", "in server"),
    ("a location", "server { location /x { lua_code_cache off; } }", "WARN", "in server, location /x"),
    (
        "http, but not in one server",
        "lua_code_cache off; server { lua_code_cache on; } server { }",
        "WARN",
        "in http{}",
    ),
]


@pytest.mark.parametrize(("name", "http", "verdict", "words"), CODE_CACHE, ids=[one[0] for one in CODE_CACHE])
def test_code_that_is_not_cached(name: str, http: str, verdict: str, words: str) -> None:
    findings = judged(f"OURS {http}")
    assert bad(findings) == [("nginx.code-cache", verdict)]
    assert f"lua_code_cache is off {words}" in found(findings, "nginx.code-cache")[0].evidence


@pytest.mark.parametrize(
    ("more", "first"),
    [("", "libnginx-mod-http-lua"), ("load_module modules/ngx_http_lua_module.so;", "run: sudo resty-metrics install")],
)
def test_without_an_include_install_is_advised_and_lua_first(more: str, first: str) -> None:
    (finding,) = found(judged("server { }", more=more), "nginx.include")
    assert first in str(finding.remedy)
    assert str(finding.remedy).endswith("run: sudo resty-metrics install")


FAULTS = [
    ("no include", "server { }", [("nginx.include", "FAIL")]),
    ("own hook without the line", "OWN server { }", [("nginx.include", "FAIL")]),
    ("own hook in http that lacks it", f"OWN {OTHER} server {{ }}", [("nginx.include", "FAIL")]),
    ("a server without any", f"OWN server {{ {block(OUR_LINE)} }} server {{ }}", [("nginx.include", "WARN")]),
    ("code cache off", "OURS lua_code_cache off; server { }", [("nginx.code-cache", "FAIL")]),
    ("no spool", f"{block(OUR_LINE)} server {{ }}", [("nginx.spool", "WARN")]),
    ("another socket", 'OURS map "" $resty_metrics_socket { default /x.sock; } server { }', [("nginx.socket", "FAIL")]),
    (
        "another socket by geo",
        "geo $resty_metrics_socket { default /x.sock; } OURS server { }",
        [("nginx.socket", "FAIL")],
    ),
    ("a server's socket", "OURS server { set $resty_metrics_socket /x.sock; }", [("nginx.socket", "FAIL")]),
    (
        "lifecycle states another socket",
        'OURS init_worker_by_lua_block { require("resty.metrics").init_worker { socket = "/y.sock" } } server { }',
        [("nginx.socket", "FAIL"), ("nginx.lifecycle", "WARN")],
    ),
    (
        "lifecycle states other buckets",
        "OURS init_worker_by_lua_block { dofile('/lua/resty/metrics/load.lua').init_worker { buckets = '1 2' } }",
        [("nginx.lifecycle", "WARN")],
    ),
    (
        "lifecycle states no name",
        'OURS map "" $resty_metrics_nginx { default edge; } '
        "init_worker_by_lua_block { dofile('/lua/resty/metrics/load.lua').init_worker { } }",
        [("nginx.lifecycle", "WARN")],
    ),
]


@pytest.mark.parametrize(("name", "http", "expected"), FAULTS, ids=[one[0] for one in FAULTS])
def test_one_fault_at_a_time(name: str, http: str, expected: list[tuple[str, str]]) -> None:
    assert bad(judged(http)) == expected


PER_REQUEST = [
    ("a server's labels", 'OURS server {\nset $resty_metrics_labels "a=b"; } server { }', "set", "labels"),
    ("a location's buckets", "OURS server { location / {\nset $resty_metrics_buckets '1 2'; } }", "set", "buckets"),
    ("a map on the host", 'OURS\nmap $host $resty_metrics_labels { a.example "a=b"; default ""; }', "map", "labels"),
    ("a map to what varies", 'OURS\nmap "" $resty_metrics_labels { default $http_x; }', "map", "labels"),
    ("a geo of addresses", "OURS\ngeo $resty_metrics_labels { 10.0.0.0/8 a=b; default ''; }", "geo", "labels"),
    ("a share", "OURS\nsplit_clients $remote_addr $resty_metrics_nginx { 1% a; * b; }", "split_clients", "nginx"),
    (
        "by Lua",
        "OURS server {\nset_by_lua_block $resty_metrics_labels { return ngx.var.a } }",
        "set_by_lua_block",
        "labels",
    ),
    ("a server's upstreams", "OURS server {\nset $resty_metrics_upstream_peer off; }", "set", "upstream_peer"),
    ("a server's durations", "OURS server {\nset $resty_metrics_duration_labels server; }", "set", "duration_labels"),
]


@pytest.mark.parametrize(("name", "http", "directive", "setting"), PER_REQUEST, ids=[one[0] for one in PER_REQUEST])
def test_a_setting_of_the_worker_that_some_requests_state(name: str, http: str, directive: str, setting: str) -> None:
    findings = judged(http)
    assert bad(findings) == [("nginx.settings", "WARN")]
    (finding,) = found(findings, "nginx.settings")
    assert finding.evidence.startswith(f"{MAIN}:4: {directive} gives $resty_metrics_{setting} ")
    assert f"geo $resty_metrics_{setting} {{ default ...; }}" in str(finding.remedy)


WRONG = [
    ("lables 'a=b'", "resty-metrics has no setting $resty_metrics_lables", "write $resty_metrics_labels there"),
    ("duration_lables server", "no setting $resty_metrics_duration_lables", "write $resty_metrics_duration_labels"),
    ("nginx 'edge 1'", '$resty_metrics_nginx is "edge 1": series have no label nginx', "1 to 64 of the characters"),
    ("labels 'host'", '"host" is not label=variable; requests are counted without', "label=variable, in letters"),
    ("labels 'a=b 9x=c'", '"9x=c" is not label=variable', "write each label as label=variable"),
    ("labels 'a=b, c=d'", '"a=b," is not label=variable', "separated by blanks"),
    ("labels 'status=c'", 'the label "status" is reserved', "use another label name"),
    ("buckets '0.1,0.5'", 'is "0.1,0.5": the default buckets are used', "separated by blanks"),
    ("buckets '1 1'", "the default buckets are used", "increasing seconds"),
    ("buckets '1 inf'", "the default buckets are used", "increasing seconds"),
    ("upstreams maybe", '$resty_metrics_upstreams is "maybe": the default is used', "write on or off"),
]


@pytest.mark.parametrize(("setting", "evidence", "remedy"), WRONG, ids=[one[0] for one in WRONG])
def test_a_value_that_the_lua_module_does_not_accept(setting: str, evidence: str, remedy: str) -> None:
    name, _, value = setting.partition(" ")
    for order in ("OURS LIFECYCLE STATED server { }", "STATED OURS LIFECYCLE server { }"):
        findings = judged(order.replace("STATED", f"geo $resty_metrics_{name} {{ default {value}; }}"))
        assert bad(findings) == [("nginx.settings", "WARN")]
        (finding,) = found(findings, "nginx.settings")
        assert evidence in finding.evidence
        assert finding.evidence.startswith(f"{MAIN}:3: ")
        assert remedy in str(finding.remedy)


def test_a_variable_of_mine_that_resembles_a_setting() -> None:
    mine = "map $uri $resty_metrics_label { default a; } geo $resty_metrics_labels { default 'a=resty_metrics_label'; }"
    assert bad(judged(f"OURS {mine} server {{ }}")) == []


def test_the_socket_of_lifecycle_is_the_one_that_workers_use() -> None:
    other = "geo $resty_metrics_socket { default /x.sock; }"
    findings = judged(f"OURS LIFECYCLE {other} server {{ }}")
    assert bad(findings) == [("nginx.lifecycle", "WARN")]
    (finding,) = found(findings, "nginx.lifecycle")
    assert "sudo resty-metrics install" in str(finding.remedy)


def test_a_variable_that_is_not_set_is_no_place_to_write() -> None:
    call = "init_worker_by_lua_block { dofile('/lua/resty/metrics/load.lua').init_worker { nginx = 'edge' } }"
    (finding,) = found(judged(f"OURS {call} server {{ }}"), "nginx.lifecycle")
    assert "sets nginx to edge, but $resty_metrics_nginx is not set, which means none" in finding.evidence


MINE = 'geo $resty_metrics_labels { default "route=route scheme_of=scheme"; }'
DURATIONS = [
    ("the default", "", "server, status_class", "method, status, scheme"),
    ("labels of mine", MINE, "server, status_class, route, scheme_of", "method, status, scheme"),
    ("an empty choice", f'{MINE} CHOICE "";', "server, status_class, route, scheme_of", "method, status, scheme"),
    ("a choice of blanks", f"{MINE} CHOICE ' ';", "server, status_class, route, scheme_of", "method, status, scheme"),
    ("those of ingress-nginx", "CHOICE 'server status method';", "server, method, status", "scheme"),
    ("those of OpenTelemetry", "CHOICE otel;", "server, method, status, scheme", ""),
    ("and one of mine", f"CHOICE 'route otel'; {MINE}", "server, method, status, scheme, route", ""),
    ("all", f"{MINE} CHOICE '*';", "server, method, status, status_class, scheme, route, scheme_of", ""),
]


def choosing(http: str) -> str:
    return (
        "OURS " + re.sub(r"CHOICE (.*?);", r"geo $resty_metrics_duration_labels { default \1; }", http) + " server { }"
    )


@pytest.mark.parametrize(("name", "http", "labels", "lacking"), DURATIONS, ids=[one[0] for one in DURATIONS])
def test_labels_of_durations(name: str, http: str, labels: str, lacking: str) -> None:
    (finding,) = found(judged(choosing(http)), "nginx.durations")
    needs = f"; prometheus/compat/opentelemetry.yml also needs {lacking}: docs/labels.md" if lacking else ""
    assert (finding.verdict, finding.evidence) == (Verdict.OK, f"durations have {labels}{needs}")


WRONG_DURATIONS = [
    ("no such label", "\nCHOICE 'server route';", 'there is no label "route" of durations', "choose among server"),
    ("no server", "\nCHOICE status_class;", "durations have status_class: rules", "add server there"),
]


@pytest.mark.parametrize(
    ("name", "http", "evidence", "remedy"), WRONG_DURATIONS, ids=[one[0] for one in WRONG_DURATIONS]
)
def test_labels_of_durations_that_do_not_work(name: str, http: str, evidence: str, remedy: str) -> None:
    findings = judged(choosing(http))
    assert bad(findings) == [("nginx.durations", "WARN")]
    (finding,) = found(findings, "nginx.durations")
    assert finding.evidence.startswith(f"{MAIN}:4: {evidence}")
    assert str(finding.remedy).startswith(remedy)


def test_the_socket_under_another_name_is_the_socket() -> None:
    assert bad(judged('OURS map "" $resty_metrics_socket { default unix:/var/run/alias.sock; } server { }')) == []


VERSIONS = [
    ("", (), Verdict.SKIP),
    ("", ("0.1.0",), Verdict.OK),
    (VISIBLE.format(26), (), Verdict.OK),
    (VISIBLE.format(20), (), Verdict.FAIL),
]


@pytest.mark.parametrize(("build", "lua", "verdict"), VERSIONS)
def test_the_version_of_ngx_lua(build: str, lua: tuple[str, ...], verdict: Verdict) -> None:
    assert [one.verdict for one in found(judged("OURS server { }", build=build, lua=lua), "nginx.lua")] == [verdict]


REFUSED = [
    ('nginx: [emerg] "log_by_lua_file" directive is duplicate in /etc/x.conf:3', "own-hook"),
    ('nginx: [emerg] unknown directive "log_by_lua_file" in /etc/x.conf:3', "lua-nginx-module"),
    ('nginx: [emerg] "init_worker_by_lua_block" directive is duplicate', "lifecycle"),
    ('nginx: [emerg] "map_hash_bucket_size" directive is duplicate in /etc/nginx/nginx.conf:9', "upstreams.conf"),
    ('nginx: [emerg] lua_shared_dict "resty_metrics_spool" is already defined as "resty_metrics_spool"', "once"),
    ('nginx: [emerg] the size 1 of shared memory zone "resty_metrics_spool" conflicts with already declared', "once"),
    ("nginx: [emerg] host not found", "correct the configuration"),
]


@pytest.mark.parametrize(("message", "remedy"), REFUSED)
def test_a_configuration_that_nginx_refuses(message: str, remedy: str) -> None:
    finding = refused(message)
    assert (finding.check, finding.verdict, finding.evidence) == ("nginx.configuration", Verdict.FAIL, message)
    assert remedy in str(finding.remedy)


@pytest.mark.parametrize("servers", ["server { }", f"server {{ {block(OUR_LINE)} }} server {{ }}"])
def test_beside_the_include_without_a_hook_the_other_one_is_not_advised(servers: str) -> None:
    """nginx would refuse both together."""
    (finding,) = found(judged(f"OWN {servers}"), "nginx.include")
    assert OUR_LINE in str(finding.remedy)
    assert "include /" not in str(finding.remedy)
