-- The Lua module alone, for LuaRocks: `luarocks make` in this directory. docs/packages.md says how nginx finds it.
-- There is no address that this repository is published at; who publishes the rock writes theirs into source.url.
rockspec_format = "3.0"
package = "resty-metrics"
version = "0.1.0-1"
source = {
    url = "git+https://example.org/resty-metrics.git",
    tag = "v0.1.0",
}
description = {
    summary = "Counts nginx's requests in the worker and sends the sums to the resty-metrics collector.",
    license = "Apache-2.0",
}
dependencies = { "lua == 5.1" }  -- which LuaJIT is
build = {
    -- Not "builtin", which takes all of lua/: the module in lua/compat has the name of nginx-lua-prometheus's.
    type = "command",
    install_command = "mkdir -p '$(LUADIR)' && cp -r lua/resty '$(LUADIR)/'",
}
