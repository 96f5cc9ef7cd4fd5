-- resty-metrics: counts nginx's requests in the worker and sends the sums to the collector.
--
--     log_by_lua_file .../resty/metrics/hook.lua;               the drop-in include does this
--     log_by_lua_file .../resty/metrics/scope.lua;              other labels or buckets, for a server or location
--     log_by_lua_file .../resty/metrics/off.lua;                not counted
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

local OFF = "resty-metrics is off in this worker; nginx's error log says why"

local settings, worker, requests, scopes, api, count
local disabled = false
local ready = false         -- the first request has been here
local provisional = false   -- nobody has stated the socket yet
local stated_buckets        -- by init_worker

local function refuse(text)
    disabled = true
    log(ERR, "resty-metrics is off in this worker: ", text)
    return nil, text
end

-- Loads the rest, once it is known that it can work. Returns true, or nil and why.
local function load()
    if not process.is_supported(ngx.config.ngx_lua_version) then
        return refuse("it needs OpenResty 1.21.4.1, or lua-nginx-module 0.10.21 with LuaJIT 2.1, or later")
    end
    if ngx.config.subsystem ~= "http" then
        return refuse("it is for http{}, and stream{} has a Lua machine of its own")
    end
    require "resty.core"
    settings = require "resty.metrics.settings"
    requests = require "resty.metrics.requests"
    scopes = require "resty.metrics.scopes"
    worker = require "resty.metrics.worker"
    require("resty.metrics.heartbeat").version = _M._VERSION
    require("resty.metrics.metric").wake = _M.wake
    api = require "resty.metrics.api"
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

-- The name of this nginx; nil where it has none, or one that cannot be used, which is said.
local function name_of(stated)
    local name, why = settings.nginx(stated)
    if why then
        worker.fault("name", why .. "; its series have no label nginx")
    end
    return name
end

-- What nginx's variables state of socket and name.
local function stated()
    return ngx.var.resty_metrics_socket, ngx.var.resty_metrics_nginx
end

local function start(socket, name)
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
    _M.socket, _M.nginx = settings.socket(socket), name_of(name)
    local started, reason = worker.start(_M.socket, _M.nginx)
    if not started then
        return refuse(reason)
    end
    api.begin_worker()
    if not require("resty.metrics.spool").present() then
        log(WARN, "resty-metrics: lua_shared_dict resty_metrics_spool is not declared: ",
            "what is not acknowledged when a worker ends will be lost; the include declares it")
    end
    return true
end

-- Where init_worker stated what nginx's configuration states too.
local function compare_with_variables()
    local socket, name = stated()
    socket, name = settings.socket(socket), name_of(name)
    local buckets = ngx.var.resty_metrics_buckets or settings.DEFAULT_BUCKETS
    local used = stated_buckets or buckets
    if socket ~= _M.socket or buckets ~= used or name ~= _M.nginx then
        worker.fault("settings", "init_worker states " .. settings.words(_M.socket, used, _M.nginx) ..
            ", but nginx's configuration " .. settings.words(socket, buckets, name) ..
            "; those of init_worker hold: make them equal")
    end
end

-- Socket and name of a worker that began before anybody could state them: those of a request, or of init_worker.
local function adopt(socket, name)
    provisional = false
    _M.socket, _M.nginx = settings.socket(socket), name_of(name)
    worker.adopt(_M.socket, _M.nginx)
end

-- What a request does only at first. Returns whether requests can be counted.
local function rare()
    if disabled then
        return false
    elseif not worker or not worker.started then
        if not start(stated()) then
            return false
        end
    elseif provisional then
        adopt(stated())
    else
        compare_with_variables()
    end
    scopes.start(ngx.var, stated_buckets, worker.fault)
    count = scopes.default
    ready = true
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
    if ngx.is_subrequest or not (ready or rare()) then
        return
    end
    count()
    if worker.exiting or not worker.timer_running then
        after()
    end
end

-- options: {scope = name, labels, buckets}; nil: nginx's variables state them
local function log_in_scope(options)
    if ngx.is_subrequest or not (ready or rare()) then
        return
    end
    local count_there = options and scopes.of(options, worker.fault) or scopes.stated(ngx.var, worker.fault)
    count_there()
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
    elseif settings.REQUEST_PHASES[phase] then
        return start(stated())
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
        if provisional and settings.REQUEST_PHASES[ngx.get_phase()] then
            adopt(stated())
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
function _M.define(kind, name, help, labels, options, store)
    local ok, why = prepare()
    if not ok then
        return nil, why
    end
    return api.define(kind, name, help, labels, options, store)
end

-- A counter, a gauge, a histogram of your own: docs/lua-api.md. Each returns the metric, or nil and why.
-- labels: a list of label names; options: {combine = ...} of a gauge, {buckets = ...} of a histogram; both may be nil
function _M.counter(name, help, labels, options)
    return _M.define("counter", name, help, labels, options)
end

function _M.gauge(name, help, labels, options)
    return _M.define("gauge", name, help, labels, options)
end

function _M.histogram(name, help, labels, options)
    return _M.define("histogram", name, help, labels, options)
end

-- Counts the request that ends. For log_by_lua*.
-- options: nil, or {scope = name, labels = ..., buckets = "0.1 1 10"}, where labels is a text as in the include
-- ("tenant=http_x_tenant"), a list of such words, or {tenant = "http_x_tenant"}: what a scope is at its first use, it
-- stays.
function _M.log(options)
    local ok, err
    if options == nil then
        ok, err = pcall(log_request)
    else
        ok, err = pcall(log_in_scope, options)
    end
    if not ok then
        failed(err)
    end
end

-- Counts the request that ends in the scope that nginx's variables name. For log_by_lua*.
function _M.log_scope()
    local ok, err = pcall(log_in_scope)
    if not ok then
        failed(err)
    end
end

local function end_request()
    if not ngx.is_subrequest and (ready or rare()) then
        requests.ended[0] = requests.ended[0] + 1
    end
end

-- Counts the request that ends as ended, and makes no row of it: our own status locations, and what the user leaves
-- out. For log_by_lua*.
function _M.log_nothing()
    local ok, err = pcall(end_request)
    if not ok then
        failed(err)
    end
end

-- Starts the worker's timer before its first request. For init_worker_by_lua*.
-- options: {socket = path, buckets = "0.005 0.01 ...", nginx = name}, the same as in the include; nil for the defaults.
function _M.init_worker(options)
    options = options or {}
    local told = worker and worker.started and not provisional
    if told or ngx.worker.id() == nil then
        return  -- it was told before; or a cache manager or privileged agent, which serves no requests
    end
    stated_buckets = options.buckets
    local ok, err = pcall(provisional and adopt or start, options.socket, options.nginx)
    if not ok then
        failed(err)
    end
end

return _M
