"""Hooks behind an init_by_lua that changes what Lua and nginx have: a certain answer is what LuaJIT does."""

from resty_metrics.nginx_config.lua_effect import effect
from support.luajit import counted

CALL = 'require("resty.metrics").log()'
INIT = [
    "",
    f"function string.f() {CALL} end",
    f"local s = string s.f = function() {CALL} end",
    f"_G.f = function() {CALL} end",
    f"f = function() {CALL} end",
    f"local G = _G G.f = function() {CALL} end",
    f"rawset(_G, 'f', function() {CALL} end)",
    f"setmetatable(_G, {{ __index = function() return function() {CALL} end end }})",
    f"local t = {{ string }} t[1].f = function() {CALL} end",
    f"for _, t in ipairs({{ string, table }}) do t.f = function() {CALL} end end",
    f"local function put(t) t.f = function() {CALL} end end put(string) put(table)",
    f"string = {{ f = function() {CALL} end, rep = function() {CALL} end }}",
    f"local old = tostring tostring = function(x) {CALL} return old(x) end",
    f"getmetatable('').__index = function() return function() {CALL} end end",
    f"getmetatable('').__add = function() {CALL} return 1 end",
    f"package.loaded.app = {{ f = function() {CALL} end }}",
    f"package.preload.app = function() return {{ f = function() {CALL} end }} end",
    "local m = require 'resty.metrics' table.f = m.log ngx.f = m.log",
    f"table.f, string.f = function() {CALL} end, function() {CALL} end",
    f"string['f'] = function() {CALL} end",
    f"pcall(function() string.f = function() {CALL} end end)",
    f"local x = string.rep local m = getmetatable('') m.__index.f = function() {CALL} end",
    f"ngx.ctx.f = function() {CALL} end",
    f"debug.setmetatable(nil, {{ __call = function() {CALL} end }})",
    f"coroutine.f = function() {CALL} end f = coroutine.f",
]
HOOKS = [
    "",
    "string.f()",
    "('x'):f()",
    "table.f()",
    "f()",
    "_G.f()",
    "local x = tostring(1)",
    "local x = 'a' + 1",
    "require('app').f()",
    "local x = ('x'):rep(2)",
    "string.rep('x', 2)",
    "local s = string s.f()",
    "for k, v in pairs(string) do if k == 'f' then v() end end",
    "local f = string['f'] if f then f() end",
    "ngx.f()",
    "ngx.ctx.f()",
    "local x x()",
    "do return end f()",
    "pcall(string.f)",
    "local g = f if g then g() end",
    "local k = 'f' string[k]()",
    "local k = ('f'):lower() string[k]()",
    "ngx.log(4, 'resty.metrics')",
    "coroutine.f()",
    "pcall(require, 'app')",
    "local ok, a = pcall(require, 'app') if ok then a.f() end",
]
RESET = (
    "for _, t in ipairs({ string, table, coroutine }) do t.f = nil end "
    "package.loaded.app = nil package.preload.app = nil "
    "debug.setmetatable(nil, nil) getmetatable('').__index = string getmetatable('').__add = nil "
)


def test_a_certain_answer_is_right_behind_init_by_lua() -> None:
    pairs = [(begun, hook) for begun in INIT for hook in HOOKS]
    results = counted([f"{RESET} do {begun} end {hook}" for begun, hook in pairs])
    answers = [effect(hook, begun).counts for begun, hook in pairs]
    wrong = [pair for pair, result, answer in zip(pairs, results, answers, strict=True) if answer not in (None, result)]
    assert wrong == []
    assert sum(results) > 100
    assert sum(answer is not None for answer in answers) > len(pairs) / 3
