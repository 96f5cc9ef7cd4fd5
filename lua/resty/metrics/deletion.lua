-- What of a family is to be deleted in the collector: single rows, or all of them.
--
-- Rules:
-- - Deleting drops what the row has not sent yet. So "reset, then these rows, then what was counted since" is always the
--   right order, and one batch can hold all three (docs/wire.md).
-- - Orders of a batch that was never sent, or of a dead worker, come before what is here: precede().
-- - Bounded: as many single rows wait as the family may have rows, more are refused.
-- The orders of a family stand here and not in it: a family that nothing was ever deleted of has none.

local encode = require "resty.metrics.encode"
local prefix_values = require("resty.metrics.prefix").values
local ffi = require "ffi"

local copy = ffi.copy
local setmetatable = setmetatable

local DEL_KEY_BYTES, RESET_BYTES = 4, 7  -- "del"; "reset" and true

local _M = {}

-- family -> {reset = nil, "ours" or "earlier", list = label values as bytes, set = the same as keys}
local orders = setmetatable({}, { __mode = "k" })

-- The label values of a row as they stand on the wire, without the array's head; and its prefix.
local function label_bytes(family, values)
    local prefix = family:prefix_of(values)
    return prefix_values(prefix, #family.shape.labels, family.width), prefix
end

function _M.pending(family)
    local waiting = orders[family]
    return waiting ~= nil and (waiting.reset ~= nil or #waiting.list > 0)
end

-- Whether what was counted for these label values before now is void.
function _M.covers(family, values)
    local waiting = orders[family]
    return waiting ~= nil and (waiting.reset == "ours" or waiting.set[label_bytes(family, values)] ~= nil)
end

local function orders_of(family)
    if not orders[family] then
        orders[family] = { reset = nil, list = {}, set = {} }
    end
    return orders[family]
end

-- Returns whether there is room for this order, or it stands there already.
local function order(family, bytes)
    local waiting = orders_of(family)
    if waiting.set[bytes] then
        return true
    elseif #waiting.list >= family.cap then
        return false
    end
    waiting.set[bytes] = true
    waiting.list[#waiting.list + 1] = bytes
    return true
end

-- Deletes the row of these label values here and, with the next batch, in the collector. Returns true, or nil and why.
function _M.row(family, values)
    local bytes, prefix = label_bytes(family, values)
    if not order(family, bytes) then
        return nil, "as many deletions wait for the collector as the family may have rows"
    end
    family:delete(prefix)
    return true
end

-- Deletes all rows.
function _M.all(family)
    family:delete_all()
    orders[family] = { reset = "ours", list = {}, set = {} }
end

-- Forgets what is not sent, numbers and orders; the rows stay known.
function _M.discard(family)
    family:drop_unsent()
    orders[family] = nil
end

-- Orders that came before all that is here.
function _M.precede(family, reset, deleted)
    if orders[family] and orders[family].reset == "ours" then
        return
    end
    if reset then
        orders_of(family).reset = "earlier"
    end
    for i = 1, deleted and #deleted or 0 do
        order(family, (label_bytes(family, deleted[i])))
    end
end

-- Bytes of the next order, with its key.
function _M.next_size(family)
    local first = orders[family] and orders[family].list[1]
    return RESET_BYTES + DEL_KEY_BYTES + 2 * encode.ARRAY_BYTES + (first and #first or 0)
end

-- Returns the offset, and how many of the list have room.
local function put_list(list, labels, p, at, limit)
    local first, count = encode.open_array(p, encode.string(p, at, "del")), 0
    at = first
    repeat
        count = count + 1
        local bytes = list[count]
        at = encode.array(p, at, labels)
        copy(p + at, bytes, #bytes)
        at = at + #bytes
    until count == #list or count == encode.MAX_ARRAY or at + encode.ARRAY_BYTES + #list[count + 1] > limit
    encode.close_array(p, first, count)
    return at, count
end

-- Drops the first `count` of those that wait.
local function sent(waiting, count)
    local left, set = {}, {}
    for i = count + 1, #waiting.list do
        local bytes = waiting.list[i]
        left[#left + 1] = bytes
        set[bytes] = true
    end
    waiting.list, waiting.set = left, set
end

-- Writes the keys "reset" and "del" up to the limit. Returns the offset, how many keys, and whether some are left.
function _M.put(family, p, at, limit)
    local waiting, keys = orders_of(family), 0
    if waiting.reset then
        at = encode.boolean(p, encode.string(p, at, "reset"), true)
        waiting.reset = nil
        keys = 1
    end
    if #waiting.list > 0 then
        local count
        at, count = put_list(waiting.list, #family.shape.labels, p, at, limit)
        sent(waiting, count)
        keys = keys + 1
    end
    return at, keys, _M.pending(family)
end

return _M
