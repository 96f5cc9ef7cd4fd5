-- The label values of one batch: each stands in it once, and rows have its place in that list. Pure.

local encode = require "resty.metrics.encode"

local setmetatable = setmetatable

local MAX_STRING_HEAD = 3  -- bytes in front of a string
local KEY = "values"

local _M = { MAX_PLACE_BYTES = 3, FRAME_BYTES = 1 + #KEY + encode.ARRAY_BYTES }
local mt = { __index = _M }

-- An empty list. bytes: what its values take at most, without their frame.
function _M.new()
    return setmetatable({ places = {}, list = {}, bytes = 0 }, mt)
end

-- The place of a value, from 0.
function _M.place(self, value)
    local place = self.places[value]
    if not place then
        local list = self.list
        place = #list
        list[place + 1] = value
        self.places[value] = place
        self.bytes = self.bytes + MAX_STRING_HEAD + #value
    end
    return place
end

-- Writes the key of a batch with all values; returns the offset behind them.
function _M.put(self, p, at)
    local list = self.list
    local first = encode.open_array(p, encode.string(p, at, KEY))
    at = first
    for i = 1, #list do
        at = encode.string(p, at, list[i])
    end
    encode.close_array(p, first, #list)
    return at
end

return _M
