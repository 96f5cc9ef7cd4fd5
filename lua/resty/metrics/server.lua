-- The server block of a request, as a key to look up by: the address of its name, so that no string is made of that.
--
-- $server_name points into the memory of nginx's configuration (ngx_http_variable_server_name in
-- src/http/ngx_http_variables.c), which stays as it is for a worker's life.
--
-- Rules:
-- - The address is a key only where the variable is read directly: the address of a Lua string may come again.
-- - At rare moments (consistency.lua) the name is compared. If an address has another name than before, this nginx keeps
--   names elsewhere, and they are read as strings from then on.

local ffi = require "ffi"
local variable = require "resty.metrics.variable"

local var = ngx.var
local cast, tonumber = ffi.cast, tonumber
local intptr = ffi.typeof("intptr_t")

local _M = {}

local trusted = true
local names = {}  -- address -> name

-- Returns the name of the server of the request at hand; "" where it has none.
function _M.name()
    return var.server_name or ""
end

local name = _M.name

-- Makes the function of `reader` from one that reads the variable directly.
function _M.by_address(read)
    return function()
        local bytes, size = read()
        if size == 0 or not trusted then
            return name()
        end
        return tonumber(cast(intptr, bytes))
    end
end

-- A function that returns the key of the server of the request at hand: a number, or its name. To be called in a request.
function _M.reader()
    local read, direct = variable.reader("server_name")
    return direct and _M.by_address(read) or name
end

-- Compares the name of the server of the request at hand with the one that its key had before.
function _M.check(key)
    if key ~= name() then
        names[key] = names[key] or name()
        trusted = trusted and names[key] == name()
    end
end

return _M
