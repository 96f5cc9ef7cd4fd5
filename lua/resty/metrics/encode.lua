-- msgpack, written straight into memory: only the types that the wire uses.
--
-- Each writer takes the buffer, the offset to write at and a value, and returns the offset behind it. Nobody checks
-- the capacity here: who cuts a batch knows the largest size of what he is about to write (see batch.lua).
-- Source of the format: https://github.com/msgpack/msgpack/blob/master/spec.md

local ffi = require "ffi"
local bit = require "bit"

local band, rshift = bit.band, bit.rshift
local floor = math.floor
local copy = ffi.copy
local type = type

local MAX_EXACT = 2 ^ 53  -- the largest integer up to which a double holds every one: so the largest number of a counter
local TWO_32 = 2 ^ 32

local MAX_ARRAY = 65535   -- what the length of an array16 can say

local _M = { MAX_EXACT = MAX_EXACT, MAX_NUMBER_BYTES = 9, ARRAY_BYTES = 3, MAX_ARRAY = MAX_ARRAY, TWO_32 = TWO_32 }

local float_bytes = ffi.new("union { double number; uint8_t byte[8]; }")

local function put_u16(p, at, n)
    p[at] = rshift(n, 8)
    p[at + 1] = band(n, 255)
    return at + 2
end

local function put_u32(p, at, n)
    p[at] = rshift(n, 24)
    p[at + 1] = band(rshift(n, 16), 255)
    p[at + 2] = band(rshift(n, 8), 255)
    p[at + 3] = band(n, 255)
    return at + 4
end

-- n: an integer from 0 to 2^53
local function put_u64(p, at, n)
    local high = floor(n / TWO_32)
    return put_u32(p, put_u32(p, at, high), n - high * TWO_32)
end

_M.u64 = put_u64

local function put_float(p, at, n)
    float_bytes.number = n
    p[at] = 0xcb
    for i = 1, 8 do
        p[at + i] = float_bytes.byte[8 - i]
    end
    return at + 9
end

local function put_uint(p, at, n)
    if n < 128 then
        p[at] = n
        return at + 1
    elseif n < 256 then
        p[at] = 0xcc
        p[at + 1] = n
        return at + 2
    elseif n < 65536 then
        p[at] = 0xcd
        return put_u16(p, at + 1, n)
    elseif n < TWO_32 then
        p[at] = 0xce
        return put_u32(p, at + 1, n)
    end
    p[at] = 0xcf
    return put_u64(p, at + 1, n)
end

-- integers up to 2^53 in the shortest form, all else as a double
function _M.number(p, at, n)
    if n >= 0 and n <= MAX_EXACT and floor(n) == n then
        return put_uint(p, at, n)
    end
    return put_float(p, at, n)
end

function _M.string(p, at, s)
    local length = #s
    if length < 32 then
        p[at] = 0xa0 + length
        at = at + 1
    elseif length < 256 then
        p[at] = 0xd9
        p[at + 1] = length
        at = at + 2
    else
        p[at] = 0xda
        at = put_u16(p, at + 1, length)
    end
    copy(p + at, s, length)
    return at + length
end

function _M.array(p, at, length)
    if length < 16 then
        p[at] = 0x90 + length
        return at + 1
    end
    p[at] = 0xdc
    return put_u16(p, at + 1, length)
end

-- An array16 whose length is known at its end alone. Returns the offset of its first element, which close_array() takes.
function _M.open_array(p, at)
    p[at] = 0xdc
    return at + _M.ARRAY_BYTES
end

-- length: at most MAX_ARRAY
function _M.close_array(p, first, length)
    put_u16(p, first - 2, length)
end

function _M.map(p, at, length)
    if length < 16 then
        p[at] = 0x80 + length
        return at + 1
    end
    p[at] = 0xde
    return put_u16(p, at + 1, length)
end

function _M.boolean(p, at, value)
    p[at] = value and 0xc3 or 0xc2
    return at + 1
end

-- A map of ordered pairs {key, value, key, value, ...}; a value is a number, a string, a boolean, a list of numbers
-- {array = true, ...}, or again such a list of pairs.
-- For heartbeats: nothing hot comes this way.
local function put_numbers(p, at, list)
    at = _M.array(p, at, #list)
    for i = 1, #list do
        at = _M.number(p, at, list[i])
    end
    return at
end

-- more (or nil): how many pairs the caller writes himself behind these
local function put_pairs(p, at, pairs_list, more)
    at = _M.map(p, at, #pairs_list / 2 + (more or 0))
    for i = 1, #pairs_list, 2 do
        at = _M.string(p, at, pairs_list[i])
        local value = pairs_list[i + 1]
        local kind = type(value)
        if kind == "table" and value.array then
            at = put_numbers(p, at, value)
        elseif kind == "table" then
            at = put_pairs(p, at, value)
        elseif kind == "string" then
            at = _M.string(p, at, value)
        elseif kind == "boolean" then
            at = _M.boolean(p, at, value)
        else
            at = _M.number(p, at, value)
        end
    end
    return at
end

_M.pairs = put_pairs

return _M
