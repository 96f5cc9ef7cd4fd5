"""Our line is recognised by what Lua does. Each certain answer is compared with what LuaJIT does."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resty_metrics.nginx_config.lua_effect import effect
from support.luajit import counted

OURS = "/usr/share/resty-metrics/lua/resty/metrics"
LINE = f'(package.loaded["resty.metrics"] or dofile("{OURS}/load.lua")).log()'
BOTH = 'local m = require("resty.metrics") '

CALLS = [
    ("our line", LINE),
    ("our line in a string of nginx", f"(package.loaded[ [[resty.metrics]] ] or dofile([[{OURS}/load.lua]])).log()"),
    ("require", 'require("resty.metrics").log()'),
    ("without parentheses", "require 'resty.metrics'.log()"),
    ("long brackets", "require [==[resty.metrics]==] . log ( )"),
    ("escapes", r'require "resty\46metrics"["lo\x67"]()'),
    ("a local", 'local m = require "resty.metrics"; m.log()'),
    ("a local function", "local log = require('resty.metrics').log\nlog()"),
    ("two locals", 'local require, name = require, "resty.metrics" local m = require(name) m.log()'),
    ("a joined name", 'require("resty" .. "." .. "metrics").log()'),
    ("pcall", BOTH + "pcall(m.log)"),
    ("pcall of a function", 'pcall(function() require("resty.metrics").log() end)'),
    ("xpcall", BOTH + "xpcall(m.log, function(e) ngx.log(ngx.ERR, e) end)"),
    ("pcall of pcall", BOTH + "pcall(pcall, m.log)"),
    ("pcall of require", 'local ok, m = pcall(require, "resty.metrics") if ok then m.log() end'),
    ("its error is handled", 'local ok, m = pcall(require, "resty.metrics")\nif not ok then return end\nm.log()'),
    ("ok and m", 'local ok, m = pcall(require, "resty.metrics") if ok and m then m.log() end'),
    ("assert", 'assert(require("resty.metrics")).log()'),
    ("loadfile", f'assert(loadfile("{OURS}/load.lua"))().log()'),
    ("dofile of the hook", f'dofile("{OURS}/hook.lua")'),
    ("a scope", BOTH + 'm.log { scope = "api", labels = { version = "http_x_version" } }'),
    ("another name of log", BOTH + "m.log_scope()"),
    ("left out", BOTH + "m.log_nothing()"),
    ("returned", 'return require("resty.metrics").log()'),
    ("return on the line before", 'return\nrequire("resty.metrics").log()'),
    ("in each branch", BOTH + "if ngx.var.x then m.log() else m.log_nothing() end"),
    ("before a return", BOTH + "m.log() return"),
    ("before a return in a branch", BOTH + "m.log() if ngx.var.x then return end ngx.log(4, 'x')"),
    ("branches that return", BOTH + "if ngx.var.x then m.log() return end m.log()"),
    ("a condition that is true", BOTH + "if m then m.log() end"),
    ("not nil", BOTH + "if m ~= nil and nil ~= m then m.log() end"),
    ("nil is handled", BOTH + "if m == nil then return end m.log()"),
    ("of the right type", BOTH + "if type(m) == 'table' and type(m.log) == 'function' then m.log() end"),
    ("everything is checked", 'local ok, m = pcall(require, "resty.metrics") if ok == true and m.log then m.log() end'),
    ("and", BOTH + "local _ = m and m.log()"),
    ("a function", 'local function count() require("resty.metrics").log() end count()'),
    ("a global function", 'function count() require("resty.metrics").log() end count()'),
    ("a function that gets it", BOTH + "local function f(x) x.log() end f(m)"),
    ("a function that returns it", 'local function f() return require "resty.metrics" end f().log()'),
    ("called where it is defined", '(function() require("resty.metrics").log() end)()'),
    ("do", "do " + LINE + " end"),
    ("repeat", "repeat " + LINE + " until true"),
    ("while true", "while true do " + LINE + " break end"),
    ("behind other code", 'local t = { a = 1, ["b"] = 2; 3 } ngx.log(ngx.ERR, #t .. "x", t.a ~= 1);\n' + LINE),
    ("behind a loop", "for i = 1, 3 do if i == 2 then break end end for k, v in pairs({}) do k = v end " + LINE),
    ("behind a comment", '--[==[ ]] ]==] require("resty.metrics").log() -- x'),
    ("a script's first line", "#!/usr/bin/lua\n" + LINE),
    ("an upvalue that is set later", "local m local function f() m.log() end m = require 'resty.metrics' f()"),
    ("goto behind it", LINE + " goto done ::done::"),
    ("numbers of LuaJIT", "local a, b, c = 0x1p4, 10ULL, 1e-3 " + LINE),
    ("Unicode", 'local s = "é\u00a0" ' + LINE),
    ("before an assert of something", LINE + " assert(ngx.var.x)"),
    ("before what the log phase refuses", LINE + " ngx.sleep(1)"),
    ("a protected assert before it", "pcall(function() assert(ngx.var.x) end); " + LINE),
    (
        "after three turns, by conditions",
        f"local a, b = false, false while true do if b then {LINE} break end b = a a = true end",
    ),
    ("before a call of nil", LINE + " local x x()"),
]
DOES_NOT = [
    ("empty", ""),
    ("other code", "local x = 1"),
    ("a comment", "-- " + LINE),
    ("a long comment", "--[[ " + LINE + " ]]"),
    ("another module", 'require("my.log").log()'),
    ("values of ngx.ctx", "ngx.ctx.a = ngx.ctx.b if ngx.ctx.c then ngx.log(4, ngx.ctx.d) end"),
    ("a longer name", 'require("resty.metrics2").log()'),
    ("a name that ends like it", 'require("my.resty.metrics").log()'),
    ("functions in a table", "local t = { f = function() end } t.f() t:f()"),
    ("goto without ours", "for i = 1, 2 do if i then goto go end ::go:: end"),
    ("broken", "if then"),
    ("a function in a list", 'local t = {} table.insert(t, function() require("my.log").log() end) t[1]()'),
]
# They name us, and never call.
NEVER = [
    ("a string", "local s = [[" + LINE + "]]"),
    ("a quoted string", "local s = 'require(\"resty.metrics\").log()'"),
    ("a global string", "s = [[" + LINE + "]]"),
    ("a string that is logged", "ngx.log(ngx.ERR, [[" + LINE + "]])"),
    ("a string that is joined and logged", 'ngx.log(4, "resty.metrics " .. ngx.var.x)'),
    ("a string in a table", 'local t = { ["resty.metrics"] = "resty.metrics" } t.x = "resty.metrics"'),
    ("a string that a module gets", 'require("my.log").log("resty.metrics")'),
    ("behind return", "do return end " + LINE),
    ("behind return, which Lua refuses", "return; " + LINE),
    ("behind a true return", "if true then return end " + LINE),
    ("behind branches that return", "if ngx.var.x then return else return 1 end " + LINE),
    ("behind an endless loop", "while true do ngx.log(4, 'x') if ngx.var.x then return end error() end " + LINE),
    ("behind other code and a return", "local t = { f = function() end } t.f() do return end " + LINE),
    ("behind an error", 'error("x") ' + LINE),
    ("behind an empty assert", "assert(nil); " + LINE),
    ("behind ngx.exit", "ngx.exit(200) " + LINE),
    ("if false", "if false then " + LINE + " end"),
    ("while false", "while nil do " + LINE + " end"),
    ("of another type", BOTH + "if type(m) == 'string' then m.log() end"),
    ("nil", BOTH + "if m == nil then m.log() end"),
    ("false and", 'local _ = false and require("resty.metrics").log()'),
    ("not called", 'local log = require("resty.metrics").log'),
    ("another function of ours", 'require("resty.metrics").counter("a", "b"):inc()'),
    ("a function that is not called", "local function count() " + LINE + " end"),
    ("behind a return in a function", "local function f() do return end " + LINE + " end f()"),
    ("another local of the name", 'local m = require "resty.metrics" do local m = require "my.log" m.log() end'),
    ("overwritten", 'local m = require "resty.metrics" m = require "my.log" m.log()'),
    ("another log", BOTH + "ngx.log(ngx.ERR, 'x')"),
]
# They name us, and a call may hide where it is not followed. Those of the second list count.
NOT_SEEN = [
    ("behind a call of nil", "local x x(); " + LINE),
    ("behind a method of nil", "local x x:y(); " + LINE),
    ("behind a field of nil", "local x local y = x.y; " + LINE),
    ("behind a field of nil that is set", "local x x.y = 1; " + LINE),
    ("a table of ours that is not called", 'local t = { m = require "resty.metrics" }'),
    ("a function in a table that is not called", f"local t = {{ f = function() {LINE} end }}"),
]
HIDDEN = [
    ("a function in a list", f"local t = {{}} table.insert(t, function() {LINE} end) t[1]()"),
    ("functions in a loop", f"local t = {{}} t[#t + 1] = function() {LINE} end for _, f in ipairs(t) do f() end"),
    ("an alias of a table", BOTH + "local a = {} local b = a b.f = m.log a.f()"),
    ("an alias of ngx.ctx", BOTH + "local c = ngx.ctx c.f = m.log ngx.ctx.f()"),
    ("a metatable", BOTH + "local t = setmetatable({}, { __index = function() m.log() end }) local _ = t.x"),
    ("a coroutine", BOTH + "coroutine.wrap(m.log)()"),
    ("an argument's field", BOTH + "local t = {} local function put(x) x.f = m.log end put(t) t.f()"),
    ("a joined name", "local n = ('resty-metrics'):gsub('-', '.') require(n).log()"),
    ("parts of the name", "require(table.concat({'resty', 'metrics'}, '.')).log()"),
    ("an alias of require", "local r = { require } r[1]('resty' .. '.met' .. 'rics').log()"),
    ("rawset", BOTH + "rawset(_G, 'mm', m) mm.log()"),
    ("a text that is run", "local s = [[require('resty.metrics').log()]] assert(loadstring(s))()"),
    ("an alias of loadstring", "local t = { loadstring } t[1]([[require('resty.metrics').log()]])()"),
    (
        "a function that an escaped one calls",
        f"local function f() {LINE} end local t = {{ g = function() f() end }} t.g()",
    ),
    ("one that it calls later", f"local f local t = {{ g = function() f() end }} f = function() {LINE} end t.g()"),
    (
        "a variable that it sets",
        f"local on = false local t = {{ g = function() on = true end }} t.g() if on then {LINE} end",
    ),
    (
        "a variable that it sets in a loop",
        f"local on, t = false, {{}} for i = 1, 2 do if on then {LINE} end t.g = function() on = true end t.g() end",
    ),
    ("after three turns", BOTH + "local a, b, c for i = 1, 4 do if c then c() end c = b b = a a = m.log end"),
    ("the handler of an error", "xpcall(error, function() " + LINE + " end)"),
    ("the text of an error", 'local ok, text = pcall(error, "x") if text then ' + LINE + " end"),
    (
        "the text of an error of others",
        "local ok, text = pcall(function() (ngx.var.x or error)('x') end) if text then " + LINE + " end",
    ),
    ("an error that is a function", f"local ok, f = pcall(error, function() {LINE} end) f()"),
    (
        "an error of others",
        f"local done = false pcall(function() (ngx.var.x or error)() done = true end) if not done then {LINE} end",
    ),
    ("a forward goto", "goto there do return end ::there:: " + LINE),
    (
        "a loaded module of any name",
        BOTH
        + "m = nil for name, module in pairs(package.loaded) do if name:find('metrics$') then module.log() end end",
    ),
    ("a local that debug reads", BOTH + "local _, f = debug.getlocal(1, 1) f.log()"),
    ("a condition that is global", f"on = false (function() _G['o' .. 'n'] = true end)() if on then {LINE} end"),
]
CANNOT_TELL = [
    ("an assert of something", "assert(ngx.var.arg_x); " + LINE, "condition"),
    ("a protected assert of something", f"pcall(function() assert(ngx.var.x); {LINE} end)", "condition"),
    *(
        (f"{name}, which the log phase refuses", f"ngx.{name}(); {LINE}", "condition")
        for name in ("say", "print", "sleep", "exec", "redirect", "location.capture", "req.read_body", "thread.spawn")
    ),
    ("a branch", "if ngx.var.x then " + LINE + " end", "condition"),
    ("an early return", "if ngx.var.x then return end " + LINE, "condition"),
    ("an early error", "if ngx.var.x then error('x') end " + LINE, "condition"),
    ("equal numbers", f"if 1 == 1.0 then {LINE} end", "condition"),
    ("equal somethings", f"if ngx.var.x == nil then {LINE} end", "condition"),
    ("a loop", "for i = 1, tonumber(ngx.var.x) do " + LINE + " end", "condition"),
    ("and of something", 'local _ = ngx.var.x and require("resty.metrics").log()', "condition"),
    ("only where it is loaded", 'local m = package.loaded["resty.metrics"] if m then m.log() end', "may not be loaded"),
    ("a function of ngx.ctx", "ngx.ctx.f()", "ngx.ctx"),
    ("a function of ngx.ctx, by an alias", "local c = ngx.ctx if c.f then pcall(c.f) end", "ngx.ctx"),
    ("a method of ngx.ctx", "local l = ngx.ctx.log or ngx.var l:run()", "ngx.ctx"),
    ("a dynamic name", "require(ngx.var.module).log()", "may be ours"),
    ("a name that is built", 'require("resty." .. ngx.var.x).log()', "may be ours"),
    ("a dynamic file", "dofile(ngx.var.file)", "name is not known"),
    ("text as code", "loadstring(ngx.var.code)()", "may be ours"),
    ("a timer", "ngx.timer.at(0, function() " + LINE + " end)", "condition"),
    ("given away", BOTH + "my_log(m)", "gives our module"),
    ("in a table", BOTH + "local t = { m = m } t.m.log()", "may be ours"),
    ("in ngx.ctx", BOTH + "ngx.ctx.m = m ngx.ctx.m.log()", "may be ours"),
    ("one of two", "local m if ngx.var.x then m = require 'resty.metrics' else m = {} end m.log()", "may be ours"),
    ("changed", BOTH + "m.log = function() end m.log()", "changes our module"),
    ("bytecode", "\x1bLJ\x02", "bytecode"),
    ("not Lua", "require('resty.metrics').log() then", "cannot be parsed"),
    ("an open comment", "--[[ require('resty.metrics').log()", "cannot be parsed"),
    ("goto over it", "if ngx.var.x then goto over end " + LINE + " ::over::", "goto"),
    ("a line that continues the one before", 'ngx.log(4, "x")\n' + LINE, "semicolon"),
    ("a slash in the name", 'require("resty/metrics").log()', "may be ours"),
    ("too deep", "local x = " + "(" * 500 + "'resty.metrics'" + ")" * 500, "deep"),
    ("too deep blocks", "do " * 500 + LINE + " end" * 500, "deep"),
    ("too large", "local x = 1 " * 30_000, "too large to follow"),
    ("functions that call each other", "local f function f(g) g(g) end f(f) " + LINE, "call each other"),
]


@pytest.mark.parametrize(("name", "code"), CALLS, ids=[name for name, _ in CALLS])
def test_what_calls_ours(name: str, code: str) -> None:
    assert (effect(code).counts, effect(code).doubt) == (True, "")


@pytest.mark.parametrize(("name", "code"), [*DOES_NOT, *NEVER], ids=[name for name, _ in (*DOES_NOT, *NEVER)])
def test_what_does_not(name: str, code: str) -> None:
    assert (effect(code).counts, effect(code).doubt) == (False, "")


LARGE = [
    ("nested loops", "for i = 1, 2 do " * 40 + LINE + " end" * 40),
    ("a long hook", "".join(f"g{n} = {n} " for n in range(6000)) + "if ngx.var.x then x = 1 end " * 4500 + LINE),
    (
        "branches with many variables",
        "".join(f"g{n} = {n} " for n in range(1000)) + "if x then x = 1 end " * 900 + LINE,
    ),
    ("a string that doubles", "local s = 'x' " + "s = s .. s " * 60 + LINE),
    ("many variables", " ".join(f"local a{n} = {n}" for n in range(2000)) + " " + LINE),
    ("calls that double", "local function f(g) g(g) g(g) g(g) end f(f) " + LINE),
]


@pytest.mark.parametrize(("name", "code"), LARGE, ids=[name for name, _ in LARGE])
def test_what_is_too_large_is_given_up(name: str, code: str) -> None:
    assert (effect(code).counts, effect(code).doubt) == (None, "it is too large to follow")


@pytest.mark.parametrize("code", ["[[ " * 20_000, "--[=[ " * 10_000, '"' + "\\z  " * 12_000, "'" + "\\z  " * 40])
def test_strings_and_comments_that_are_not_closed(code: str) -> None:
    assert effect(code + LINE).counts is None


def test_init_by_lua_that_is_too_large_leaves_the_hook_its_own_bound() -> None:
    assert effect(LINE, "".join(f"h{n} = {n} " for n in range(5000)), "s = 'x' " + "s = s .. s " * 60).counts is True


@pytest.mark.parametrize(("name", "code"), [*NOT_SEEN, *HIDDEN], ids=[name for name, _ in (*NOT_SEEN, *HIDDEN)])
def test_a_call_may_hide_in_code_that_names_us(name: str, code: str) -> None:
    assert effect(code).counts is None
    assert effect(code).doubt


@pytest.mark.parametrize(("name", "code", "doubt"), CANNOT_TELL, ids=[one[0] for one in CANNOT_TELL])
def test_what_cannot_be_told(name: str, code: str, doubt: str) -> None:
    assert effect(code).counts is None
    assert doubt in effect(code).doubt


def test_luajit_agrees() -> None:
    certain = [code for _, code in (*CALLS, *DOES_NOT, *NEVER)]
    assert counted(certain) == [effect(code).counts for code in certain]
    assert not any(counted([code for _, code in NOT_SEEN]))
    assert all(counted([code for _, code in HIDDEN]))


def test_the_other_code_that_is_loaded_is_named() -> None:
    loads = effect('require("my.log").run() require "a" dofile("/x/b.lua") assert(loadfile("c.lua"))()').reach
    assert loads.modules == {"my.log", "a"}
    assert loads.files == {"/x/b.lua", "c.lua"}


MODULE = 'metrics = require "resty.metrics"'
BEFORE = [
    ("a global module", MODULE, "metrics.log()", True),
    ("a global function", f"function count() {LINE} end", "count()", True),
    ("a closure over a local", 'local m = require "resty.metrics" function count() m.log() end', "pcall(count)", True),
    ("a global log", 'log = require("resty.metrics").log', "log()", True),
    ("through _G", MODULE, "_G.metrics.log()", True),
    ("not used", MODULE, "local x = 1", False),
    ("a metric of the user", 'logins = require("resty.metrics").counter("a", "b")', "logins:inc()", None),
    ("another global", MODULE, "other.log()", None),
    ("functions of Lua and nginx alone", MODULE, "local s = string.rep(ngx.var.x, 2) ngx.log(4, s)", False),
    ("a branch", f"if jit then {MODULE} end", "metrics.log()", None),
    ("a call there is none here", LINE, "local x = 1", False),
    ("behind a return", MODULE, "do return end metrics.log()", False),
    ("its own string", MODULE, 'ngx.log(4, "resty.metrics")', False),
    ("a function of string", f"function string.count() {LINE} end", "string.count()", None),
    ("a method of strings", f"string.count = function() {LINE} end", "('x'):count()", None),
    ("another function of string", f"function string.count() {LINE} end", "string.rep('x', 2)", False),
    (
        "a function of ngx",
        f"local log = ngx.log ngx.log = function(...) {LINE} return log(...) end",
        "ngx.log(4)",
        None,
    ),
    ("a function of table, by an alias", f"local t = table t.new = function() {LINE} end", "table.new(1, 2)", None),
    ("a function of table, by rawset", f"rawset(table, 'new', function() {LINE} end)", "table.new(1, 2)", None),
    (
        "computed names",
        f"for _, n in ipairs({{ 'count' }}) do string[n] = function() {LINE} end end",
        "string.count()",
        None,
    ),
    ("the metatable of strings", f"getmetatable('').__call = function() {LINE} end", "('x')()", None),
    ("a function of Lua", f"print = function() {LINE} end", "print('x')", True),
    ("a function of Lua, through _G", f"_G[('print'):sub(1)] = function() {LINE} end", "print('x')", None),
    ("nothing used", f"function string.count() {LINE} end", "do return end string.count()", False),
    (
        "a function that loads what it gets",
        "function run(name) require(name).log() end",
        "run('resty.' .. ngx.var.x)",
        None,
    ),
    ("a condition of init_by_lua", "on = false", f"if on then {LINE} end", None),
    ("a global that a local elsewhere hides", MODULE, "do local metrics end metrics.counter('a', 'b')", None),
    ("what cannot be followed", f"{MODULE} then", "metrics.log()", None),
    ("what cannot be followed, of others", "x = then", "x.log()", False),
]


@pytest.mark.parametrize(("name", "before", "code", "counts"), BEFORE, ids=[one[0] for one in BEFORE])
def test_what_init_by_lua_leaves_behind(name: str, before: str, code: str, counts: bool | None) -> None:
    assert effect(code, before).counts is counts
    assert bool(effect(code, before).doubt) is (counts is None)


def test_a_module_that_init_by_lua_loads_concerns_the_hooks_that_use_it() -> None:
    before = 'log = require "my.log" other = 1'
    assert effect("log.run()", before).reach.modules == {"my.log"}
    assert effect("local x = 1", before).reach.modules == set()


CONDITIONS = st.sampled_from(
    [
        "true",
        "false",
        "x",
        "not x",
        "m",
        "nil",
        "o and m",
        "false or x",
        "m ~= nil",
        "nil == m",
        "type(m) == 'table'",
        "x == true",
        "type(f) ~= 'function'",
        "not (x == nil)",
    ]
)
LEAVES = st.sampled_from(
    [
        "m.log()", "o.log()", "log()", "pcall(m.log)", "f()", "x = not x", "m = o", "m, o = o, m", "log = o.log",
        "do return end", "error('x')", "local m = o m.log()", "pcall(f)", "g(m)", "g(o)", "local _ = x and m.log()",
        "log = x and m.log or o.log", "function f() m.log() end", "pcall(error, 'x')",
        "if y then m.log() end", "y = true", "y = 1 == 2", "t.f = function() y = true end", "t.f = log",
        "if t.f then t.f() end",
        "t.f = function() log() end", "log = m.log", "local s = [[m.log() resty.metrics]]", "z = y",
        "if z then f() end",
        "local _, e = pcall(error, m.log) e()", "a, b, c = log, a, b", "if c then c() end", "f = c or f",
        "table.insert(t, f)", "for _, g in ipairs(t) do g() end",
    ]
)  # fmt: skip


def function_of(block: str) -> str:
    """Without calls of itself, which LuaJIT might follow for ever."""
    return f"f = function() {block.replace('pcall(f)', 'g(m)').replace('f()', 'g(o)')} end"


def nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    block = st.lists(inner, max_size=3).map(" ; ".join)
    return st.one_of(
        st.builds("do {} end".format, block),
        st.builds("if {} then {} else {} end".format, CONDITIONS, block, block),
        st.builds("if {} then {} elseif {} then {} end".format, CONDITIONS, block, CONDITIONS, block),
        st.builds("for i = 1, N do {} end".format, block),
        st.builds("for i = 1, N do {} ; if {} then break end {} end".format, st.just("x = x"), CONDITIONS, block),
        st.builds("repeat {} until true".format, block),
        st.builds("while {} do {} if true then break end end".format, CONDITIONS, block),
        st.builds("pcall(function() {} end)".format, block),
        st.builds("(function() {} end)()".format, block),
        st.builds(function_of, block),
    )


PROGRAMS = st.lists(st.recursive(LEAVES, nested, max_leaves=12), min_size=1, max_size=5).map(" ; ".join)
BEGIN = """local m, o = require "resty.metrics", require "my.log"
local log, x = m.log, X
local f = function() end
local function g(y) y.log() end
local t, y, z, a, b, c = {}, false
"""


def as_run(code: str, condition: str, count: str) -> str:
    return code.replace("X", condition).replace("N", count)


@settings(max_examples=40, deadline=None)
@given(st.lists(PROGRAMS, min_size=20, max_size=20))
def test_a_certain_answer_is_right_whatever_is_not_known(programs: list[str]) -> None:
    """Each program runs with the unknown condition false and true, and its loops run no time and twice."""
    ways = [(condition, count) for condition in ("false", "true") for count in ("0", "2")]
    seen = counted([as_run(BEGIN + program, *way) for program in programs for way in ways])
    for at, program in enumerate(programs):
        answer = effect(as_run(BEGIN + program, "ngx.var.x", "tonumber(ngx.var.n)")).counts
        results = seen[len(ways) * at : len(ways) * (at + 1)]
        assert answer is None or results == [answer] * len(ways), BEGIN + program
