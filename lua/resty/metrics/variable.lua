-- A variable of nginx as the bytes that nginx has, without making a string of them: that string, hashed and looked up among
-- all others or made, is a quarter of what a variable costs.
--
-- There are three ways to read one, and the first that works in this nginx is used:
-- - ngx_http_get_variable of nginx, with the hash of the variable's name, which is computed once. It returns a structure
--   of nginx (ngx_variable_value_t in src/core/ngx_string.h), whose layout is compared before anything relies on it.
-- - The function of lua-resty-core's ngx.var, as lua-resty-core declares it. It hashes the name at each call: 180
--   instructions for a name of 12 letters.
-- - ngx.var.
-- Each of the first two is used only if its first answer is that of ngx.var.

local ffi = require "ffi"
local bit = require "bit"

local ngx = ngx
local C, cast, ffi_string = ffi.C, ffi.cast, ffi.string
local band, tobit = bit.band, bit.tobit
local pcall, tonumber = pcall, tonumber

ffi.cdef [[
struct rm_variable_name { size_t length; unsigned char *bytes; unsigned char lower[?]; };
struct rm_variable_value { int32_t flags; unsigned char *bytes; };
uintptr_t rm_hash_strlow(unsigned char *lower, const unsigned char *name, size_t length) __asm__("ngx_hash_strlow");
struct rm_variable_value *rm_get_variable(void *request, struct rm_variable_name *name, uintptr_t hash)
    __asm__("ngx_http_get_variable");
]]

local LENGTH, NOT_FOUND = 0x0fffffff, 0x40000000  -- in the flags
local CONSTANTS = { "nginx_version", "hostname" }  -- never empty, and at the same address for each request
local NEVER_EMPTY = "request_length"
local UNKNOWN = "resty_metrics_unknown_variable"

local _M = {}

local value, size, err = ffi.new("unsigned char *[1]"), ffi.new("size_t[1]"), ffi.new("char *[1]")

local function by_ngx_var(name)
    local var, kept = ngx.var, ""
    return function()
        kept = var[name] or ""  -- as long as its bytes are read
        return cast("const unsigned char *", kept), #kept
    end
end

local function by_ngx_lua(name)
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

local function by_nginx(name)
    local get_request = require("resty.core.base").get_request
    local key = ffi.new("struct rm_variable_name", #name)
    key.length, key.bytes = #name, key.lower
    local hash = C.rm_hash_strlow(key.lower, name, #name)

    return function()
        local request = get_request()
        local found = request and C.rm_get_variable(request, key, hash)
        if found == nil then
            return value[0], 0
        end
        local flags = found.flags
        return found.bytes, band(flags, NOT_FOUND) == 0 and band(flags, LENGTH) or 0
    end
end

-- Whether nginx's structure has the layout that is declared here: lua-resty-core's function reads the same address and
-- length. No address is followed for this.
local function has_our_layout()
    for i = 1, #CONSTANTS do
        local bytes, length = by_ngx_lua(CONSTANTS[i])()
        local our_bytes, our_length = by_nginx(CONSTANTS[i])()
        if length == 0 or length ~= our_length or bytes ~= our_bytes then
            return false
        end
    end
    local _, unknown = by_nginx(UNKNOWN)()
    return unknown == 0
end

-- The function of this way that reads a variable, if its first answer is that of ngx.var; else nil.
local function checked(way, name)
    local known = by_ngx_var(name)
    local ok, read = pcall(way, name)
    local answered, bytes, length = pcall(read)
    if ok and answered and ffi_string(bytes, length) == ffi_string(known()) then
        return read
    end
end

-- A function that gives the bytes of this variable for the request at hand (a pointer, good until the next variable is
-- read) and their number, 0 where there is none. And the way that it takes: "nginx", "lua-resty-core", or nil for ngx.var,
-- which makes a string of them. To be called in a request.
function _M.reader(name)
    local ok, same = pcall(has_our_layout)
    local read = ok and same and checked(by_nginx, name)
    if read then
        return read, "nginx"
    end
    read = checked(by_ngx_lua, NEVER_EMPTY) and checked(by_ngx_lua, name)
    if read then
        return read, "lua-resty-core"
    end
    return by_ngx_var(name)
end

return _M
