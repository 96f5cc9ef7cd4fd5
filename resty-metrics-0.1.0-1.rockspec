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
dependencies = { "lua == 5.1" }
build = {
    -- Not "builtin", which takes all of lua/: beside nginx-lua-prometheus our prometheus.lua would be one of two modules
    -- of that name.
    type = "none",
    install = {
        lua = {
            ["resty.metrics"] = "lua/resty/metrics.lua",
            ["resty.metrics.api"] = "lua/resty/metrics/api.lua",
            ["resty.metrics.attempts"] = "lua/resty/metrics/attempts.lua",
            ["resty.metrics.buckets"] = "lua/resty/metrics/buckets.lua",
            ["resty.metrics.collector_page"] = "lua/resty/metrics/collector_page.lua",
            ["resty.metrics.complaint"] = "lua/resty/metrics/complaint.lua",
            ["resty.metrics.counters"] = "lua/resty/metrics/counters.lua",
            ["resty.metrics.cycle"] = "lua/resty/metrics/cycle.lua",
            ["resty.metrics.datagram"] = "lua/resty/metrics/datagram.lua",
            ["resty.metrics.decode"] = "lua/resty/metrics/decode.lua",
            ["resty.metrics.definition"] = "lua/resty/metrics/definition.lua",
            ["resty.metrics.deletion"] = "lua/resty/metrics/deletion.lua",
            ["resty.metrics.encode"] = "lua/resty/metrics/encode.lua",
            ["resty.metrics.error_log"] = "lua/resty/metrics/error_log.lua",
            ["resty.metrics.flush"] = "lua/resty/metrics/flush.lua",
            ["resty.metrics.gauge_store"] = "lua/resty/metrics/gauge_store.lua",
            ["resty.metrics.gauges"] = "lua/resty/metrics/gauges.lua",
            ["resty.metrics.head"] = "lua/resty/metrics/head.lua",
            ["resty.metrics.heartbeat"] = "lua/resty/metrics/heartbeat.lua",
            ["resty.metrics.holdings"] = "lua/resty/metrics/holdings.lua",
            ["resty.metrics.hook"] = "lua/resty/metrics/hook.lua",
            ["resty.metrics.inheritance"] = "lua/resty/metrics/inheritance.lua",
            ["resty.metrics.lag"] = "lua/resty/metrics/lag.lua",
            ["resty.metrics.link"] = "lua/resty/metrics/link.lua",
            ["resty.metrics.load"] = "lua/resty/metrics/load.lua",
            ["resty.metrics.metric"] = "lua/resty/metrics/metric.lua",
            ["resty.metrics.off"] = "lua/resty/metrics/off.lua",
            ["resty.metrics.process"] = "lua/resty/metrics/process.lua",
            ["resty.metrics.requests"] = "lua/resty/metrics/requests.lua",
            ["resty.metrics.rows"] = "lua/resty/metrics/rows.lua",
            ["resty.metrics.scope"] = "lua/resty/metrics/scope.lua",
            ["resty.metrics.scopes"] = "lua/resty/metrics/scopes.lua",
            ["resty.metrics.settings"] = "lua/resty/metrics/settings.lua",
            ["resty.metrics.spool"] = "lua/resty/metrics/spool.lua",
            ["resty.metrics.status_page"] = "lua/resty/metrics/status_page.lua",
            ["resty.metrics.stream"] = "lua/resty/metrics/stream.lua",
            ["resty.metrics.transport"] = "lua/resty/metrics/transport.lua",
            ["resty.metrics.tree"] = "lua/resty/metrics/tree.lua",
            ["resty.metrics.upgraded"] = "lua/resty/metrics/upgraded.lua",
            ["resty.metrics.upstreams"] = "lua/resty/metrics/upstreams.lua",
            ["resty.metrics.worker"] = "lua/resty/metrics/worker.lua",
        },
    },
}
