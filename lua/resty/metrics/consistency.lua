-- Settings that differ from one request to the next: nginx lets a server `set` them, or a `map` depend on the request, but a
-- worker has them for its life, as its first request states them.
--
-- Rules:
-- - Looked for at rare moments: where a request makes a new label set, and at one request a minute.
-- - Said and counted once in a worker's life; then nothing is looked for any more.
-- - Written out, not in a loop: LuaJIT does not compile a path of requests that runs into one.

local rows = require "resty.metrics.rows"

local ngx = ngx
local var = ngx.var

local PERIOD_TICKS = 60
local SHOWN_BYTES = 100  -- of a value, which may come from a client

local _M = { next_tick = 0 }

local fault  -- nil: nothing is looked for
local socket, name, buckets, labels, upstreams, peer

local function shown(value)
    return '"' .. value:sub(1, SHOWN_BYTES):gsub("[^\32-\126]", "?") .. '"'
end

local function differ(variable, value, first)
    local report = fault
    fault = nil
    report("settings_per_request", "$" .. variable .. " is " .. shown(value) .. " for a request to server "
        .. shown(var.server_name or "") .. ", but was " .. shown(first) .. " for the first one of this worker, which "
        .. "decides for all. State it once in http{}, the same for every request; for other labels or buckets in a server or "
        .. "location use a scope (docs/labels.md)")
end

-- Remembers what the first request states. report(reason, text): says what is wrong. To be called in a request.
function _M.remember(report)
    fault = report
    socket, name = var.resty_metrics_socket or "", var.resty_metrics_nginx or ""
    buckets, labels = var.resty_metrics_buckets or "", var.resty_metrics_labels or ""
    upstreams, peer = var.resty_metrics_upstreams or "", var.resty_metrics_upstream_peer or ""
end

-- Compares what the request at hand states.
function _M.check()
    _M.next_tick = rows.tick + PERIOD_TICKS
    if not fault then
        return
    elseif (var.resty_metrics_socket or "") ~= socket then
        differ("resty_metrics_socket", var.resty_metrics_socket or "", socket)
    elseif (var.resty_metrics_nginx or "") ~= name then
        differ("resty_metrics_nginx", var.resty_metrics_nginx or "", name)
    elseif (var.resty_metrics_buckets or "") ~= buckets then
        differ("resty_metrics_buckets", var.resty_metrics_buckets or "", buckets)
    elseif (var.resty_metrics_labels or "") ~= labels then
        differ("resty_metrics_labels", var.resty_metrics_labels or "", labels)
    elseif (var.resty_metrics_upstreams or "") ~= upstreams then
        differ("resty_metrics_upstreams", var.resty_metrics_upstreams or "", upstreams)
    elseif (var.resty_metrics_upstream_peer or "") ~= peer then
        differ("resty_metrics_upstream_peer", var.resty_metrics_upstream_peer or "", peer)
    end
end

return _M
