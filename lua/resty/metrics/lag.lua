-- How late the worker's event loop comes to what is due: one observation for each tick, by how much it came later than
-- a second after the one before. Pure: time is the caller's.
--
-- Rules: an observation makes no row dirty, or an idle worker would keep itself busy with its own accounts; flush()
-- moves them into the row when there is something to send anyway, or once a minute.

local buckets = require "resty.metrics.buckets"
local rows = require "resty.metrics.rows"
local tick = require "resty.metrics.tick"

local floor, max = math.floor, math.max

local MICROSECONDS = 1e6
local OBSERVATIONS_MOST = 60  -- that wait for something else to be sent

local family = rows.new({
    name = "resty_metrics_worker_event_loop_lag_seconds",
    type = "histogram",
    help = "How much later than due a worker's timer ran, once a second: what blocks the event loop.",
    labels = { "worker" },
    bounds = { 1000, 2000, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000 },
    scale = MICROSECONDS,
    columns = { "sum" },
}, rows.FEW_ROWS)

local _M = { family = family }

local slots, search = buckets.of(family.shape.bounds)
local last
local waiting = 0
local numbers = {}
for i = 1, family.width do
    numbers[i] = 0
end

-- now: seconds of a monotonic clock, at the beginning of a tick
function _M.observe(now)
    if last then
        local lag = max(0, floor((now - last - tick.SECONDS) * MICROSECONDS + 0.5))
        local slot = (lag <= buckets.LOOKED_UP and slots[lag] or search(lag)) - rows.FIRST + 1
        numbers[slot] = numbers[slot] + 1
        numbers[#numbers] = numbers[#numbers] + lag
        waiting = waiting + 1
    end
    last = now
end

-- Whether there is enough to be worth a batch of its own.
function _M.waiting()
    return waiting >= OBSERVATIONS_MOST
end

-- Moves what was observed into the row of this worker.
function _M.flush(worker)
    if waiting == 0 then
        return
    end
    family:add({ worker }, numbers)
    waiting = 0
    for i = 1, #numbers do
        numbers[i] = 0
    end
end

return _M
