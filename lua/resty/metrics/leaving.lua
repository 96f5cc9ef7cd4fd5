-- A worker that leaves: nginx has told it to end, and it lives on for the connections that it still has.
--
-- Rules:
-- - No timer runs any more but timer.at(0), so there is no beat every five seconds. The collector lets the last one hold, for
--   as long as the process is there; it is sent again when something ends.
-- - At most once a second, as a tick: what ends within a second is sent together.

local flush = require "resty.metrics.flush"
local gauges = require "resty.metrics.gauges"
local holdings = require "resty.metrics.holdings"
local monotonic = require("resty.metrics.process").monotonic
local tick = require "resty.metrics.tick"

local ngx = ngx

local FLUSH_SECONDS = 1

local _M = {}

local next_flush = 0

-- Sends the rows that are dirty and waits for their acks. Returns whether the line holds.
local function flush_rows(ends)
    repeat
        holdings.begin_flush()
        if flush.run(ends) == "broken" then
            return false
        end
        flush.await_acks(ends)
    until holdings.nothing_left() or holdings.own.state ~= "flowing" or monotonic() > ends
    return true
end

-- Sends a beat; another one where a gauge changed meanwhile, or the collector's queue was full.
local function beat(ends)
    repeat
        flush.send_heartbeat(monotonic(), ends, true)
        if gauges.changed then
            ngx.sleep(flush.AGAIN_SECONDS)
        end
    until not gauges.changed or not flush.link:is_open() or monotonic() > ends
end

-- Sends all that this worker has. What is counted meanwhile is sent too: nothing else would start that.
function _M.flush()
    local rest = next_flush - monotonic()
    if rest > 0 then
        ngx.sleep(rest)
    end
    next_flush = monotonic() + tick.SECONDS
    local ends = monotonic() + FLUSH_SECONDS
    repeat
        if not flush_rows(ends) then
            return
        end
        beat(ends)
    until holdings.nothing_left() or holdings.own.state ~= "flowing" or monotonic() > ends
end

return _M
