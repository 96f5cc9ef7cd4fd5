-- A number that nginx's variable holds, read digit by digit where nginx printed it: what a string of it and Lua's way from
-- that to the number cost is saved.

local ffi = require "ffi"
local compile = require "resty.metrics.compile"
local variable = require "resty.metrics.variable"

local ffi_string = ffi.string
local concat, format, min = table.concat, string.format, math.min
local tonumber = tonumber

local MOST = 7  -- digits; what is longer is made a string

local _M = { MOST = MOST }

-- A function of (bytes, number of them) for 1 to MOST decimal digits. There is no branch in it, so one trace of LuaJIT does
-- for all lengths: in the place of digits that are not there it reads the last one again, times 0. nil where nothing can
-- be compiled.
local function parser()
    local weights, zeros, terms = ffi.new("double[?]", (MOST + 1) * MOST), ffi.new("double[?]", MOST + 1), {}
    for length = 1, MOST do
        for i = 0, length - 1 do
            local weight = 10 ^ (length - 1 - i)
            weights[length * MOST + i] = weight
            zeros[length] = zeros[length] + ("0"):byte() * weight
        end
    end
    for i = 0, MOST - 1 do
        terms[i + 1] = format("bytes[min(%d, last)] * weights[at + %d]", i, i)
    end
    local code = format([[
        local weights, zeros, min = ...
        return function(bytes, length)
            local last, at = length - 1, length * %d
            return %s - zeros[length]
        end]], MOST, concat(terms, " + "))
    local chunk = compile(code, "=resty.metrics.decimal")
    return chunk and chunk(weights, zeros, min)
end

_M.parse = parser()

local parse = _M.parse

-- A function that gives what this variable, of digits alone, holds for the request at hand; 0 where that is no number. And
-- whether it makes no string of it. To be called in a request.
function _M.reader(name)
    local read, direct = variable.reader(name)
    local function by_string()
        return tonumber(ffi_string(read())) or 0
    end
    local function by_digits()
        local bytes, length = read()
        if length > 0 and length <= MOST then
            return parse(bytes, length)
        end
        return tonumber(ffi_string(bytes, length)) or 0
    end
    if direct and parse and by_digits() == by_string() then
        return by_digits, true
    end
    return by_string, false
end

return _M
