-- The front of a family on the wire: all that stands before its rows, made once and copied into each batch. Pure.

local ffi = require "ffi"
local encode = require "resty.metrics.encode"

local scratch = ffi.new("uint8_t[?]", 32768)

local _M = {}

local function put_strings(p, at, list)
    at = encode.array(p, at, #list)
    for i = 1, #list do
        at = encode.string(p, at, list[i])
    end
    return at
end

local function put_text(p, at, key, value)
    return encode.string(p, encode.string(p, at, key), value)
end

-- A key of the head, where the shape has it.
local WRITERS = {
    { "name", put_text },
    { "type", put_text },
    { "help", put_text },
    { "scope", put_text },
    { "custom", function(p, at, key, value) return encode.boolean(p, encode.string(p, at, key), value) end },
    { "labels", function(p, at, key, value) return put_strings(p, encode.string(p, at, key), value) end },
    { "bounds", function(p, at, key, value)
        at = encode.array(p, encode.string(p, at, key), #value)
        for i = 1, #value do
            at = encode.number(p, at, value[i])
        end
        return at
    end },
    { "scale", function(p, at, key, value) return encode.number(p, encode.string(p, at, key), value) end },
    { "columns", function(p, at, key, value) return put_strings(p, encode.string(p, at, key), value) end },
}

-- The map of a family up to and with the key "rows", as it stands in every batch: its first byte holds the number of keys.
function _M.bytes(shape, inherited)
    local p = scratch
    local keys, at = 0, 1
    for i = 1, #WRITERS do
        local key, put = WRITERS[i][1], WRITERS[i][2]
        if shape[key] ~= nil then
            at = put(p, at, key, shape[key])
            keys = keys + 1
        end
    end
    if inherited then
        at = encode.boolean(p, encode.string(p, at, "inherited"), true)
        keys = keys + 1
    end
    at = encode.string(p, at, "rows")
    encode.map(p, 0, keys + 1)
    return ffi.string(p, at)
end

return _M
