-- The timer that makes a worker's ticks: begun when it can be had, a second after another for as long as the worker lives.

local shortage = require "resty.metrics.shortage"
local tick = require "resty.metrics.tick"
local monotonic = require("resty.metrics.process").monotonic

local ngx = ngx
local pcall, tostring = pcall, tostring

local MISSED_MOST = 2

local _M = {}

local timers = shortage.new({
    is = "has no timer", meanwhile = "Requests are still counted; their counts are sent later", over = "has a timer again",
}, "timer")

local running = false
local first_tick_due = 0
local missed = 0  -- first ticks that did not come, one after another; a busy event loop may be late once

local function none(on_change, err)
    local exiting = ngx.worker.exiting()
    on_change(running, exiting)
    if not exiting then
        timers:failed(tostring(err) .. " (see lua_max_pending_timers and lua_max_running_timers)")
    end
end

local function on_first_tick(premature, on_tick, on_change)
    if running then
        return  -- this one came so late that another took its place
    end
    missed, first_tick_due = 0, 0
    if not premature then
        local ok, err = ngx.timer.every(tick.SECONDS, on_tick)
        running = ok and true or false
        if ok then
            on_change(running, false)
            timers:over()
        else
            none(on_change, err)
        end
    end
    on_tick(premature)
end

-- Starts the timer, later in the second for each worker: the collector's queue holds ten datagrams.
-- A request may ask again until the first tick has come: ngx_lua drops a timer that expires while as many run as
-- lua_max_running_timers allows, each time with a line of its own in the error log. on_tick(premature);
-- on_change(running, exiting): is told whether the timer runs, and whether the worker ends.
function _M.start(on_tick, on_change)
    local now = monotonic()
    if now < first_tick_due or not timers:due() then
        return
    elseif first_tick_due > 0 then
        first_tick_due = 0
        missed = missed + 1
        if missed >= MISSED_MOST then
            return none(on_change, "nginx dropped " .. missed .. " timers in a row")
        end
    end
    local share = tick.SECONDS * (ngx.worker.id() or 0) / (ngx.worker.count() or 1)
    local allowed, scheduled, err = pcall(ngx.timer.at, share, on_first_tick, on_tick, on_change)  -- not in exit_worker_by_lua
    if allowed and scheduled then
        first_tick_due = now + share + tick.SECONDS
    else
        none(on_change, allowed and err or scheduled)
    end
end

return _M
