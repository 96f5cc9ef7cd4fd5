-- What of a family is to be deleted in the collector: single rows, or all of them.
--
-- Rules:
-- - Deleting drops what the row has not sent yet. So "reset, then these rows, then what was counted since" is always the
--   right order, and one batch can hold all three (docs/wire.md).
-- - Orders of a batch that was never sent, or of a dead worker, come before what is here: precede().
-- - Bounded: as many single rows wait as the family may have rows, more are refused.
-- A family that nothing was ever deleted of has no field of this module.

local encode = require "resty.metrics.encode"
local rows = require "resty.metrics.rows"
local ffi = require "ffi"
local bit = require "bit"

local band = bit.band
local copy, fill = ffi.copy, ffi.fill

local DEL_KEY_BYTES = 4 + 3    -- "del" and the head of its array
local ARRAY_BYTES = 3
local BURIED_AT_LEAST, BURIED_SHARE = 64, 8
local MAX_ROWS = 65535         -- what the patched array16 can hold

local _M = {}

-- The label values of a row as they stand on the wire, without the array's head.
local function label_bytes(family, values)
    local prefix = rows.prefix_of(family, values)
    local head = #family.shape.labels + family.width < 16 and 1 or ARRAY_BYTES
    return prefix:sub(head + 1), prefix
end

function _M.pending(family)
    return family.reset_waits or (family.deleted ~= nil and #family.deleted > 0)
end

-- Whether what was counted for these label values before now is void.
function _M.covers(family, values)
    if family.reset_waits == "ours" then
        return true
    end
    return family.deleted ~= nil and family.deleted_set[label_bytes(family, values)] ~= nil
end

local function order(family, bytes)
    if not family.deleted then
        family.deleted, family.deleted_set = {}, {}
    end
    if not family.deleted_set[bytes] then
        family.deleted_set[bytes] = true
        family.deleted[#family.deleted + 1] = bytes
    end
end

local function clear_row(family, row)
    local number = row[1]
    fill(row, ffi.sizeof("double") * (rows.FIRST + family.width))
    row[1] = number
end

-- Takes the rows that were deleted while they were dirty out of the ring; then their numbers are free.
local function bury(family)
    local dying, free, kept = family.dying, family.free, family.head
    if #dying == 0 then
        return
    end
    for at = family.head, family.tail - 1 do
        local number = family.ring[band(at, family.mask)]
        if family.prefix[number] then
            family.ring[band(kept, family.mask)] = number
            kept = kept + 1
        end
    end
    family.tail = kept
    for i = 1, #dying do
        family.numbers[dying[i]][0] = 0
        free[#free + 1] = dying[i]
    end
    family.dying = {}
end

_M.bury = bury

-- A dirty row stays in the ring until many can be taken out of it at once, or a batch is cut.
local function release(family, row)
    local number, dirty = row[1], row[0]
    clear_row(family, row)
    if dirty == 0 then
        family.free[#family.free + 1] = number
        return
    end
    row[0] = dirty
    family.dying[#family.dying + 1] = number
    if #family.dying >= BURIED_AT_LEAST and #family.dying >= family:dirty() / BURIED_SHARE then
        bury(family)
    end
end

-- Deletes the row of these label values here and, with the next batch, in the collector. Returns true, or nil and why.
function _M.row(family, values)
    local bytes, prefix = label_bytes(family, values)
    if family.deleted and #family.deleted >= family.cap and not family.deleted_set[bytes] then
        return nil, "as many deletions wait for the collector as the family may have rows"
    end
    order(family, bytes)
    local row = family.by_prefix[prefix]
    if row then
        family.by_prefix[prefix], family.prefix[row[1]] = nil, nil
        release(family, row)
    end
    return true
end

-- Deletes all rows.
function _M.all(family)
    family.by_prefix, family.prefix, family.numbers, family.used = {}, {}, {}, {}
    family.free, family.dying = {}, {}
    family.count, family.head, family.tail = 0, 0, 0
    family.deleted, family.deleted_set = nil, nil
    family.reset_waits = "ours"
end

-- Forgets what is not sent, numbers and orders; the rows stay known.
function _M.discard(family)
    bury(family)
    for at = family.head, family.tail - 1 do
        clear_row(family, family.numbers[family.ring[band(at, family.mask)]])
    end
    family.head = family.tail
    family.reset_waits, family.deleted, family.deleted_set = nil, nil, nil
end

-- Orders that came before all that is here.
function _M.precede(family, reset, deleted)
    if family.reset_waits == "ours" then
        return
    end
    if reset then
        family.reset_waits = "earlier"
    end
    for i = 1, deleted and #deleted or 0 do
        if not family.deleted or #family.deleted < family.cap then
            order(family, (label_bytes(family, deleted[i])))
        end
    end
end

-- Bytes of the next order, with its key.
function _M.next_size(family)
    local first = family.deleted and family.deleted[1]
    return 7 + DEL_KEY_BYTES + ARRAY_BYTES + (first and #first or 0)  -- "reset" and true take 7
end

local function put_deleted(family, p, at, limit)
    local deleted, labels = family.deleted, #family.shape.labels
    at = encode.string(p, at, "del")
    p[at] = 0xdc
    local count_at = at + 1
    at = at + ARRAY_BYTES
    local count = 0
    repeat
        count = count + 1
        local bytes = deleted[count]
        at = encode.array(p, at, labels)
        copy(p + at, bytes, #bytes)
        at = at + #bytes
    until count == #deleted or count == MAX_ROWS or at + ARRAY_BYTES + #deleted[count + 1] > limit
    encode.u16(p, count_at, count)
    return at, count
end

-- Drops the first `count` of those that wait.
local function sent(family, count)
    local left, set = {}, {}
    for i = count + 1, #family.deleted do
        local bytes = family.deleted[i]
        left[#left + 1] = bytes
        set[bytes] = true
    end
    family.deleted, family.deleted_set = left, set
end

-- Writes the keys "reset" and "del" up to the limit. Returns the offset, how many keys, and whether some are left.
function _M.put(family, p, at, limit)
    local keys = 0
    if family.reset_waits then
        at = encode.boolean(p, encode.string(p, at, "reset"), true)
        family.reset_waits = nil
        keys = 1
    end
    if family.deleted and #family.deleted > 0 then
        local count
        at, count = put_deleted(family, p, at, limit)
        sent(family, count)
        keys = keys + 1
    end
    return at, keys, _M.pending(family)
end

return _M
