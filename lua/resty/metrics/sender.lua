-- One sender's window of frozen batches, and what may be sent of it now. Pure: it decides, worker.lua sends.
--
-- Rules (docs/wire.md, "State chart: worker"):
-- - The window is a queue; the front part has been sent at least once, at most one batch behind it has not.
-- - A batch's bytes never change, but for `base`.
-- - flowing: everything is sent in order. stalled, held: only the oldest, when a retry is due.
-- Time is the caller's monotonic clock, in seconds; ticks are the caller's count of them.

local retry = require "resty.metrics.retry"

local setmetatable = setmetatable
local max, min = math.max, math.min

local WINDOW_BYTES = 4 * 1024 * 1024

local _M = { WINDOW_BYTES = WINDOW_BYTES }
local mt = { __index = _M }

-- id: 16 bytes; birth: milliseconds since the epoch; first: the number of the next batch
function _M.new(id, birth, first)
    return setmetatable({
        id = id,
        birth = birth,
        batches = {},       -- sequence -> batch
        base = first,       -- the oldest not acked
        next = first,       -- the number of the next batch that is cut
        cursor = first,     -- the next one to send
        sent = first - 1,   -- the highest that was ever sent
        bytes = 0,
        state = "flowing",
        backoff = 0,
        retry_at = 0,
        progress_tick = 0,
        instance = nil,     -- the name of its nginx
        inherited = false,  -- it was that of a worker that has gone
        said_bye = false,
    }, mt)
end

-- name: nil for none
function _M.set_instance(self, name)
    self.instance = name
end

-- All that it holds was sent, by a worker that has gone.
function _M.inherit(self, tick)
    self.sent = self.next - 1
    self.inherited = true
    self.progress_tick = tick
end

function _M.bye_was_sent(self, sent)
    self.said_bye = sent
end

function _M.unacked(self)
    return self.next - self.base
end

function _M.full(self)
    return self.bytes >= WINDOW_BYTES
end

-- Only while everything flows, and everything cut before has gone out, is there reason to cut more.
function _M.may_cut(self)
    return self.state == "flowing" and self.cursor == self.next and self.bytes < WINDOW_BYTES
end

function _M.push(self, batch)
    self.batches[self.next] = batch
    self.next = self.next + 1
    self.bytes = self.bytes + batch.length
end

-- The batch to send now, and its number; nil if there is none.
function _M.due(self, now)
    if self.state == "flowing" then
        return self.batches[self.cursor], self.cursor
    elseif now >= self.retry_at then
        return self.batches[self.base], self.base
    end
    return nil
end

local function back_off(self, now)
    self.backoff = retry.next_pause(self.backoff)
    self.retry_at = now + self.backoff
end

function _M.was_sent(self, sequence, now, tick)
    if sequence == self.base then
        self.progress_tick = tick
    end
    self.sent = max(self.sent, sequence)
    if self.state == "flowing" then
        self.cursor = sequence + 1
    else
        back_off(self, now)
    end
end

-- The line is broken or an ack is overdue: from now on only the oldest, slowly.
function _M.stall(self, now)
    if self.state == "flowing" then
        self.state = "stalled"
        self.backoff = 0
    end
    back_off(self, now)
end

-- The line is new: the oldest may go at once.
function _M.retry_now(self)
    self.retry_at = 0
end

function _M.hold(self, now)
    if self.state ~= "held" then
        self.state = "held"
        self.backoff = 0
    end
    back_off(self, now)
end

local function flow(self)
    self.state = "flowing"
    self.backoff = 0
    self.cursor = self.base
end

-- Releases what is committed. Returns whether that was progress.
-- A sender from the spool may have lost its last batches there, when the collector had committed them already: then
-- its marks run ahead of what is held, and everything is released.
function _M.acked(self, committed, tick)
    if self.inherited then
        committed = min(committed, self.sent)
    end
    if committed > self.sent or committed < self.base then
        if self.next == self.base then
            flow(self)
        end
        return false
    end
    for sequence = self.base, committed do
        self.bytes = self.bytes - self.batches[sequence].length
        self.batches[sequence] = nil
    end
    self.base = committed + 1
    self.progress_tick = tick
    if self.state == "flowing" then
        self.cursor = max(self.cursor, self.base)
    else
        flow(self)
    end
    return true
end

-- Nothing was released for longer than an answer takes, though something was sent.
function _M.overdue(self, tick)
    return self.state == "flowing" and self.sent >= self.base and tick - self.progress_tick > retry.OVERDUE_TICKS
end

-- Takes back the last batch if it was never sent, so that its number may be given again.
function _M.take_back(self)
    local last = self.next - 1
    local batch = self.batches[last]
    if not batch or last <= self.sent then
        return nil
    end
    self.batches[last] = nil
    self.next = last
    self.cursor = min(self.cursor, last)
    self.bytes = self.bytes - batch.length
    return batch
end

return _M
