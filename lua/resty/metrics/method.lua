-- The method that the client asked with, as the label `method` has it.
--
-- nginx replaces the method of a request by its constant "GET" where an error_page or an X-Accel-Redirect leads to a URI
-- (ngx_http_send_error_page in src/http/ngx_http_core_module.c, ngx_http_upstream_process_headers in
-- src/http/ngx_http_upstream.c), and it has no name of a method where it refuses the request line. In these cases alone
-- the request line is read: it costs several times as much.

local bit = require "bit"
local ffi = require "ffi"
local variable = require "resty.metrics.variable"

local ngx = ngx
local C, ffi_string = ffi.C, ffi.string
local find, sub = string.find, string.sub
local bor, bxor, min = bit.bor, bit.bxor, math.min
local each, pcall, require = pairs, pcall, require  -- `each`: see counters.lua

ffi.cdef [[
struct rm_method_name { size_t length; unsigned char *bytes; };
extern struct rm_method_name rm_core_get_method __asm__("ngx_http_core_get_method");
]]

local LONGEST = 9  -- bytes of a known method: "PROPPATCH"
local OTHER = require("resty.metrics.overflow").OTHER

-- RFC 9110, RFC 5789, RFC 4918 and friends: what nginx itself knows by name. All else is "other".
local KNOWN = {
    GET = true, HEAD = true, POST = true, PUT = true, DELETE = true, PATCH = true, OPTIONS = true, CONNECT = true,
    TRACE = true, MKCOL = true, COPY = true, MOVE = true, PROPFIND = true, PROPPATCH = true, LOCK = true, UNLOCK = true,
}

local _M = { KNOWN = KNOWN }

-- The label for the request line in these bytes: its method, or "other"; "" where there is no line. No more of the line is
-- made a string than a known method has bytes.
function _M.of_line(bytes, size)
    if size == 0 then
        return ""
    elseif size >= 4 and bor(bxor(bytes[0], 71), bxor(bytes[1], 69), bxor(bytes[2], 84), bxor(bytes[3], 32)) == 0 then
        return "GET"  -- the commonest: a page that is not there
    end
    local front = ffi_string(bytes, min(size, LONGEST + 1))
    local blank = find(front, " ", 1, true)
    local word = blank and sub(front, 1, blank - 1) or front
    return KNOWN[word] and word or OTHER
end

-- nginx's numbers of the methods that it knows, as ngx_lua names them.
local function by_number()
    local methods = {}
    for method in each(KNOWN) do
        local number = ngx["HTTP_" .. method]
        if number then
            methods[number] = method
        end
    end
    return methods
end

local function of_client()
    require "resty.core.request"
    local get_request, methods = require("resty.core.base").get_request, by_number()
    local name, length = ffi.new("unsigned char *[1]"), ffi.new("size_t[1]")
    local replaced = C.rm_core_get_method.bytes
    local of_line, request_line = _M.of_line, variable.reader("request")

    return function()
        local request = get_request()
        C.ngx_http_lua_ffi_req_get_method_name(request, name, length)
        if name[0] == replaced or length[0] == 0 then
            return of_line(request_line())
        end
        return methods[C.ngx_http_lua_ffi_req_get_method(request)] or ffi_string(name[0], length[0])
    end
end

local function of_nginx()
    local get_method = ngx.req.get_method
    return function()
        return get_method() or ""
    end
end

-- A function that gives the method of the request at hand; "" where it has none. Where this nginx has not the constant, or
-- lua-resty-core not the function, it is the method that nginx has at the end. To be called in a request.
function _M.reader()
    local ok, read = pcall(of_client)
    if ok and pcall(read) then
        return read
    end
    return of_nginx()
end

return _M
