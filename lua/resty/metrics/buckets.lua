-- From a whole number to the slot of a row that its bucket is in: looked up for what is small, searched for the rest.

local ffi = require "ffi"
local rows = require "resty.metrics.rows"

local concat = table.concat

local FIRST = rows.FIRST
local LOOKED_UP = 65535  -- up to here

local _M = { LOOKED_UP = LOOKED_UP }

local known = {}  -- bounds as text -> what was made of them: 128 KiB, so scopes with equal bounds share it

-- Returns the table of slots from 0 to LOOKED_UP, and a function for what lies above.
function _M.of(bounds)
    local key = concat(bounds, " ")
    local cached = known[key]
    if cached then
        return cached.slots, cached.search
    end
    local slots, slot = ffi.new("uint16_t[?]", LOOKED_UP + 1), 1
    for value = 0, LOOKED_UP do
        while slot <= #bounds and value > bounds[slot] do
            slot = slot + 1
        end
        slots[value] = FIRST + slot - 1
    end
    local function search(value)
        for i = 1, #bounds do
            if value <= bounds[i] then
                return FIRST + i - 1
            end
        end
        return FIRST + #bounds
    end
    known[key] = { slots = slots, search = search }
    return slots, search
end

return _M
