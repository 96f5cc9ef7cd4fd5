-- Requests that failed, by server, status, origin and reason: see failure.lua.

local clear = require "table.clear"
local failure = require "resty.metrics.failure"
local rows = require "resty.metrics.rows"
local server = require "resty.metrics.server"

local var = ngx.var
local format = string.format
local reason_of, ORIGIN = failure.reason, failure.ORIGIN
local FIRST, mark = rows.FIRST, rows.mark

local family = rows.new({
    name = "nginx_http_failed_requests_total",
    type = "counter",
    help = "Requests that ended with a status of 400 or above, by the side that it came from and the reason.",
    labels = { "server", "status", "origin", "reason" },
    columns = { "value" },
}, rows.FAMILY_ROWS)

local _M = { family = family }

local tree = {}  -- key of a server -> status -> reason -> row

family:set_on_eviction(function()
    clear(tree)
end)

local function cold(key, status, reason)
    server.check(key)
    local row, shared = family:row { server.name(), format("%03d", status), ORIGIN[reason], reason }
    if not shared then
        local by_status = tree[key] or {}
        local by_reason = by_status[status] or {}
        tree[key], by_status[status], by_reason[reason] = by_status, by_reason, row
    end
    return row
end

-- Counts the request at hand. key: its server's, as server.lua makes it; status: 400 or above.
function _M.count(key, status)
    local reason = reason_of(status, var)
    local by_status = tree[key]
    local by_reason = by_status and by_status[status]
    local row = by_reason and by_reason[reason] or cold(key, status, reason)
    row[FIRST] = row[FIRST] + 1
    if row[0] == 0 then
        mark(family, row)
    end
end

return _M
