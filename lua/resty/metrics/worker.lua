-- The life of a worker: the timer, the flush, what it inherits, and how it goes away.
--
-- Rules:
-- - Everything here begins on first use *in the worker*: a module loaded by the master is inherited by all workers.
-- - A slice (cut one batch, send it) holds the event loop for at most SLICE_SECONDS, then requests get their turn.
-- - A tick sends what is dirty, once: what gets dirty meanwhile waits for the next, or under load no tick would end.
-- - Nothing throws into nginx: a tick is a pcall, and an error is said once and counted.
-- - Going away: on premature, flush and wait for acks; requests that end later start a drainer; a finalizer sends what
--   is left when the Lua machine is closed, and what is not acked even then goes into the spool.

local ffi = require "ffi"
local counters = require "resty.metrics.counters"
local datagram = require "resty.metrics.datagram"
local error_log = require "resty.metrics.error_log"
local heartbeat = require "resty.metrics.heartbeat"
local link_of = require "resty.metrics.link"
local process = require "resty.metrics.process"
local requests = require "resty.metrics.requests"
local rows = require "resty.metrics.rows"
local spool = require "resty.metrics.spool"
local stream_of = require "resty.metrics.stream"

local ngx = ngx
local log, ERR = error_log.write, ngx.ERR
local concat = table.concat
local monotonic = process.monotonic

local TICK_SECONDS = 1
local TICK_WORK_SECONDS = 0.9      -- a tick ends before the next begins
local SLICE_SECONDS = 0.0005       -- when a cut ends early; what follows (a copy, a send) fits in the rest of 1 ms
local YIELD_SECONDS = 0.001        -- sleep(0) does not let requests in
local AGAIN_SECONDS = 0.005
local ACK_WAITS = 4                -- times 5 ms that a tick waits for the acks of what it sent
local PREMATURE_SECONDS = 1
local FINALIZER_SECONDS = 0.3      -- the master kills soon after TERM
local FAMILY_ROWS = 10000
local INHERIT_BODIES = 16          -- per tick

local _M = { started = false, exiting = false, draining = false }

local families, family_by_shape = {}, {}
local streams, stream_by_id = {}, {}
local own, link, settings
local tick_number, busy = 0, false
local drained = false  -- in this tick all that was dirty has been cut
local first_tick_due = 0
local cut_limit = datagram.MAX_BYTES
local worker_label = "0"
local said_error

local function fault(reason, text)
    counters.add("faults", reason)
    if said_error ~= reason then
        said_error = reason
        log(ERR, "resty-metrics: ", text)
    end
end

_M.fault = fault

local function shape_key(shape)
    return concat({ shape.name, concat(shape.labels, "\1"), concat(shape.bounds or {}, "\1"),
        concat(shape.columns, "\1") }, "\2")
end

-- The family of a shape, made where there is none: an inherited row may have buckets of before the reload.
local function family_of(shape)
    local key = shape_key(shape)
    local family = family_by_shape[key]
    if not family then
        family = rows.new(shape, FAMILY_ROWS, _M.started)
        family_by_shape[key] = family
        families[#families + 1] = family
    end
    return family
end

local function hold_stream(stream)
    streams[#streams + 1] = stream
    stream_by_id[stream.id] = stream
end

local function forget_stream(stream)
    stream_by_id[stream.id] = nil
    for i = 1, #streams do
        if streams[i] == stream then
            table.remove(streams, i)
            return
        end
    end
end

-- answers ------------------------------------------------------------------------------------------------------------

local function dropped(stream, answer)
    local batch = stream.batches[answer.sequence]
    counters.add("lost", answer.reason, batch and batch.rows or 0)
end

local function on_answer(answer, now)
    local stream = stream_by_id[answer.stream]
    if not stream then
        return
    end
    link:heard(answer)
    local of_batch = answer.kind == datagram.KIND.batch
    if answer.verdict ~= "ack" then
        counters.add("answers", answer.reason)
    end
    if answer.verdict == "drop" and of_batch then
        dropped(stream, answer)
    end
    stream:acked(answer.committed, tick_number)
    if answer.verdict == "hold" then
        stream:hold(now)
    end
end

local function read_answers(now)
    if not link.transport then
        return
    end
    local bytes, length = link.transport:receive()
    while bytes do
        local answer = datagram.read_answer(bytes, length)
        if answer then
            on_answer(answer, now)
        end
        bytes, length = link.transport:receive()
    end
end

-- sending ------------------------------------------------------------------------------------------------------------

local function stall_all(now)
    for i = 1, #streams do
        if streams[i]:unacked() > 0 then
            streams[i]:stall(now)
        end
    end
end

-- A new line: the oldest of each stream may go at once.
local function opened(now)
    if link:is_open() then
        return true
    elseif not link:open(now) then
        return false
    end
    for i = 1, #streams do
        streams[i]:retry_now()
    end
    return true
end

local function too_large(stream, sequence)
    local batch = sequence > stream.sent and stream:take_back()
    if not batch then
        fault("too_large", "a batch that was sent before is too large for the socket now: is net.core.wmem_default smaller?")
        stream:stall(monotonic())
        return
    end
    datagram.absorb(datagram.body(batch), family_of)
    drained = false
    cut_limit = math.max(datagram.MIN_BYTES, math.floor(cut_limit / 2))
end

-- Sends what is due of one stream. Returns "done", "again" or "broken".
local function pump(stream, now)
    while true do
        local batch, sequence = stream:due(now)
        if not batch then
            return "done"
        end
        datagram.set_base(batch, stream.base)
        local result = link:send(batch, tick_number)
        if result == "sent" then
            stream:was_sent(sequence, now, tick_number)
        elseif result == "too_large" then
            too_large(stream, sequence)
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
    for i = 1, #streams do
        local result = pump(streams[i], now)
        if result ~= "done" then
            return result
        end
    end
    return "done"
end

local function any_dirty()
    for i = 1, #families do
        if families[i]:dirty() > 0 then
            return true
        end
    end
    return false
end

-- The accounts of this worker become rows, where there is reason to send anything.
local function settle_accounts()
    if requests.ended[0] > 0 then
        counters.add("ended", heartbeat.master_label(), requests.ended[0])
        requests.ended[0] = 0
    end
    local lost = spool.take_lost()
    if lost > 0 then
        counters.add("lost", "spool_full", lost)
    end
    for i = 1, #families do
        if families[i].overflowed > 0 then
            counters.add("overflow", families[i].shape.name, families[i].overflowed)
            families[i].overflowed = 0
        end
    end
    if any_dirty() or counters.waiting() then
        counters.flush(worker_label)
    end
end

local function never()
    return false
end

local function cut(slice_ends)
    local out_of_time = slice_ends and function() return monotonic() > slice_ends end or never
    local batch = datagram.batch(families, own, own.next, own.base, cut_limit, out_of_time)
    if batch then
        own:push(batch)
        drained = not any_dirty()
    end
    return batch
end

-- One slice: answers are read, what is due is sent, then at most one batch is cut and sent.
-- Returns "idle" (nothing left to do), "more", "again" or "broken".
local function slice(limited)
    local began = process.thread_cpu()
    local now = monotonic()
    read_answers(now)
    local result = pump_all(now)
    if result == "done" then
        if not drained and own:may_cut() and cut(limited and now + SLICE_SECONDS) then
            result = pump(own, now)
            if result == "done" then
                result = drained and "idle" or "more"
            end
        else
            result = "idle"
        end
    end
    counters.add("flush", worker_label, process.thread_cpu() - began)
    return result
end

local function unacked()
    local batches, bytes = 0, 0
    for i = 1, #streams do
        batches = batches + streams[i]:unacked()
        bytes = bytes + streams[i].bytes
    end
    return batches, bytes
end

_M.unacked = unacked

-- Slices until nothing is left to do, the line is broken, or time is over.
local function flush(until_time)
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

-- After a flush: most acks are here within milliseconds, and with them what waits behind a stalled batch may go.
local function await_acks(until_time)
    local waits = 0
    while unacked() > 0 and waits < ACK_WAITS and monotonic() < until_time do
        ngx.sleep(AGAIN_SECONDS)
        waits = waits + 1
        local before = unacked()
        read_answers(monotonic())
        if unacked() < before and flush(until_time) == "broken" then
            return
        end
    end
end

-- inheriting ---------------------------------------------------------------------------------------------------------

local function inherit_rows()
    for _ = 1, INHERIT_BODIES do
        local body = spool.take_rows()
        if not body then
            return
        end
        datagram.absorb(body, family_of)
        ngx.sleep(YIELD_SECONDS)  -- a full body is as long as a slice
    end
end

local function inherit_stream()
    local id, batches = spool.take_stream()
    if not id or #batches == 0 then
        return
    end
    local header = datagram.read_header(batches[1][1])
    local stream = stream_of.new(id, header.birth, header.sequence)
    for i = 1, #batches do
        stream:push(datagram.thaw(batches[i][1], batches[i][2]))
    end
    stream.sent = stream.next - 1
    stream.inherited = true
    stream.progress_tick = tick_number
    hold_stream(stream)
end

-- Streams of the dead whose last batch is acked end with a bye.
local function release_inherited()
    for i = #streams, 1, -1 do
        local stream = streams[i]
        if stream ~= own and stream:unacked() == 0 then
            if link:is_open() then
                link:send(datagram.bye(stream, stream.next - 1), tick_number)
            end
            forget_stream(stream)
        end
    end
end

-- the tick -----------------------------------------------------------------------------------------------------------

local function check_overdue(now)
    if link:close_if_overdue(tick_number) then
        stall_all(now)
        return
    end
    for i = 1, #streams do
        if streams[i]:overdue(tick_number) then
            streams[i]:stall(now)
            streams[i]:retry_now()
        end
    end
end

local function send_heartbeat(now)
    local batches, bytes = unacked()
    local hurry = batches > 0 or link.unanswered_tick ~= nil
    if heartbeat.due(tick_number, hurry) and opened(now) then
        local beat = heartbeat.make(own, batches, bytes, families[1].count, tick_number)
        if link:send(beat, tick_number) == "broken" then
            stall_all(now)
        end
    end
end

local function work()
    local now = monotonic()
    local ends = now + TICK_WORK_SECONDS
    read_answers(now)
    check_overdue(now)
    inherit_rows()
    if own.state == "flowing" and link:is_open() then
        inherit_stream()
    end
    drained = false
    settle_accounts()
    send_heartbeat(now)
    flush(ends)
    await_acks(ends)
    release_inherited()
end

-- A tick that finds the one before still at work leaves it alone.
local function guarded(action)
    if busy then
        return false
    end
    busy = true
    local ok, err = pcall(action)
    busy = false
    if not ok then
        fault("internal", "an error in the module itself, please report it: " .. tostring(err))
    end
    return true
end

-- going away ---------------------------------------------------------------------------------------------------------

local function last_flush()
    local ends = monotonic() + PREMATURE_SECONDS
    repeat
        drained = false
        settle_accounts()
        if flush(ends) == "broken" then
            return
        end
        await_acks(ends)
    until (unacked() == 0 and not any_dirty()) or own.state ~= "flowing" or monotonic() > ends
end

local function drain()
    local patience = monotonic() + PREMATURE_SECONDS
    while not guarded(last_flush) and monotonic() < patience do
        ngx.sleep(AGAIN_SECONDS)
    end
    _M.draining = false
end

-- A request ended after the worker was told to go, when no timer but timer.at(0) runs any more.
function _M.start_drainer()
    _M.draining = true
    if not ngx.timer.at(0, drain) then
        _M.draining = false  -- the finalizer will do it
    end
end

-- Sends a stream's name and batches to the spool: those that were sent. Those that never were give their rows back.
local function spool_stream(stream)
    local batch = stream:take_back()
    while batch do
        datagram.absorb(datagram.body(batch), family_of)
        batch = stream:take_back()
    end
    local batches = {}
    for sequence = stream.base, stream.next - 1 do
        local sent = stream.batches[sequence]
        datagram.set_base(sent, stream.base)
        batches[#batches + 1] = { ffi.string(sent.bytes, sent.length), sent.rows }
    end
    if #batches > 0 then
        spool.put_stream(stream.id, batches)
    end
end

local function spool_all()
    for i = 1, #streams do
        spool_stream(streams[i])
    end
    local batch = datagram.batch(families, own, 1, 1, datagram.MAX_BYTES, never)
    while batch do
        spool.put_rows(datagram.body(batch), batch.rows)
        batch = datagram.batch(families, own, 1, 1, datagram.MAX_BYTES, never)
    end
end

local function say_goodbye()
    for i = 1, #streams do
        if streams[i]:unacked() == 0 and link:is_open() then
            link:send(datagram.bye(streams[i], streams[i].next - 1), tick_number)
        end
    end
end

-- Runs when the Lua machine is closed: nothing else of nginx happens meanwhile, so it may block, but only so long.
local function finish()
    local ends = monotonic() + FINALIZER_SECONDS
    drained = false
    settle_accounts()
    if unacked() == 0 and not any_dirty() then
        return say_goodbye()
    end
    for i = 1, #streams do
        streams[i]:retry_now()
    end
    repeat
        local result = slice(false)
        if result == "again" or (result == "idle" and unacked() > 0) then
            link.transport:wait(AGAIN_SECONDS * 1000)
        end
    until result == "broken" or (result == "idle" and unacked() == 0 and not any_dirty()) or monotonic() > ends
    say_goodbye()
    spool_all()
end

-- starting -----------------------------------------------------------------------------------------------------------

-- With lua_code_cache off the first request's machine began to count before anybody could know, and its timer keeps it.
local function retired()
    if not _M.retired and process.marked(process.CODE_CACHE_MARK) then
        _M.retired = true
        pcall(finish)
    end
    return _M.retired
end

local function on_tick(premature)
    if retired() then
        return
    end
    if premature then
        _M.exiting, _M.draining = true, true
        return drain()
    end
    tick_number = tick_number + 1
    guarded(work)
end

local function on_first_tick(premature)
    if _M.timer_running then
        return  -- this one came so late that another took its place
    end
    if not premature then
        local ok, err = ngx.timer.every(TICK_SECONDS, on_tick)
        _M.timer_running = ok and true or false
        if not ok then
            _M.exiting = ngx.worker.exiting()
            if not _M.exiting then
                fault("timer", "no timer could be had (" .. tostring(err) .. "), the next request tries again; "
                    .. "see lua_max_pending_timers and lua_max_running_timers")
            end
        end
    end
    on_tick(premature)
end

-- Starts the timer, later in the second for each worker: the collector's queue holds ten datagrams.
-- A request may ask again until the first tick has come: ngx_lua drops a timer that expires while as many run as
-- lua_max_running_timers allows.
function _M.start_timer()
    local now = monotonic()
    if now < first_tick_due then
        return
    end
    local share = TICK_SECONDS * (ngx.worker.id() or 0) / (ngx.worker.count() or 1)
    if ngx.timer.at(share, on_first_tick) then
        first_tick_due = now + share + TICK_SECONDS
    else
        _M.exiting = ngx.worker.exiting()
    end
end

local function arm_finalizer()
    local sentinel = newproxy(true)
    getmetatable(sentinel).__gc = function()
        error_log.close()
        if process.pid() == _M.pid and not _M.retired then
            pcall(finish)
        end
    end
    _M.sentinel = sentinel
end

-- chosen: as settings.read gives it. Returns true, or nil and why.
function _M.start(chosen)
    local id, err = process.random(16)
    if not id then
        return nil, err
    end
    settings = chosen
    worker_label = tostring(ngx.worker.id() or 0)
    link = link_of.new(settings.socket)
    own = stream_of.new(id, process.wall_ms(), 1)
    hold_stream(own)
    requests.use(family_of(requests.shape(settings.bounds)))
    for i = 1, #counters.list do
        local family = counters.list[i]
        families[#families + 1] = family
        family_by_shape[shape_key(family.shape)] = family
    end
    spool.open()
    _M.pid = process.pid()
    arm_finalizer()
    _M.started = true
    _M.start_timer()
    return true
end

return _M
