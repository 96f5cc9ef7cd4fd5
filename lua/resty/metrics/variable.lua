-- A variable of nginx as the bytes that nginx has, without making a string of them: that string, hashed and looked up among
-- all others or made, is a quarter of what a variable costs.
--
-- It is asked for as lua-resty-core's ngx.var does, by the function that lua-resty-core declares; and only where the first
-- answer is that of ngx.var, and that for a variable which is never empty too. Else ngx.var is asked.

local ffi = require "ffi"
local bit = require "bit"

local ngx = ngx
local C, cast, ffi_string = ffi.C, ffi.cast, ffi.string
local tobit = bit.tobit
local pcall, tonumber = pcall, tonumber

local NEVER_EMPTY = "request_length"

local _M = {}

local value, size, err = ffi.new("unsigned char *[1]"), ffi.new("size_t[1]"), ffi.new("char *[1]")

local function by_ngx_var(name)
    local var, kept = ngx.var, ""
    return function()
        kept = var[name] or ""  -- as long as its bytes are read
        return cast("const unsigned char *", kept), #kept
    end
end

local function directly(name)
    require "resty.core.var"
    local get_request = require("resty.core.base").get_request
    local name_length, lower = #name, ffi.new("char[?]", #name)

    return function()
        if C.ngx_http_lua_ffi_var_get(get_request(), name, name_length, lower, 0, value, size, err) ~= 0 then
            return value[0], 0
        end
        return value[0], tobit(tonumber(size[0]))
    end
end

-- What reads a variable directly, if its first answer is that of ngx.var; else nil.
local function checked(name)
    local known = by_ngx_var(name)
    local ok, read = pcall(directly, name)
    local answered, bytes, length = pcall(read)
    if ok and answered and ffi_string(bytes, length) == ffi_string(known()) then
        return read
    end
end

-- A function that gives the bytes of this variable for the request at hand (a pointer, good until the next variable is
-- read) and their number, 0 where there is none. And whether it makes no string of them. To be called in a request.
function _M.reader(name)
    local read = checked(NEVER_EMPTY) and checked(name)
    return read or by_ngx_var(name), read ~= nil
end

return _M
