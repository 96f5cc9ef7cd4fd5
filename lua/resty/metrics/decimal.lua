-- A number that nginx's variable holds, without making a string of it: that string, and Lua's way from it to the number,
-- are a quarter of what such a variable costs.
--
-- It is asked for as lua-resty-core's ngx.var does, by the function that lua-resty-core declares; and only where the first
-- answer is that of ngx.var. Else ngx.var is asked.

local bit = require "bit"
local ffi = require "ffi"

local ngx = ngx
local C, ffi_string = ffi.C, ffi.string
local tobit = bit.tobit
local concat, format, loadstring, min = table.concat, string.format, loadstring, math.min
local pcall, tonumber = pcall, tonumber

local MOST = 7  -- digits; what is longer is made a string

local _M = { MOST = MOST }

local value, size, err = ffi.new("unsigned char *[1]"), ffi.new("size_t[1]"), ffi.new("char *[1]")

-- A function of (bytes, number of them) for 1 to MOST decimal digits. There is no branch in it, so one trace of LuaJIT does
-- for all lengths: in the place of digits that are not there it reads the last one again, times 0.
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
    return loadstring(code, "=resty.metrics.decimal")(weights, zeros, min)
end

_M.parse = parser()

local parse = _M.parse

local function by_ngx_var(name)
    local var = ngx.var
    return function()
        return tonumber(var[name]) or 0
    end
end

local function directly(name)
    require "resty.core.var"
    local get_request = require("resty.core.base").get_request
    local name_length, lower = #name, ffi.new("char[?]", #name)

    return function()
        if C.ngx_http_lua_ffi_var_get(get_request(), name, name_length, lower, 0, value, size, err) ~= 0 then
            return 0
        end
        local length = tobit(tonumber(size[0]))
        if length > 0 and length <= MOST then
            return parse(value[0], length)
        end
        return tonumber(ffi_string(value[0], size[0])) or 0
    end
end

-- A function that gives what this variable, of digits alone, holds for the request at hand; 0 where that is no number. And
-- whether it makes no string of it. To be called in a request.
function _M.reader(name)
    local known = by_ngx_var(name)
    local made, read = pcall(directly, name)
    if made then
        local answered, number = pcall(read)
        if answered and number == known() then
            return read, true
        end
    end
    return known, false
end

return _M
