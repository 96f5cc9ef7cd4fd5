-- How a worker begins to count, and to send.
--
-- Rules:
-- - Requests are counted from the first one on, where the parts of the module can be loaded: what waits is sending.
-- - A Lua machine that may be that of a single request counts too, and says nothing: it sends and says what it has once it
--   turns out to be the worker's.
-- - Nothing is marked as begun in the master: workers inherit it.

local error_log = require "resty.metrics.error_log"
local machine = require "resty.metrics.machine"
local place = require "resty.metrics.place"
local shortage = require "resty.metrics.shortage"

local ngx = ngx
local pcall, require, tostring = pcall, require, tostring

local _M = {}

local version, on_loaded                    -- of the module: see register()
local counters, settings, stated, worker, scopes, api, fault  -- once they are loaded
local running = false                       -- the worker sends
local claimed = false                       -- this is the Lua machine that sends
local unsaid = {}                           -- complaints of before that: {reason, text}
local kept_options                          -- of an init_worker that came before the parts could be loaded

local loading = shortage.new({
    is = "is off", meanwhile = "Nothing is counted until it is on again", over = "is on again",
}, "start", function() _M.go_on() end)
local sending = shortage.new({
    is = "cannot send", meanwhile = "Requests are still counted; their counts are sent later", over = "can send again",
}, "start", function() _M.go_on() end)

-- The module that is started: its version, and on_loaded(worker, api), which is called once the parts are loaded.
function _M.register(its_version, its_on_loaded)
    version, on_loaded = its_version, its_on_loaded
end

-- loading ------------------------------------------------------------------------------------------------------------

local function load_parts()
    require "resty.core"
    counters = require "resty.metrics.counters"
    fault = require "resty.metrics.fault"
    settings = require "resty.metrics.settings"
    stated = require "resty.metrics.stated"
    scopes = require "resty.metrics.scopes"
    worker = require "resty.metrics.worker"
    require("resty.metrics.heartbeat").set_version(version)
    require("resty.metrics.metric").set_wake(_M.wake)
    api = require "resty.metrics.api"
    on_loaded(worker, api)
end

-- Loads the rest, which may be in the master already. Returns true, or nil and why not.
local function prepare()
    if shortage.refused then
        return nil, shortage.refused
    elseif api then
        return true
    elseif not loading:due() then
        return nil, loading:why()
    end
    local ok, err = pcall(load_parts)
    if not ok then
        api = nil
        place.forget_failures()
        return loading:failed(err)
    end
    loading:over()
    local options = kept_options
    kept_options = nil
    if options then
        _M.init_worker(options)
    end
    return true
end
_M.prepare = prepare

-- sending ------------------------------------------------------------------------------------------------------------

local function complain(reason, text)
    if claimed then
        fault.report(reason, text)
    else
        unsaid[#unsaid + 1] = { reason, text }
    end
end

-- Makes this the Lua machine of the process that sends. Returns true, or nil and why another one is.
local function claim(phase)
    local request = settings.REQUEST_PHASES[phase] and ngx.var.connection .. " " .. ngx.req.start_time() or nil
    local ok, why = machine.claim(phase, request)
    if not ok then
        return nil, why
    end
    claimed = true
    for i = 1, #unsaid do
        fault.report(unsaid[i][1], unsaid[i][2])
    end
    unsaid = {}
    return true
end

-- Says once what is not as it should be.
local function look_around()
    place.compare(place.on_path(), version)
    if not require("resty.metrics.spool").present() then
        error_log.write(ngx.WARN, "resty-metrics: lua_shared_dict resty_metrics_spool is not declared, so a ",
            "worker that ends loses what is not acknowledged. Include resty-metrics.conf, which declares it")
    end
end

-- Begins to send, if it is time to try. Returns true, or nil and why not.
local function try()
    if running then
        return true
    elseif not sending:due() then
        return nil, sending:why()
    end
    local ok, started, err = pcall(worker.start, stated.socket, stated.name)
    if not ok or not started then
        return sending:failed(ok and err or started)
    end
    running = true
    sending:over()
    if stated.provisional then
        worker.wait_for_settings()
    end
    fault.guard(api.begin_worker)
    shortage.count_with(counters)
    fault.guard(look_around)
    return true
end

-- What was stated holds from here on for a worker that sends already.
local function adopt()
    if running then
        worker.adopt(stated.socket, stated.name)
    end
end

local function take_variables()
    stated.by_variables(ngx.var)
    adopt()
end

-- What is left to do where the worker does not send yet, has no timer, or ends.
function _M.go_on()
    if not prepare() then
        return
    elseif not running then
        return stated.socket and try()
    end
    if not worker.exiting and not worker.timer_running then
        worker.start_timer()
    elseif worker.exiting and not worker.draining then
        worker.start_drainer()
    end
end

-- A call that is wrong where it stands. What is counted in the master one worker sends.
local function misuse(phase, text)
    local _, why = shortage.misuse(text)
    if phase == "init" and prepare() then
        api.begin_master()
        shortage.settle(counters)
    end
    return nil, why
end

-- calls --------------------------------------------------------------------------------------------------------------

-- In the first request that can be counted. Returns the function that counts those of no scope, and whether this machine
-- sends; or nil and why there is none.
function _M.in_request()
    local ok, why = prepare()
    if not ok then
        return nil, why
    elseif not loading:due() then
        return nil, loading:why()
    end
    local sends = claim(ngx.get_phase())
    if sends and stated.told then
        stated.compare(ngx.var)
    elseif sends then
        take_variables()
    end
    if not scopes.default then
        scopes.start(ngx.var, stated.buckets, complain)
    end
    loading:over()
    if sends then
        try()
    end
    return scopes.default, sends == true
end

-- An error where the module is called. counting: requests are counted already. Returns nil and why.
function _M.failed(err, counting)
    local ok, why = prepare()
    if not ok then
        return nil, why
    end
    local phase = ngx.get_phase()
    if not settings.REQUEST_PHASES[phase] then
        return misuse(phase, "log() counts the current request, and there is none in " .. phase .. "; call it in log_by_lua*")
    elseif not counting then
        return loading:failed(err)
    end
    fault.report_error(err)
    return nil, tostring(err)
end

-- An error while the worker begins. Returns nil and why.
function _M.put_off(err)
    return loading:failed(err)
end

-- Returns the function that counts in the scope of `options`, or, without them, in that which nginx's variables state.
function _M.scope(options)
    return options and scopes.of(options, complain) or scopes.stated(ngx.var, complain)
end

-- Whether what the user's own metrics count now has a chance to be sent: starts the worker where it can. Returns true, or
-- nil and why not. defining: a metric is only made, which lasts as long as the Lua machine does, whichever that is.
function _M.wake(defining)
    if running then
        if stated.provisional and settings.REQUEST_PHASES[ngx.get_phase()] then
            take_variables()
        end
        if worker.exiting or not worker.timer_running then
            _M.go_on()
        end
        return true
    end
    local ok, why = prepare()
    if not ok then
        return nil, why
    end
    local phase = ngx.get_phase()
    if phase == "init" then
        api.begin_master()
        return true
    elseif ngx.worker.id() == nil then
        return nil, "this process serves no requests: nothing is sent from here"
    end
    ok, why = claim(phase)
    if not ok then
        return defining or nil, why
    elseif settings.REQUEST_PHASES[phase] and not stated.told then
        take_variables()
    elseif not stated.socket then
        stated.by_nobody()
    end
    try()
    return shortage.refused == nil or nil, shortage.refused
end

-- Returns true, or nil and why there is no worker whose start this could be.
local function may_begin(phase)
    if phase == "init" then
        return misuse(phase, "init_worker() was called in init_by_lua*: call it in init_worker_by_lua*")
    elseif ngx.worker.id() == nil then
        return nil, "this process serves no requests: nothing is sent from here"
    elseif stated and stated.told then
        return nil, "init_worker() was called before, and what it stated holds"
    end
    return true
end

-- Begins before the first request. options: see metrics.lua. Returns true, or nil and why not.
function _M.init_worker(options)
    local phase = ngx.get_phase()
    local ok, why = may_begin(phase)
    if not ok then
        return nil, why
    end
    machine.note_phase(phase)
    ok, why = prepare()
    if not ok then
        kept_options = options
        return nil, why
    end
    options, why = settings.read_options(options)
    if not options then
        return misuse(phase, "init_worker() " .. why)
    end
    ok, why = claim(phase)
    if not ok then
        return nil, why
    end
    stated.by_init_worker(options)
    adopt()
    return try()
end

return _M
