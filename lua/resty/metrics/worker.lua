-- The life of a worker: the timer, the tick, and how it goes away.
--
-- Rules:
-- - Everything here begins on first use *in the worker*: a module loaded by the master is inherited by all workers.
-- - Nothing throws into nginx: a tick is a pcall, and an error is said once and counted.
-- - Going away: on premature, flush and wait for acks; requests that end later start a drainer; a finalizer sends what
--   is left when the Lua machine is closed, and what is not acked even then goes into the spool.

local cycle = require "resty.metrics.cycle"
local error_log = require "resty.metrics.error_log"
local flush = require "resty.metrics.flush"
local holdings = require "resty.metrics.holdings"
local inheritance = require "resty.metrics.inheritance"
local link_of = require "resty.metrics.link"
local lag = require "resty.metrics.lag"
local leaving = require "resty.metrics.leaving"
local process = require "resty.metrics.process"
local rows = require "resty.metrics.rows"
local spool = require "resty.metrics.spool"
local stream_of = require "resty.metrics.stream"

local ngx = ngx
local fault = flush.fault
local monotonic = process.monotonic

local TICK_SECONDS = 1
local TICK_WORK_SECONDS = 0.9      -- a tick ends before the next begins
local PREMATURE_SECONDS = 1
local SETTINGS_SECONDS = 10        -- a worker without a request goes on with the default settings then
local FLUSH_NOW_SECONDS = 0.2
local FINALIZER_SECONDS = 0.3      -- the master kills soon after TERM

local _M = { started = false, exiting = false, draining = false, fault = fault }

local busy = false
local first_tick_due = 0

-- the tick -----------------------------------------------------------------------------------------------------------

-- From here on this is where the collector is, and what this nginx is called.
local function use_settings(socket, name)
    flush.link:redirect(socket)
    holdings.own.instance = name
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
        inheritance.take_stream()
    end
    holdings.drained = false
    holdings.settle_accounts()
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
    local ok, err = pcall(action)
    busy = false
    if not ok then
        fault("internal", "an error in the module itself, please report it: " .. tostring(err))
    end
    return true
end

local function flush_until(ends)
    holdings.drained = false
    holdings.settle_accounts()
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
    local allowed, made = pcall(ngx.timer.at, 0, drain)  -- not in exit_worker_by_lua
    if not allowed or not made then
        _M.draining = false  -- the finalizer will do it
    end
end

local function wait()
    flush.link.transport:wait(flush.AGAIN_SECONDS * 1000)
end

local function say_goodbye(ends)
    local streams = holdings.streams
    for i = 1, #streams do
        if streams[i]:unacked() == 0 then
            while flush.bye(streams[i]) == "again" and monotonic() < ends do
                wait()
            end
        end
    end
end

-- Runs when the Lua machine is closed: nothing else of nginx happens meanwhile, so it may block, but only so long.
local function finish()
    local ends = monotonic() + FINALIZER_SECONDS
    holdings.drained = false
    holdings.settle_accounts()
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
    holdings.settle_accounts()
    inheritance.leave()
end

-- starting -----------------------------------------------------------------------------------------------------------

-- With lua_code_cache off the first request's machine began to count before anybody could know, and its timer keeps it.
local function retired()
    if not _M.retired and process.marked(process.CODE_CACHE_MARK) then
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
    flush.tick = flush.tick + 1
    rows.tick = flush.tick
    lag.observe(monotonic())
    guarded(work)
end

local function on_first_tick(premature)
    if _M.timer_running then
        return  -- this one came so late that another took its place
    end
    if not premature then
        local ok, err = ngx.timer.every(TICK_SECONDS, on_tick)
        _M.timer_running = ok and true or false
        if not ok then
            _M.exiting = ngx.worker.exiting()
            if not _M.exiting then
                fault("timer", "no timer could be had (" .. tostring(err) .. "), the next request tries again; "
                    .. "see lua_max_pending_timers and lua_max_running_timers")
            end
        end
    end
    on_tick(premature)
end

-- Starts the timer, later in the second for each worker: the collector's queue holds ten datagrams.
-- A request may ask again until the first tick has come: ngx_lua drops a timer that expires while as many run as
-- lua_max_running_timers allows.
function _M.start_timer()
    local now = monotonic()
    if now < first_tick_due then
        return
    end
    local share = TICK_SECONDS * (ngx.worker.id() or 0) / (ngx.worker.count() or 1)
    local allowed, made = pcall(ngx.timer.at, share, on_first_tick)  -- not in exit_worker_by_lua
    if allowed and made then
        first_tick_due = now + share + TICK_SECONDS
    else
        _M.exiting = ngx.worker.exiting()
    end
end

local function arm_finalizer()
    local sentinel = newproxy(true)
    getmetatable(sentinel).__gc = function()
        error_log.close()
        if process.pid() == _M.pid and not _M.retired then
            pcall(finish)
        end
    end
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

-- socket: the path of the collector's; name: of this nginx, or nil. Returns true, or nil and why.
function _M.start(socket, name)
    local id, err = process.random(16)
    if not id then
        return nil, err
    end
    flush.link = link_of.new(socket)
    local own = stream_of.new(id, process.wall_ms(), 1)
    own.instance = name
    holdings.start(own, tostring(ngx.worker.id() or 0))
    spool.open()
    cycle.read()
    _M.pid = process.pid()
    arm_finalizer()
    _M.started = true
    _M.start_timer()
    return true
end

return _M
