-- Wrong use of the user's own metrics: counted by reason, and in the error log once for each metric and reason.

local counters = require "resty.metrics.counters"
local definition = require "resty.metrics.definition"
local error_log = require "resty.metrics.error_log"

local ngx = ngx
local type = type

local MOST_REPORTED = 100  -- lines in the error log, in a worker's life
local MAX_TEXT_BYTES = 512

local _M = {}

local reported, reported_count = {}, 0

-- What the user gave may be any bytes: in the log it is one line of printable ASCII, which no reader of logs stumbles over.
local function printable(text, most)
    return (text:sub(1, most):gsub("[^\32-\126]", "?"))
end

-- reason: "definition", "labels", "value", "use" or "cap". Returns nil and the text.
function _M.refuse(reason, name, text)
    counters.add("faults", "metric_" .. reason)
    name = type(name) == "string" and printable(name, definition.MAX_NAME_BYTES) or "?"
    local key = reason .. " " .. name
    if not reported[key] and reported_count < MOST_REPORTED then
        reported[key] = true
        reported_count = reported_count + 1
        error_log.write(ngx.ERR, "resty-metrics: metric \"", name, "\": ", printable(text, MAX_TEXT_BYTES),
            ". Logged once, and counted in resty_metrics_worker_errors_total")
    end
    return nil, text
end

return _M
