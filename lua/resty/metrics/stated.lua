-- What was stated of the collector's socket, of the name of this nginx and of the buckets: by init_worker, which holds, or
-- by nginx's variables, which only a request can read.

local fault = require("resty.metrics.fault").report
local settings = require "resty.metrics.settings"

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

-- Says where init_worker stated something else than nginx's configuration.
function _M.compare(variables)
    local socket, name = settings.socket(variables.resty_metrics_socket), name_of(variables.resty_metrics_nginx)
    local buckets = variables.resty_metrics_buckets or settings.DEFAULT_BUCKETS
    local used = _M.buckets or buckets
    if socket ~= _M.socket or buckets ~= used or name ~= _M.name then
        fault("settings", "init_worker states " .. settings.words(_M.socket, used, _M.name) ..
            ", but nginx's variables state " .. settings.words(socket, buckets, name) ..
            ". Those of init_worker are used. Make them equal")
    end
end

return _M
