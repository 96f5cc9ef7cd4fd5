-- The timer that makes a worker's ticks: begun when it can be had, a second after another for as long as the worker lives.

local shortage = require "resty.metrics.shortage"
local monotonic = require("resty.metrics.process").monotonic

local ngx = ngx
local pcall, tostring = pcall, tostring

local TICK_SECONDS = 1
local MISSED_MOST = 2

local _M = { TICK_SECONDS = TICK_SECONDS }

local timers = shortage.new({
    is = "has no timer", meanwhile = "requests are counted, and sent later", over = "has a timer again",
}, "timer")

local first_tick_due = 0
local missed = 0  -- first ticks that did not come, one after another; a busy event loop may be late once

local function none(worker, err)
    worker.exiting = ngx.worker.exiting()
    if not worker.exiting then
        timers:failed(tostring(err) .. " (see lua_max_pending_timers and lua_max_running_timers)")
    end
end

local function on_first_tick(premature, worker, on_tick)
    if worker.timer_running then
        return  -- this one came so late that another took its place
    end
    missed, first_tick_due = 0, 0
    if not premature then
        local ok, err = ngx.timer.every(TICK_SECONDS, on_tick)
        worker.timer_running = ok and true or false
        if ok then
            timers:over()
        else
            none(worker, err)
        end
    end
    on_tick(premature)
end

-- Starts the timer, later in the second for each worker: the collector's queue holds ten datagrams.
-- A request may ask again until the first tick has come: ngx_lua drops a timer that expires while as many run as
-- lua_max_running_timers allows, each time with a line of its own in the error log. worker: its fields timer_running and
-- exiting are set.
function _M.start(worker, on_tick)
    local now = monotonic()
    if now < first_tick_due or not timers:due() then
        return
    elseif first_tick_due > 0 then
        first_tick_due = 0
        missed = missed + 1
        if missed >= MISSED_MOST then
            return none(worker, "nginx dropped " .. missed .. " timers in a row")
        end
    end
    local share = TICK_SECONDS * (ngx.worker.id() or 0) / (ngx.worker.count() or 1)
    local allowed, made, err = pcall(ngx.timer.at, share, on_first_tick, worker, on_tick)  -- not in exit_worker_by_lua
    if allowed and made then
        first_tick_due = now + share + TICK_SECONDS
    else
        none(worker, allowed and err or made)
    end
end

return _M
