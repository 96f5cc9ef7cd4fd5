-- Connections that were upgraded (status 101, as WebSocket): how long they lived. Minutes and hours, so not in the
-- buckets of requests.

local buckets = require "resty.metrics.buckets"
local rows = require "resty.metrics.rows"

local family = rows.new({
    name = "nginx_http_upgraded_connection_duration_seconds",
    type = "histogram",
    help = "Lifetime of connections that were upgraded to another protocol (status 101), by server.",
    labels = { "server" },
    bounds = { 1000, 10000, 60000, 300000, 900000, 3600000, 14400000, 86400000 },  -- milliseconds: 1 s to a day
    scale = 1000,
    columns = { "sum" },
}, rows.FEW_ROWS)

local _M = { family = family }

local _, search = buckets.of(family.shape.bounds)
local sum_slot = rows.FIRST + #family.shape.bounds + 1

function _M.observe(server, ms)
    local row, slot = family:row({ server }), search(ms)
    row[slot] = row[slot] + 1
    row[sum_slot] = row[sum_slot] + ms
    family:mark(row)
end

return _M
