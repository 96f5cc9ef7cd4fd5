-- Sending: answers are read, what is due goes out, dirty rows are cut into batches, in slices.
--
-- Rules:
-- - A slice (cut one batch, send it) holds the event loop for at most SLICE_SECONDS, then requests get their turn.
-- - A tick sends what is dirty, once: what gets dirty meanwhile waits for the next, or under load no tick would end.

local counters = require "resty.metrics.counters"
local datagram = require "resty.metrics.datagram"
local fault = require "resty.metrics.fault"
local gauges = require "resty.metrics.gauges"
local heartbeat = require "resty.metrics.heartbeat"
local holdings = require "resty.metrics.holdings"
local link_of = require "resty.metrics.link"
local process = require "resty.metrics.process"
local tick = require "resty.metrics.tick"

local ngx = ngx
local monotonic = process.monotonic

local SLICE_SECONDS = 0.0005       -- when a cut ends early; what follows (a copy, a send) fits in the rest of 1 ms
local YIELD_SECONDS = 0.001        -- sleep(0) does not let requests in
local AGAIN_SECONDS = 0.005
local ACK_WAITS = 4                -- times 5 ms that a tick waits for the acks of what it sent
local ANSWERS_MOST = 512           -- that are read in one go

local _M = { YIELD_SECONDS = YIELD_SECONDS, AGAIN_SECONDS = AGAIN_SECONDS, link = nil }

-- The collector's socket is at this path from now on.
function _M.use_socket(path)
    _M.link = _M.link or link_of.new(path)
    _M.link:redirect(path)
end

local function on_answer(answer, now)
    local sender = holdings.sender(answer.sender)
    if not sender then
        return
    end
    if answer.verdict ~= "ack" then
        counters.add("answers", answer.reason)
    end
    if answer.verdict == "drop" and answer.kind == datagram.KIND.batch then
        local batch = sender.batches[answer.sequence]
        counters.add("lost", answer.reason, batch and batch.rows or 0)
    end
    sender:acked(answer.committed, tick.number)
    if answer.verdict == "hold" then
        sender:hold(now)
    end
    _M.link:heard(answer, holdings.any_held)
end

local function read_answers(now)
    local transport = _M.link.transport
    if not transport then
        return
    end
    for _ = 1, ANSWERS_MOST do
        local bytes, length = transport:receive()
        if not bytes then
            return
        end
        local answer = datagram.read_answer(bytes, length)
        if answer then
            on_answer(answer, now)
        end
    end
end

_M.read_answers = read_answers

local function stall_all(now)
    local senders = holdings.senders
    for i = 1, #senders do
        if senders[i]:unacked() > 0 then
            senders[i]:stall(now)
        end
    end
end

-- The oldest of each sender may go at once.
local function retry_all()
    local senders = holdings.senders
    for i = 1, #senders do
        senders[i]:retry_now()
    end
end

_M.retry_all = retry_all

local function opened(now)
    if _M.link:is_open() then
        return true
    elseif not _M.link:open(now) then
        return false
    end
    retry_all()
    return true
end

local function too_large(sender, sequence)
    local batch = sequence > sender.sent and sender:take_back()
    if not batch then
        fault.report("too_large",
            "a batch that was sent before is too large for the socket now. Raise net.core.wmem_default")
        sender:stall(monotonic())
        return
    end
    holdings.put_back(batch)
    holdings.halve_cut()
end

-- Sends what is due of one sender. Returns "done", "again" or "broken".
local function pump(sender, now)
    while true do
        local batch, sequence = sender:due(now)
        if not batch then
            return "done"
        end
        datagram.set_base(batch, sender.base)
        local result = _M.link:send(batch, tick.number)
        if result == "sent" then
            sender:was_sent(sequence, now, tick.number)
        elseif result == "too_large" then
            too_large(sender, sequence)
        else
            if result == "broken" then
                stall_all(now)
            end
            return result
        end
    end
end

local function pump_all(now)
    if not opened(now) then
        return "broken"
    end
    local senders = holdings.senders
    for i = 1, #senders do
        local result = pump(senders[i], now)
        if result ~= "done" then
            return result
        end
    end
    return "done"
end

-- One slice: answers are read, what is due is sent, then at most one batch is cut and sent.
-- Returns "idle" (nothing left to do), "more", "again" or "broken".
local function slice(limited)
    local began = process.thread_cpu()
    local now, own = monotonic(), holdings.own
    read_answers(now)
    local result = pump_all(now)
    if result == "done" then
        if not holdings.drained and own:may_cut() and holdings.cut(limited and now + SLICE_SECONDS) then
            result = pump(own, now)
            if result == "done" then
                result = holdings.drained and "idle" or "more"
            end
        else
            result = "idle"
        end
    end
    counters.add("flush", holdings.worker, process.thread_cpu() - began)
    return result
end

_M.slice = slice

-- Slices until nothing is left to do, the line is broken, or time is over.
local function run(until_time)
    local result
    repeat
        result = slice(true)
        if result == "more" then
            ngx.sleep(YIELD_SECONDS)
        elseif result == "again" then
            ngx.sleep(AGAIN_SECONDS)
        end
    until result == "idle" or result == "broken" or monotonic() > until_time
    return result
end

_M.run = run

-- After a flush: most acks are here within milliseconds, and with them what waits behind a stalled batch may go.
function _M.await_acks(until_time)
    local waits = 0
    while holdings.unacked() > 0 and waits < ACK_WAITS and monotonic() < until_time do
        ngx.sleep(AGAIN_SECONDS)
        waits = waits + 1
        local before = holdings.unacked()
        read_answers(monotonic())
        if holdings.unacked() < before and run(until_time) == "broken" then
            return
        end
    end
end

-- Opens the line anew, or sends the oldest again, where an answer is overdue.
function _M.check_overdue(now)
    if _M.link:close_if_overdue(tick.number) then
        stall_all(now)
        return
    end
    local senders = holdings.senders
    for i = 1, #senders do
        if senders[i]:overdue(tick.number) then
            senders[i]:stall(now)
            senders[i]:retry_now()
        end
    end
end

-- Sends a part of a beat. A part among several must not be missing: it waits for room, within the tick.
local function send_part(part, several, until_time)
    local result = _M.link:send(part, tick.number)
    while result == "again" and several and monotonic() < until_time do
        ngx.sleep(AGAIN_SECONDS)
        result = _M.link:is_open() and _M.link:send(part, tick.number) or "broken"
    end
    return result
end

-- Each part is made and sent in a slice of its own.
local function send_beat(beat, until_time)
    for i = 1, #beat.parts do
        if i > 1 then
            ngx.sleep(YIELD_SECONDS)
        end
        local result = send_part(beat:part(i), #beat.parts > 1, until_time)
        if result ~= "sent" then
            return result
        end
    end
    return "sent"
end

-- until_time: until when parts wait for room; always: also where none is due
function _M.send_heartbeat(now, until_time, always)
    local batches, bytes = holdings.unacked()
    local hurry = batches > 0 or _M.link.unanswered_tick ~= nil or gauges.changed or always
    if heartbeat.due(tick.number, hurry) and opened(now) then
        gauges.clear_changed()
        local beat = heartbeat.make(holdings.own, batches, bytes, holdings.request_rows(), tick.number)
        local result = send_beat(beat, until_time)
        if result ~= "sent" then
            gauges.mark_changed()
            if result == "broken" then
                stall_all(now)
            end
        end
    end
end

-- All that is dirty, gauges that have changed, and their answers.
function _M.flush_now(until_time)
    local now = monotonic()
    read_answers(now)
    if gauges.changed then
        _M.send_heartbeat(now, until_time)
    end
    run(until_time)
    _M.await_acks(until_time)
    while _M.link.unanswered_tick and monotonic() < until_time do
        ngx.sleep(AGAIN_SECONDS)
        read_answers(monotonic())
    end
end

-- Says that a sender has ended of which nothing is unacked. Returns "sent", "again" or "broken".
function _M.bye(sender)
    if not _M.link:is_open() then
        return "broken"
    end
    local result = _M.link:send(datagram.bye(sender, sender.next - 1), tick.number)
    sender:bye_was_sent(result == "sent")
    return result
end

return _M
