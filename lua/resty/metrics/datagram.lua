-- Datagrams and answers, byte by byte, as docs/wire.md has them. Pure: memory in, memory out.

local ffi = require "ffi"
local bit = require "bit"
local encode = require "resty.metrics.encode"
local label_values = require "resty.metrics.label_values"
local decode = require "resty.metrics.decode"
local deletion = require "resty.metrics.deletion"
local rows = require "resty.metrics.rows"

local band = bit.band
local copy, ffi_string = ffi.copy, ffi.string
local u64, put_string, open_array, close_array = encode.u64, encode.string, encode.open_array, encode.close_array
local MAX_ARRAY, TWO_32 = encode.MAX_ARRAY, encode.TWO_32

local VERSION = 2            -- of the protocol
local HEADER_BYTES = 48
local KIND = { batch = 1, heartbeat = 2, bye = 3, probe = 4 }
local SENDER_AT, BIRTH_AT, SEQUENCE_AT, BASE_AT = 8, 24, 32, 40
local ANSWER_BYTES = 40
local MAX_BYTES = 61440      -- a datagram, 60 KiB
local MIN_BYTES = 4096       -- EMSGSIZE does not halve the cut below this
local CLOCK_ROWS = 15        -- the clock is read each 16 rows: a mask
local ROWS_KEY_BYTES = 5     -- "rows" as msgpack has it, the end of a family's head

local bytes_type = ffi.typeof("uint8_t[?]")
-- A single row may be longer than what is left: the buffer has room for the longest row behind the limit.
local buffer = ffi.new("uint8_t[?]", MAX_BYTES + 16384)

local _M = {
    VERSION = VERSION,
    HEADER_BYTES = HEADER_BYTES,
    ANSWER_BYTES = ANSWER_BYTES,
    MAX_BYTES = MAX_BYTES,
    MIN_BYTES = MIN_BYTES,
    KIND = KIND,
    VERDICT = { [1] = "ack", [2] = "hold", [3] = "drop" },
    REASON = {
        [0] = "none", [1] = "version", [2] = "not_ready", [3] = "sender_cap", [4] = "uid",
        [16] = "undecodable", [17] = "invalid",
    },
}

-- sender: 16 bytes; birth: milliseconds; returns the offset behind the header
local function put_header(p, kind, sender, birth, sequence, base)
    copy(p, "RSTM", 4)
    p[4] = VERSION
    p[5] = kind
    p[6] = 0
    p[7] = 0
    copy(p + SENDER_AT, sender, 16)
    u64(p, BIRTH_AT, birth)
    u64(p, SEQUENCE_AT, sequence)
    return u64(p, BASE_AT, base)
end

local function frozen(length, count)
    local bytes = bytes_type(length)
    copy(bytes, buffer, length)
    return { bytes = bytes, length = length, rows = count }
end

-- Bytes that a family needs at least, with its head.
local function least_size(family)
    local first = deletion.pending(family) and deletion.next_size(family) or family:next_size()
    return #family.head_bytes + encode.ARRAY_BYTES + first
end

local function put_rows(family, at, limit, values, out_of_time)
    local count = 0
    repeat
        at = family:take(buffer, at, values)
        count = count + 1
    until family:dirty() == 0 or at + values.bytes + family:next_size() > limit or count == MAX_ARRAY
        or (band(count, CLOCK_ROWS) == 0 and out_of_time())
    return at, count
end

-- The head with what is to be deleted. Returns the offset, and whether all of that had room.
local function put_orders(family, at, limit)
    local head, head_at = family.head_bytes, at
    copy(buffer + at, head, #head)
    local keys, left
    at, keys, left = deletion.put(family, buffer, at + #head - ROWS_KEY_BYTES, limit)
    buffer[head_at] = buffer[head_at] + keys  -- a map of fewer than 16 keys has their number in its first byte
    return put_string(buffer, at, "rows"), not left
end

-- Writes one family with its dirty rows until the limit or the end of time; nothing where not even one row has room.
-- What is to be deleted goes first: rows wait until all of that is out. Returns the offset and the number of rows.
local function put_family(family, at, limit, values, written, out_of_time)
    local orders = deletion.pending(family)
    family:bury()
    if (family:dirty() == 0 and not orders) or (written and at + values.bytes + least_size(family) > limit) then
        return at, 0
    end
    local may_put = family:dirty() > 0
    if orders then
        local all
        at, all = put_orders(family, at, limit - values.bytes)
        may_put = may_put and all and at + values.bytes + encode.ARRAY_BYTES + family:next_size() <= limit
    else
        local head = family.head_bytes
        copy(buffer + at, head, #head)
        at = at + #head
    end
    local rows_at, count = open_array(buffer, at), 0
    at = rows_at
    if may_put then
        at, count = put_rows(family, at, limit, values, out_of_time)
    end
    close_array(buffer, rows_at, count)
    return at, count
end

-- Cuts one batch from the dirty rows of the families: {bytes, length, rows}, or nil where nothing is dirty.
-- sender: {id, birth, instance or nil}; limit: bytes of the datagram; out_of_time(): true ends the batch early.
function _M.batch(families, sender, sequence, base, limit, out_of_time)
    local at = put_header(buffer, KIND.batch, sender.id, sender.birth, sequence, base)
    local instance = sender.instance
    local values = label_values.new()
    limit = limit - label_values.FRAME_BYTES
    at = encode.map(buffer, at, instance and 3 or 2)
    if instance then
        at = put_string(buffer, put_string(buffer, at, "instance"), instance)
    end
    local families_at = open_array(buffer, put_string(buffer, at, "families"))
    at = families_at
    local family_count, row_count = 0, 0
    for i = 1, #families do
        local next_at, count = put_family(families[i], at, limit, values, family_count > 0, out_of_time)
        if next_at > at then
            at = next_at
            family_count = family_count + 1
            row_count = row_count + count
            if at + values.bytes >= limit or out_of_time() then
                break
            end
        end
    end
    if family_count == 0 then
        return nil
    end
    close_array(buffer, families_at, family_count)
    return frozen(values:put(buffer, at), row_count)
end

-- A heartbeat; pairs_list as encode.pairs has it; more(buffer, at): writes one more key with its value.
function _M.heartbeat(sender, beat, base, pairs_list, more)
    local at = put_header(buffer, KIND.heartbeat, sender.id, sender.birth, beat, base)
    at = encode.pairs(buffer, at, pairs_list, more and 1 or 0)
    if more then
        at = more(buffer, at)
    end
    return frozen(at, 0)
end

function _M.bye(sender, last_sequence)
    local at = put_header(buffer, KIND.bye, sender.id, sender.birth, last_sequence, last_sequence + 1)
    return frozen(encode.map(buffer, at, 0), 0)
end

-- The one field that is written again at every send.
function _M.set_base(batch, base)
    u64(batch.bytes, BASE_AT, base)
end

local function u64_of(s, at)
    local value = 0
    for i = at, at + 7 do
        value = value * 256 + s:byte(i)
    end
    return value
end

-- Kind, sender, birth, sequence and base of a datagram that the spool kept.
function _M.read_header(s)
    return {
        kind = s:byte(6),
        sender = s:sub(SENDER_AT + 1, SENDER_AT + 16),
        birth = u64_of(s, BIRTH_AT + 1),
        sequence = u64_of(s, SEQUENCE_AT + 1),
        base = u64_of(s, BASE_AT + 1),
    }
end

-- A frozen batch as it was, from its bytes.
function _M.thaw(s, count)
    local bytes = bytes_type(#s)
    copy(bytes, s, #s)
    return { bytes = bytes, length = #s, rows = count }
end

-- The body of a batch as bytes (a Lua string).
function _M.body(batch)
    return ffi_string(batch.bytes + HEADER_BYTES, batch.length - HEADER_BYTES)
end

-- Adds a row of the wire to a family, unless it is to be deleted there: that came after it. Returns whether it did.
local function absorb_row(family, labels, wire_row, all_values)
    local values, numbers = {}, {}
    for i = 1, labels do
        values[i] = all_values[wire_row[i] + 1]
    end
    if deletion.covers(family, values) then
        return false
    end
    for i = labels + 1, #wire_row do
        numbers[i - labels] = wire_row[i]
    end
    rows.add(family, values, numbers)
    return true
end

-- Adds the rows of a batch's body to the families that `family_of(shape)` gives for their shapes; returns how many rows.
function _M.absorb(body, family_of)
    local count = 0
    local decoded = decode.value(body)
    local deltas, values = decoded.families, decoded.values
    for f = 1, #deltas do
        local delta = deltas[f]
        local delta_rows, reset, deleted = delta.rows, delta.reset, delta.del
        delta.rows, delta.reset, delta.del = nil, nil, nil  -- what is left is the shape, which a new family keeps
        local family = family_of(delta)
        local labels = #delta.labels
        for r = 1, #delta_rows do
            if absorb_row(family, labels, delta_rows[r], values) then
                count = count + 1
            end
        end
        deletion.precede(family, reset, deleted)
    end
    return count
end

local function p64(p, at)
    local high = p[at] * 16777216 + p[at + 1] * 65536 + p[at + 2] * 256 + p[at + 3]
    return high * TWO_32 + p[at + 4] * 16777216 + p[at + 5] * 65536 + p[at + 6] * 256 + p[at + 7]
end

-- An answer of the collector: {verdict, reason, version, kind, sender, sequence, committed}; nil if it is none of ours.
-- One of another version comes from a collector that does not know ours: whatever it says, nothing is released by it.
function _M.read_answer(p, length)
    if length ~= ANSWER_BYTES or ffi_string(p, 4) ~= "RSTA" then
        return nil
    end
    local known = p[4] == VERSION
    local verdict = known and _M.VERDICT[p[5]] or not known and "hold"
    if not verdict then
        return nil
    end
    return {
        verdict = verdict,
        reason = known and (_M.REASON[p[6]] or tostring(p[6])) or "version",
        version = p[4],
        kind = p[7],
        sender = ffi_string(p + 8, 16),
        sequence = p64(p, 24),
        committed = known and p64(p, 32) or 0,
    }
end

return _M
