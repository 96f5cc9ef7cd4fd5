-- resty-metrics: counts nginx's requests in the worker and sends the sums to the collector.
--
--     log_by_lua_file .../resty/metrics/hook.lua;               the drop-in include does this
--     log_by_lua_block { require("resty.metrics").log() }       in a hook of your own
--     init_worker_by_lua_block { require("resty.metrics").init_worker() }    heartbeats before the first request
--     local logins = require("resty.metrics").counter("logins_total", "Logins.", {"result"})    and metrics of your own
--
-- Nothing here throws: in a request an error of ours is ours alone.

local process = require "resty.metrics.process"

local ngx = ngx
local log, ERR, WARN = ngx.log, ngx.ERR, ngx.WARN
local pcall, tostring = pcall, tostring

local _M = { _VERSION = "0.1.0" }

-- The oldest that the module is written for: OpenResty 1.21.4.1.
local OLDEST_NGX_LUA = 10021
local OLDEST_LUAJIT = 20100

-- Phases in which nginx's variables are those of a request that has its configuration.
local REQUEST_PHASES = {
    set = true, rewrite = true, server_rewrite = true, access = true, precontent = true, content = true,
    header_filter = true, body_filter = true, log = true, balancer = true,
}
local OFF = "resty-metrics is off in this worker; nginx's error log says why"

local settings, worker, requests, api, count
local disabled = false
local checked_variables = false
local provisional = false   -- nobody has stated the settings yet

local function refuse(text)
    disabled = true
    log(ERR, "resty-metrics is off in this worker: ", text)
    return nil, text
end

-- Loads the rest, once it is known that it can work. Returns true, or nil and why.
local function load()
    if jit == nil or jit.version_num < OLDEST_LUAJIT or ngx.config.ngx_lua_version < OLDEST_NGX_LUA then
        return refuse("it needs OpenResty 1.21.4.1, or lua-nginx-module 0.10.21 with LuaJIT 2.1, or later")
    end
    require "resty.core"
    settings = require "resty.metrics.settings"
    requests = require "resty.metrics.requests"
    worker = require "resty.metrics.worker"
    require("resty.metrics.heartbeat").version = _M._VERSION
    require("resty.metrics.metric").wake = _M.wake
    api = require "resty.metrics.api"
    count = requests.count
    return true
end

-- Loads the rest once, which may be in the master already. Returns true, or nil and why.
local function prepare()
    if disabled then
        return nil, OFF
    elseif settings then
        return true
    end
    local ok, loaded, why = pcall(load)
    if not ok then
        return refuse(tostring(loaded))
    end
    return loaded, why
end

local function start(socket, buckets)
    if not process.first_time(process.WORKER_MARK) then
        disabled = true
        if process.first_time(process.CODE_CACHE_MARK) then
            log(ERR, "resty-metrics is off: it cannot work with lua_code_cache off, where nothing lasts longer ",
                "than a request; remove that line")
        end
        return nil
    end
    local loaded, why = prepare()
    if not loaded then
        return nil, why
    end
    local chosen, err = settings.read(socket, buckets)
    if err then
        log(ERR, "resty-metrics: ", err, "; the default buckets are used")
    end
    _M.settings = chosen
    local started, reason = worker.start(chosen)
    if not started then
        return refuse(reason)
    end
    api.begin_worker()
    if err then
        worker.fault("buckets", err)
    end
    if not require("resty.metrics.spool").present() then
        log(WARN, "resty-metrics: lua_shared_dict resty_metrics_spool is not declared: ",
            "what is not acknowledged when a worker ends will be lost; the include declares it")
    end
    return true
end

local function check_variables()
    checked_variables = true
    local socket, buckets = ngx.var.resty_metrics_socket, ngx.var.resty_metrics_buckets
    local stated = settings.read(socket, buckets)
    if stated.socket ~= _M.settings.socket or stated.buckets ~= _M.settings.buckets then
        worker.fault("settings", "init_worker states socket " .. _M.settings.socket .. " and buckets " ..
            _M.settings.buckets .. ", but nginx's configuration socket " .. stated.socket .. " and buckets " ..
            stated.buckets .. "; those of init_worker hold: make them equal")
    end
end

-- The settings of a worker that began before anybody could state them: those of a request, or of init_worker.
local function adopt(socket, buckets)
    provisional = false
    if not socket and not buckets then
        socket, buckets = ngx.var.resty_metrics_socket, ngx.var.resty_metrics_buckets
        checked_variables = true
    end
    local chosen, err = settings.read(socket, buckets)
    if err then
        worker.fault("buckets", err)
    end
    _M.settings = chosen
    worker.adopt(chosen)
end

-- What a request does only at first, or only while the worker goes away.
local function rare()
    if disabled then
        return false
    end
    if not worker or not worker.started then
        if not start(ngx.var.resty_metrics_socket, ngx.var.resty_metrics_buckets) then
            return false
        end
        checked_variables = true
    elseif provisional then
        adopt()
    elseif not checked_variables then
        check_variables()
    end
    return true
end

local function after()
    if not worker.timer_running and not worker.exiting then
        worker.start_timer()
    end
    if worker.exiting and not worker.draining then
        worker.start_drainer()
    end
end

local function log_request()
    if ngx.is_subrequest or not (checked_variables or rare()) then
        return
    end
    count()
    if worker.exiting or not worker.timer_running then
        after()
    end
end

local function failed(err)
    if worker and worker.started then
        worker.fault("internal", "an error in the module itself, please report it: " .. tostring(err))
    elseif not disabled then
        refuse(tostring(err))
    end
end

local function begin()
    local phase = ngx.get_phase()
    if phase == "init" then
        api.begin_master()
        return true
    elseif ngx.worker.id() == nil then
        return nil, "this process serves no requests: nothing is sent from here"
    elseif REQUEST_PHASES[phase] then
        checked_variables = true
        return start(ngx.var.resty_metrics_socket, ngx.var.resty_metrics_buckets)
    elseif not start() then
        return nil, OFF
    end
    provisional = true
    worker.wait_for_settings()
    return true
end

-- Whether what the user's own metrics count now has a chance to be sent: starts the worker where it can. Returns true, or
-- nil and why not.
function _M.wake()
    if worker and worker.started then
        if provisional and REQUEST_PHASES[ngx.get_phase()] then
            adopt()
        end
        if worker.exiting or not worker.timer_running then
            after()
        end
        return true
    end
    local ok, why = prepare()
    if not ok then
        return nil, why
    end
    return begin()
end

-- kind: "counter", "gauge" or "histogram"; the rest as below; store: for prometheus.lua, see metric.lua
local function define(kind, name, help, labels, options, store)
    local ok, why = prepare()
    if not ok then
        return nil, why
    end
    return api.define(kind, name, help, labels, options, store)
end

_M.define = define

-- A counter, a gauge, a histogram of your own: docs/lua-api.md. Each returns the metric, or nil and why.
-- labels: a list of label names; options: {combine = ...} of a gauge, {buckets = ...} of a histogram; both may be nil
function _M.counter(name, help, labels, options)
    return define("counter", name, help, labels, options)
end

function _M.gauge(name, help, labels, options)
    return define("gauge", name, help, labels, options)
end

function _M.histogram(name, help, labels, options)
    return define("histogram", name, help, labels, options)
end

-- Counts the request that ends. For log_by_lua*.
function _M.log()
    local ok, err = pcall(log_request)
    if not ok then
        failed(err)
    end
end

-- Counts a request to one of our own status locations as ended, and makes no row of it. For log_by_lua*.
function _M.log_status_page()
    local ok, usable = pcall(rare)
    if ok and usable then
        requests.ended[0] = requests.ended[0] + 1
    end
end

-- Starts the worker's timer before its first request. For init_worker_by_lua*.
-- options: {socket = path, buckets = "0.005 0.01 ..."}, the same as in the include; nil for the defaults.
function _M.init_worker(options)
    options = options or {}
    if ngx.worker.id() == nil then
        return  -- a cache manager or privileged agent: it serves no requests
    end
    if worker and worker.started and not provisional then
        return  -- it was told before
    end
    local ok, err = pcall(provisional and adopt or start, options.socket or "", options.buckets or "")
    if not ok then
        failed(err)
    end
end

return _M
