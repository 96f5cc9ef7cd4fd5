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

local machine = require "resty.metrics.machine"
local place = require "resty.metrics.place"
local shortage = require "resty.metrics.shortage"
local start = require "resty.metrics.start"

local ngx = ngx
local each, pcall, type = pairs, pcall, type  -- `each`: see resty/metrics/counters.lua

-- Does nothing, and is not compiled by LuaJIT: see count_failure().
local end_trace, NOTHING = table.maxn or type, {}

local _M = { _VERSION = "0.1.0" }

local worker, requests, failures, api, count
local ready = false         -- requests are counted and sent

place.pin()
start.register(_M._VERSION, function(its_worker, its_api)
    worker, api = its_worker, its_api
    requests = require "resty.metrics.requests"
    failures = require "resty.metrics.failures"
end)

-- What a request does as long as none can be counted, or it is not known that what is counted can be sent. Returns whether
-- this one can be counted.
local function rare()
    local sends
    count, sends = start.in_request()
    ready = count ~= nil and sends == true
    return count ~= nil
end

-- Returns what count_failure() needs, where the request failed.
local function log_request()
    if ngx.is_subrequest or not (ready or rare()) then
        return
    end
    local key, status = count()
    if worker.exiting or not worker.timer_running then
        start.go_on()
    end
    return key, status
end

-- options: {scope = name, labels, buckets, duration_labels}; nil: nginx's variables state them
local function log_in_scope(options)
    if ngx.is_subrequest or not (ready or rare()) then
        return
    end
    local count_there = start.scope(options)
    local key, status = count_there()
    if worker.exiting or not worker.timer_running then
        start.go_on()
    end
    return key, status
end

-- Counts the request that failed, once it has been counted as a request.
--
-- What a request does is one trace of LuaJIT. One that went to an upstream and failed would have more constants than a trace
-- may (500), and LuaJIT would give up what all requests have in common. So the trace ends here, and another one may go on.
-- It ends outside of log_request(), whose traces must not end within it: what leaves them could not be compiled.
local function count_failure(key, status)
    end_trace(NOTHING)
    local ok, err = pcall(failures.count, key, status)
    if not ok then
        start.failed(err, ready)
    end
end

-- Whether what the user's own metrics count now has a chance to be sent: starts the worker where it can. Returns true, or
-- nil and why not.
_M.wake = start.wake

-- kind: "counter", "gauge" or "histogram"; the rest as below; store: for compat/prometheus.lua, see metric.lua
function _M.define(kind, name, help, labels, options, store)
    local ok, why = start.prepare()
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

-- Counts the request that ends. For log_by_lua*; elsewhere it may return nil and why it does nothing.
-- options: nil, or {scope = name, labels = ..., buckets = "0.1 1 10", duration_labels = "server"}, where labels is a text as in the include
-- ("tenant=http_x_tenant"), a list of such words, or {tenant = "http_x_tenant"}: what a scope is at its first use, it
-- stays.
function _M.log(options)
    local ok, result, status
    if options == nil then
        ok, result, status = pcall(log_request)
    else
        ok, result, status = pcall(log_in_scope, options)
    end
    if not ok then
        return start.failed(result, ready)
    elseif status then
        count_failure(result, status)
    end
end

-- Counts the request that ends in the scope that nginx's variables name. For log_by_lua*.
function _M.log_scope()
    local ok, result, status = pcall(log_in_scope)
    if not ok then
        return start.failed(result, ready)
    elseif status then
        count_failure(result, status)
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
        return start.failed(err, ready)
    end
end

-- Starts the worker's timer before its first request. For init_worker_by_lua*. Returns true, or nil and why not.
-- options: {socket = path, buckets = "0.005 0.01 ...", nginx = name}, the same as in the include; nil for the defaults.
function _M.init_worker(options)
    if options == nil then
        options = {}
    end
    local ok, started, why = pcall(start.init_worker, options)
    if not ok then
        return start.put_off(started)
    end
    return started, why
end

-- root: the folder of a copy of this module that was asked for, and may be another one. Says so where it has another version.
function _M.compare_copies(root)
    place.compare(root, _M._VERSION)
end

-- Where nothing can ever be counted each function says why, and does nothing else.
local refusal, where = machine.refusal()
if refusal then
    local function refuse()
        return shortage.refuse(refusal, where)
    end
    for name, member in each(_M) do
        _M[name] = type(member) == "function" and refuse or member
    end
end

return _M
