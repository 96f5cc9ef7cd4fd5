-- What the dead leave to the living, through the spool.
--
-- A sender's sent batches go from holder to holder unchanged, under its name; rows that were never sent join the heir's.

local ffi = require "ffi"
local datagram = require "resty.metrics.datagram"
local flush = require "resty.metrics.flush"
local holdings = require "resty.metrics.holdings"
local spool = require "resty.metrics.spool"
local sender_of = require "resty.metrics.sender"
local tick = require "resty.metrics.tick"

local ngx = ngx

local BODIES_PER_TICK = 64
local BODY_BYTES = 16384           -- an heir takes a body of this size in well under a slice

local _M = {}

-- Rows of the dead, some bodies each tick.
function _M.take_rows()
    for _ = 1, BODIES_PER_TICK do
        local body = spool.take_rows()
        if not body then
            return
        end
        datagram.absorb(body, holdings.family_of)
        ngx.sleep(flush.YIELD_SECONDS)
    end
end

-- One sender of the dead, with all of its batches.
function _M.take_sender()
    local id, batches = spool.take_sender()
    if not id or #batches == 0 then
        return
    end
    local header = datagram.read_header(batches[1][1])
    local only_bye = header.kind == datagram.KIND.bye
    local sender = sender_of.new(id, header.birth, only_bye and header.sequence + 1 or header.sequence)
    for i = 1, only_bye and 0 or #batches do
        sender:push(datagram.thaw(batches[i][1], batches[i][2]))
    end
    sender:inherit(tick.number)
    holdings.hold(sender)
end

-- Senders of the dead whose last batch is acked end with a bye; one that cannot be sent now is sent at a later tick.
function _M.release()
    local senders = holdings.senders
    for i = #senders, 1, -1 do
        local sender = senders[i]
        if sender ~= holdings.own and sender:unacked() == 0 and flush.bye(sender) == "sent" then
            holdings.forget(sender)
        end
    end
end

-- Those batches that were sent, or the bye that found no room. Those that were never sent give their rows back.
local function leave_sender(sender)
    local batch = sender:take_back()
    while batch do
        holdings.put_back(batch)
        batch = sender:take_back()
    end
    local batches = {}
    for sequence = sender.base, sender.next - 1 do
        local sent = sender.batches[sequence]
        datagram.set_base(sent, sender.base)
        batches[#batches + 1] = { ffi.string(sent.bytes, sent.length), sent.rows }
    end
    if #batches == 0 and not sender.said_bye then
        local bye = datagram.bye(sender, sender.next - 1)
        batches[1] = { ffi.string(bye.bytes, bye.length), 0 }
    end
    if #batches > 0 then
        spool.put_sender(sender.id, batches)
    end
end

-- Puts all that is not acked into the spool.
function _M.leave()
    for i = 1, #holdings.senders do
        leave_sender(holdings.senders[i])
    end
    local body, rows = holdings.body(BODY_BYTES)
    while body do
        spool.put_rows(body, rows)
        body, rows = holdings.body(BODY_BYTES)
    end
end

return _M
