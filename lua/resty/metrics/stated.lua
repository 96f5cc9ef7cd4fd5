-- What was stated of the collector's socket, of the name of this nginx and of the buckets: by init_worker, which holds, or
-- by nginx's variables, which only a request can read.

local fault = require("resty.metrics.fault").report
local settings = require "resty.metrics.settings"
local concat = table.concat

local _M = {
    socket = nil,
    name = nil,            -- nil where this nginx has none
    buckets = nil,         -- by init_worker
    told = false,          -- by init_worker
    provisional = false,   -- nobody has stated the socket yet: it is the default
}

local function name_of(stated)
    local name, why = settings.nginx(stated)
    if why then
        fault("name", why .. "; its series have no label nginx")
    end
    return name
end

local function take(socket, name)
    _M.provisional = false
    _M.socket, _M.name = settings.socket(socket), name_of(name)
end

function _M.by_variables(variables)
    take(variables.resty_metrics_socket, variables.resty_metrics_nginx)
end

function _M.by_init_worker(options)
    take(options.socket, options.nginx)
    _M.told, _M.buckets = true, options.buckets
end

function _M.by_nobody()
    take()
    _M.provisional = true
end

local function name_words(name)
    return name and "the name " .. name or "no name"
end

-- Says where init_worker stated something else than nginx's configuration, and only that.
function _M.compare(variables)
    local socket, name = settings.socket(variables.resty_metrics_socket), name_of(variables.resty_metrics_nginx)
    local buckets = variables.resty_metrics_buckets or settings.DEFAULT_BUCKETS
    local used = _M.buckets or buckets
    local ours, theirs = {}, {}
    local function compare(one, other)
        if one ~= other then
            ours[#ours + 1], theirs[#theirs + 1] = one, other
        end
    end
    compare("socket " .. _M.socket, "socket " .. socket)
    compare("buckets " .. used, "buckets " .. buckets)
    compare(name_words(_M.name), name_words(name))
    if #ours > 0 then
        fault("settings", "init_worker states " .. concat(ours, ", ") .. ", but nginx's variables state " ..
            concat(theirs, ", ") .. ". Those of init_worker are used. Make them equal")
    end
end

return _M
