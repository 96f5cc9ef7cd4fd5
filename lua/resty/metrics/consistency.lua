-- Settings that differ from one request to the next: nginx lets a server `set` them, or a `map` depend on the request, but a
-- worker has them for its life, as its first request states them.
--
-- Rules:
-- - Looked for at rare moments: where a request makes a new label set, and at one request a minute.
-- - Said and counted once in a worker's life; then nothing is looked for any more.
-- - Written out, not in a loop: LuaJIT does not compile a path of requests that runs into one.

local tick = require "resty.metrics.tick"

local ngx = ngx
local var = ngx.var
local concat = table.concat

local PERIOD_TICKS = 60
local SHOWN_BYTES = 100  -- of a value, which may come from a client

local SETTINGS = {
    "resty_metrics_socket", "resty_metrics_nginx", "resty_metrics_buckets", "resty_metrics_labels", "resty_metrics_duration_labels",
    "resty_metrics_upstreams", "resty_metrics_upstream_peer",
}

local _M = { next_tick = 0 }

local fault  -- nil: nothing is looked for
local first = {}  -- what the first request states

local function shown(value)
    return '"' .. value:sub(1, SHOWN_BYTES):gsub("[^\32-\126]", "?") .. '"'
end

-- Says each setting that differs: later ones would not be looked for.
local function differ()
    local report, words = fault, {}
    fault = nil
    for i = 1, #SETTINGS do
        local name = SETTINGS[i]
        local value = var[name] or ""
        if value ~= first[name] then
            words[#words + 1] = "$" .. name .. " is " .. shown(value) .. ", but was " .. shown(first[name])
        end
    end
    report("settings_per_request", "for a request to server " .. shown(var.server_name or "") .. " "
        .. concat(words, "; ") .. " for this worker's first request, whose value it keeps. Set it once in http{}, the same for "
        .. "every request. For other labels or buckets in a server or location, use a scope (docs/labels.md)")
end

-- Remembers what the first request states. report(reason, text): says what is wrong. To be called in a request.
function _M.remember(report)
    fault = report
    for i = 1, #SETTINGS do
        first[SETTINGS[i]] = var[SETTINGS[i]] or ""
    end
end

-- Compares what the request at hand states.
function _M.check()
    _M.next_tick = tick.number + PERIOD_TICKS
    if fault and (
        (var.resty_metrics_socket or "") ~= first.resty_metrics_socket
        or (var.resty_metrics_nginx or "") ~= first.resty_metrics_nginx
        or (var.resty_metrics_buckets or "") ~= first.resty_metrics_buckets
        or (var.resty_metrics_labels or "") ~= first.resty_metrics_labels
        or (var.resty_metrics_duration_labels or "") ~= first.resty_metrics_duration_labels
        or (var.resty_metrics_upstreams or "") ~= first.resty_metrics_upstreams
        or (var.resty_metrics_upstream_peer or "") ~= first.resty_metrics_upstream_peer
    ) then
        differ()
    end
end

return _M
