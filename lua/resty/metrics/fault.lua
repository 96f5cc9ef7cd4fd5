-- Errors of this module itself: counted by reason, and in nginx's error log once for each reason.

local counters = require "resty.metrics.counters"
local error_log = require "resty.metrics.error_log"

local ngx = ngx
local pcall, tostring = pcall, tostring

local _M = {}

local reported = {}

function _M.report(reason, text)
    counters.add("faults", reason)
    if not reported[reason] then
        reported[reason] = true
        error_log.write(ngx.ERR, "resty-metrics: ", text)
    end
end

-- An error that a pcall caught.
function _M.report_error(err)
    _M.report("internal", "this is a bug in the Lua module, please report it: " .. tostring(err))
end

-- Runs an action, and reports its error.
function _M.guard(action)
    local ok, err = pcall(action)
    if not ok then
        _M.report_error(err)
    end
end

return _M
