-- The bytes of a row on the wire up to its numbers: its label values, as they may stand there. They name the row. Pure.

local bit = require "bit"
local encode = require "resty.metrics.encode"
local ffi = require "ffi"

local band = bit.band

local MAX_LABEL = 256            -- bytes of a label's value; longer ones are cut
local MAX_LABELS = 32            -- of a family
local CUT_MARK = "\226\128\166"  -- U+2026, the sign of a value that was cut
local MAX_BYTES = encode.ARRAY_BYTES + MAX_LABELS * (MAX_LABEL + 5)

local scratch = ffi.new("uint8_t[?]", MAX_BYTES + 64)

local _M = { MAX_LABEL = MAX_LABEL, MAX_LABELS = MAX_LABELS }

-- A label's value as it may stand on the wire: never empty, at most 256 bytes, cut at a character.
local function clean(value)
    if value == "" then
        return "_"
    end
    if #value <= MAX_LABEL then
        return value
    end
    local last = MAX_LABEL - #CUT_MARK
    for back = 0, 3 do  -- a character has at most four bytes; what is not UTF-8 is cut where it stands
        if band(value:byte(last - back + 1), 0xc0) ~= 0x80 then
            last = last - back
            break
        end
    end
    return value:sub(1, last) .. CUT_MARK
end

-- The values of so many labels as they may stand on the wire.
function _M.cleaned(values, labels)
    local list = {}
    for i = 1, labels do
        list[i] = clean(values[i] or "")
    end
    return list
end

-- values: strings, one for each of so many labels; width: how many numbers the row has behind them
function _M.bytes(values, labels, width)
    local p = scratch
    local at = encode.array(p, 0, labels + width)
    for i = 1, labels do
        at = encode.string(p, at, clean(values[i] or ""))
    end
    return ffi.string(p, at)
end

-- The same without the head of the row's array: the label values alone.
function _M.values(prefix, labels, width)
    return prefix:sub(encode.array(scratch, 0, labels + width) + 1)
end

return _M
