-- The life of a worker: the timer, the tick, and how it goes away.
--
-- Rules:
-- - Everything here begins on first use *in the worker*: a module loaded by the master is inherited by all workers.
-- - Nothing throws into nginx: a tick is a pcall, and an error is said once and counted.
-- - Going away: on premature, flush and wait for acks; requests that end later start a drainer; a finalizer sends what
--   is left when the Lua machine is closed, and what is not acked even then goes into the spool.

local ffi = require "ffi"
local cycle = require "resty.metrics.cycle"
local error_log = require "resty.metrics.error_log"
local fault = require "resty.metrics.fault"
local flush = require "resty.metrics.flush"
local holdings = require "resty.metrics.holdings"
local inheritance = require "resty.metrics.inheritance"
local lag = require "resty.metrics.lag"
local leaving = require "resty.metrics.leaving"
local machine = require "resty.metrics.machine"
local process = require "resty.metrics.process"
local requests = require "resty.metrics.requests"
local spool = require "resty.metrics.spool"
local sender_of = require "resty.metrics.sender"
local tick = require "resty.metrics.tick"
local ticker = require "resty.metrics.ticker"

local ngx = ngx
local newproxy = rawget(package.loaded._G, "newproxy")  -- Lua code may have removed it
local monotonic = process.monotonic

local TICK_WORK_SECONDS = 0.9      -- a tick ends before the next begins
local PREMATURE_SECONDS = 1
local SETTINGS_SECONDS = 10        -- a worker without a request goes on with the default settings then
local FLUSH_NOW_SECONDS = 0.2
local FINALIZER_SECONDS = 0.3      -- the master kills soon after TERM

local _M = { started = false, timer_running = false, exiting = false, draining = false }

local busy = false

-- the tick -----------------------------------------------------------------------------------------------------------

-- From here on this is where the collector is, and what this nginx is called.
local function use_settings(socket, name)
    flush.use_socket(socket)
    _M.instance = name
    holdings.own:set_instance(name)
end

-- A worker that nobody has told where the collector is learns it from one that a request has told.
local function share_settings()
    if _M.waiting then
        local path, name = spool.kept_settings()
        if path then
            _M.waiting = false
            use_settings(path, name)
        end
    elseif not _M.shared then
        _M.shared = true
        spool.keep_settings(flush.link.path, holdings.own.instance)
    end
end

local function work()
    local now = monotonic()
    local ends = now + TICK_WORK_SECONDS
    share_settings()
    flush.read_answers(now)
    flush.check_overdue(now)
    inheritance.take_rows()
    if holdings.own.state == "flowing" and flush.link:is_open() then
        inheritance.take_sender()
    end
    holdings.begin_flush()
    flush.send_heartbeat(now, ends)
    flush.run(ends)
    flush.await_acks(ends)
    inheritance.release()
end

-- A tick that finds the one before still at work leaves it alone.
local function guarded(action)
    if busy then
        return false
    end
    busy = true
    fault.guard(action)
    busy = false
    return true
end

local function flush_until(ends)
    holdings.begin_flush()
    flush.flush_now(ends)
end

-- A tick now, by a request that may yield: so what it has just counted is on the page that it asks for.
function _M.flush_now()
    if not _M.started or _M.exiting then
        return
    end
    local ends = monotonic() + FLUSH_NOW_SECONDS
    while not guarded(function() flush_until(ends) end) and monotonic() < ends do
        ngx.sleep(flush.AGAIN_SECONDS)
    end
end

-- going away ---------------------------------------------------------------------------------------------------------

local function drain()
    local patience = monotonic() + PREMATURE_SECONDS
    while not guarded(leaving.flush) and monotonic() < patience do
        ngx.sleep(flush.AGAIN_SECONDS)
    end
    _M.draining = false
end

-- A request ended after the worker was told to go, when no timer but timer.at(0) runs any more.
function _M.start_drainer()
    _M.draining = true
    local allowed, scheduled = pcall(ngx.timer.at, 0, drain)  -- not in exit_worker_by_lua
    if not allowed or not scheduled then
        _M.draining = false  -- the finalizer will do it
    end
end

local function wait()
    flush.link.transport:wait(flush.AGAIN_SECONDS * 1000)
end

local function say_goodbye(ends)
    local senders = holdings.senders
    for i = 1, #senders do
        if senders[i]:unacked() == 0 then
            while flush.bye(senders[i]) == "again" and monotonic() < ends do
                wait()
            end
        end
    end
end

-- Runs when the Lua machine is closed: nothing else of nginx happens meanwhile, so it may block, but only so long.
local function finish()
    local ends = monotonic() + FINALIZER_SECONDS
    holdings.begin_flush()
    flush.retry_all()
    while not holdings.nothing_left() and monotonic() < ends do
        local result = flush.slice(false)
        if result == "broken" then
            break
        elseif result ~= "more" then
            wait()
        end
    end
    say_goodbye(ends)
    holdings.begin_flush()
    inheritance.leave()
end

-- starting -----------------------------------------------------------------------------------------------------------

local function begin_sender()
    local id, err = process.random(16)
    if not id then
        return nil, err
    end
    local own = sender_of.new(id, process.wall_ms(), 1)
    own:set_instance(_M.instance)
    holdings.start(own, tostring(ngx.worker.id() or 0))
    return true
end

-- Whether another Lua machine of this process sends: lua_code_cache is off somewhere. What this one has counted is sent
-- before; one that turns out to be the worker's own begins anew.
local function retired()
    if machine.may_send(requests.ended[0]) then
        if _M.retired then
            _M.retired = not begin_sender()
        end
    elseif not _M.retired then
        _M.retired = true
        pcall(finish)
    end
    return _M.retired
end

local function on_tick(premature)
    if retired() then
        return
    end
    if premature then
        _M.exiting, _M.draining = true, true
        return drain()
    end
    tick.pass()
    lag.observe(monotonic())
    guarded(work)
end

-- These are read for each request: so they are fields of this module, and the timer says what they are.
local function on_timer(running, exiting)
    _M.timer_running, _M.exiting = running, _M.exiting or exiting
end

function _M.start_timer()
    ticker.start(on_tick, on_timer)
end

local function on_close()
    error_log.close()
    if process.pid() == _M.pid and not _M.retired then
        pcall(finish)
    end
end

local function arm_finalizer()
    if not newproxy then
        _M.sentinel = ffi.gc(ffi.new("char[1]"), on_close)
        return
    end
    local sentinel = newproxy(true)
    getmetatable(sentinel).__gc = on_close
    _M.sentinel = sentinel
end

-- Nobody has stated the settings yet: what is counted waits for a request, which can read them, here or in another worker;
-- not for ever.
function _M.wait_for_settings()
    _M.waiting, _M.shared = true, true
    flush.link:wait_until(monotonic() + SETTINGS_SECONDS)
end

-- A request has read where the collector's socket is, and the name of this nginx (or nil).
function _M.adopt(socket, name)
    _M.waiting, _M.shared = false, false
    use_settings(socket, name)
end

-- socket: the path of the collector's; name: of this nginx, or nil. Returns true, or nil and why not now. Nothing of it is
-- done twice when it is called again.
function _M.start(socket, name)
    flush.use_socket(socket)
    _M.instance = name
    local ok, err = begin_sender()
    if not ok then
        return nil, err
    end
    spool.open()
    cycle.read()
    _M.pid = process.pid()
    if not _M.sentinel then
        arm_finalizer()
    end
    _M.started = true
    _M.start_timer()
    return true
end

return _M
