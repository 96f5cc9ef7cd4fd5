-- msgpack, read back: only what encode.lua writes.
--
-- Needed where a worker takes back numbers that it had encoded and never sent (EMSGSIZE), or inherits them from a
-- worker that has gone (the spool). These bytes are our own: an error here is a bug, and is raised as one.

local bit = require "bit"
local ffi = require "ffi"

local byte, sub = string.byte, string.sub
local band = bit.band

local _M = {}

local float_bytes = ffi.new("union { double number; uint8_t byte[8]; }")

local function read_uint(s, at, size)
    local n = 0
    for i = 0, size - 1 do
        n = n * 256 + byte(s, at + i)
    end
    return n, at + size
end

local function read_float(s, at)
    for i = 0, 7 do
        float_bytes.byte[7 - i] = byte(s, at + i)
    end
    return tonumber(float_bytes.number), at + 8
end

local read

local function read_string(s, at, length)
    return sub(s, at, at + length - 1), at + length
end

local function read_array(s, at, length)
    local list = {}
    for i = 1, length do
        list[i], at = read(s, at)
    end
    return list, at
end

local function read_map(s, at, length)
    local map = {}
    for _ = 1, length do
        local key
        key, at = read(s, at)
        map[key], at = read(s, at)
    end
    return map, at
end

local sized = {
    [0xcc] = function(s, at) return read_uint(s, at, 1) end,
    [0xcd] = function(s, at) return read_uint(s, at, 2) end,
    [0xce] = function(s, at) return read_uint(s, at, 4) end,
    [0xcf] = function(s, at) return read_uint(s, at, 8) end,
    [0xcb] = read_float,
    [0xc2] = function(_, at) return false, at end,
    [0xc3] = function(_, at) return true, at end,
    [0xd9] = function(s, at) return read_string(s, at + 1, byte(s, at)) end,
    [0xda] = function(s, at) return read_string(s, at + 2, (read_uint(s, at, 2))) end,
    [0xdc] = function(s, at) return read_array(s, at + 2, (read_uint(s, at, 2))) end,
    [0xde] = function(s, at) return read_map(s, at + 2, (read_uint(s, at, 2))) end,
}

-- s: a string; at: the offset of its first unread byte, from 1. Returns the value and the offset behind it.
function read(s, at)
    local head = byte(s, at)
    if not head then
        error("msgpack ends too early at byte " .. at)
    end
    at = at + 1
    if head < 0x80 then
        return head, at
    elseif head < 0x90 then
        return read_map(s, at, band(head, 15))
    elseif head < 0xa0 then
        return read_array(s, at, band(head, 15))
    elseif head < 0xc0 then
        return read_string(s, at, band(head, 31))
    end
    local reader = sized[head]
    if not reader then
        error(string.format("msgpack type 0x%02x at byte %d is none of ours", head, at - 1))
    end
    return reader(s, at)
end

-- The one value that a string holds.
function _M.value(s)
    return (read(s, 1))
end

return _M
