-- Wrong use of the user's own metrics: counted by reason, and in the error log once for each metric and reason.

local counters = require "resty.metrics.counters"
local error_log = require "resty.metrics.error_log"

local ngx = ngx
local type = type

local MOST_SAID = 100          -- lines in the error log, in a worker's life
local MAX_NAME_BYTES = 128

local _M = {}

local said, said_count = {}, 0

-- reason: "definition", "labels", "value", "use" or "cap". Returns nil and the text.
function _M.refuse(reason, name, text)
    counters.add("faults", "metric_" .. reason)
    name = type(name) == "string" and name:sub(1, MAX_NAME_BYTES):gsub("%c", "?") or "?"
    local key = reason .. " " .. name
    if not said[key] and said_count < MOST_SAID then
        said[key] = true
        said_count = said_count + 1
        error_log.write(ngx.ERR, "resty-metrics: metric \"", name, "\": ", text, "; this is said once, and counted in ",
            "resty_metrics_worker_errors_total")
    end
    return nil, text
end

return _M
