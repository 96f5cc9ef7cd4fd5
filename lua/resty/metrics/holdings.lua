-- What this worker holds: the families with their rows, its own sender, and those it took over from the dead.

local counters = require "resty.metrics.counters"
local datagram = require "resty.metrics.datagram"
local deletion = require "resty.metrics.deletion"
local failures = require "resty.metrics.failures"
local heartbeat = require "resty.metrics.heartbeat"
local lag = require "resty.metrics.lag"
local monotonic = require("resty.metrics.process").monotonic
local requests = require "resty.metrics.requests"
local rows = require "resty.metrics.rows"
local spool = require "resty.metrics.spool"
local upgraded = require "resty.metrics.upgraded"

local concat = table.concat
local floor, max = math.floor, math.max

local _M = {
    families = {},
    senders = {},
    own = nil,          -- the sender of this worker; the first of `senders`
    worker = "0",       -- the value of the label of that name
    drained = false,    -- all that was dirty when the tick began has been cut
    cut_limit = datagram.MAX_BYTES,
}

local family_by_shape, sender_by_id = {}, {}
local inheriting = false

local function shape_key(shape)
    return concat({ shape.name, shape.type, shape.scope or "", shape.custom and "custom" or "", shape.scale or 1,
        concat(shape.labels, "\1"), concat(shape.bounds or {}, "\1"), concat(shape.columns, "\1") }, "\2")
end

local function hold_family(family)
    _M.families[#_M.families + 1] = family
    family_by_shape[shape_key(family.shape)] = family
    return family
end

-- The family of a shape, made where there is none: an inherited row may have buckets of before the reload.
local function family_of(shape)
    return family_by_shape[shape_key(shape)] or hold_family(rows.new(shape, rows.FAMILY_ROWS, inheriting))
end

_M.family_of = family_of

-- The family of a shape that is this worker's own; `prepared` (or nil) is taken where there is none yet. An heir may have
-- made it before, for rows of the dead.
function _M.own_family(shape, prepared)
    local family = family_by_shape[shape_key(shape)]
    if family then
        family:own(shape)
        return family
    end
    return hold_family(prepared or rows.new(shape, rows.FAMILY_ROWS))
end

function _M.hold(sender)
    _M.senders[#_M.senders + 1] = sender
    sender_by_id[sender.id] = sender
end

function _M.forget(sender)
    sender_by_id[sender.id] = nil
    for i = 1, #_M.senders do
        if _M.senders[i] == sender then
            table.remove(_M.senders, i)
            return
        end
    end
end

function _M.sender(id)
    return sender_by_id[id]
end

-- Begin, or begin anew: own is this worker's sender, and the only one.
function _M.start(own, worker)
    for i = #_M.senders, 1, -1 do
        _M.forget(_M.senders[i])
    end
    _M.own, _M.worker = own, worker
    _M.hold(own)
    _M.own_family(lag.family.shape, lag.family)
    _M.own_family(upgraded.family.shape, upgraded.family)
    _M.own_family(failures.family.shape, failures.family)
    for i = 1, #counters.list do
        _M.own_family(counters.list[i].shape, counters.list[i])
    end
    inheriting = true
end

-- Rows of requests that this worker holds.
function _M.request_rows()
    local count = 0
    for i = 1, #_M.families do
        local family = _M.families[i]
        if family.shape.name == requests.NAME then
            count = count + family:live()
        end
    end
    return count
end

-- Batches and bytes that wait for an answer.
function _M.unacked()
    local batches, bytes = 0, 0
    for i = 1, #_M.senders do
        batches = batches + _M.senders[i]:unacked()
        bytes = bytes + _M.senders[i].bytes
    end
    return batches, bytes
end

function _M.any_held()
    for i = 1, #_M.senders do
        if _M.senders[i].state == "held" then
            return true
        end
    end
    return false
end

local function any_dirty()
    for i = 1, #_M.families do
        if _M.families[i]:dirty() > 0 or deletion.pending(_M.families[i]) then
            return true
        end
    end
    return false
end

_M.any_dirty = any_dirty

function _M.nothing_left()
    return _M.unacked() == 0 and not any_dirty()
end

-- All that is dirty from here on is to be cut. The accounts of this worker become rows, where there is reason to send
-- anything.
function _M.begin_flush()
    _M.drained = false
    local ended = requests.take_ended()
    if ended > 0 then
        counters.add("ended", heartbeat.master_label(), ended)
    end
    local lost = spool.take_lost()
    if lost > 0 then
        counters.add("lost", "spool_full", lost)
    end
    for i = 1, #_M.families do
        local family = _M.families[i]
        local overflowed = family:take_overflowed()
        if overflowed > 0 then
            counters.add("overflow", family.shape.name, overflowed)
        end
    end
    if any_dirty() or counters.waiting() or lag.waiting() then
        counters.flush(_M.worker)
        lag.flush(_M.worker)
    end
end

local function never()
    return false
end

-- Freezes dirty rows into the next batch of our sender; ends early at slice_ends (nil: not). nil: nothing is dirty.
function _M.cut(slice_ends)
    local own = _M.own
    local out_of_time = slice_ends and function() return monotonic() > slice_ends end or never
    local batch = datagram.batch(_M.families, own, own.next, own.base, _M.cut_limit, out_of_time)
    if batch then
        own:push(batch)
        _M.drained = not any_dirty()
    end
    return batch
end

-- The socket takes no datagram as large as the last one.
function _M.halve_cut()
    _M.cut_limit = max(datagram.MIN_BYTES, floor(_M.cut_limit / 2))
end

-- The bodies of what is still dirty, one after another, each at most `limit` bytes with its header; then nil.
function _M.body(limit)
    local batch = datagram.batch(_M.families, _M.own, 1, 1, limit, never)
    return batch and datagram.body(batch), batch and batch.rows
end

-- Puts the rows of a batch that was never sent back where they came from.
function _M.put_back(batch)
    datagram.absorb(datagram.body(batch), family_of)
    _M.drained = false
end

return _M
