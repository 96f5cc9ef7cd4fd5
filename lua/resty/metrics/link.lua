-- The line to the collector: opening, reopening, and saying once what is wrong with it.
--
-- A connected sender follows the socket, not the path, and one who swallows datagrams gives no error: so the line is
-- opened again on every error but EAGAIN and EMSGSIZE, and when nothing is heard for retry.OVERDUE_TICKS after a send.
-- When the pipe is broken nothing can be reported through it: then nginx's error log gets one line per change.

local transport = require "resty.metrics.transport"
local process = require "resty.metrics.process"
local counters = require "resty.metrics.counters"
local datagram = require "resty.metrics.datagram"
local error_log = require "resty.metrics.error_log"
local retry = require "resty.metrics.retry"

local ngx = ngx
local log, ERR, WARN = error_log.write, ngx.ERR, ngx.WARN
local setmetatable = setmetatable

local REMEDY = {
    ENOENT = "no socket there: start the collector (resty-metrics serve), or set $resty_metrics_socket to its path",
    ECONNREFUSED = "nobody listens on that socket: start the collector (resty-metrics serve)",
    EACCES = "this user may not reach or write it: see --socket.mode, and the modes of the directories above",
    EPROTOTYPE = "that is not a datagram socket, so not the collector's: see who made it",
    EPERM = "that socket is connected to somebody else, so not the collector's: see who made it",
    setup = "if descriptors are lacking, raise worker_rlimit_nofile; request metrics wait in this worker",
    EMFILE = "raise worker_rlimit_nofile; request metrics wait in this worker",
    ENFILE = "raise fs.file-max of this machine; request metrics wait in this worker",
    ack_overdue = "datagrams go out and nothing answers: the collector hangs, or another program has its socket",
    uid = "the collector does not accept this user: start it with --socket.allow-uid",
    not_ready = "the collector is not ready yet",
    sender_cap = "the collector has as many senders as it accepts",
    version = "the collector is older than this Lua module: update it, or put the Lua files of its version back and "
        .. "reload nginx",
    newer = "the collector is newer than this Lua module: bring the Lua files to its version (resty-metrics install) "
        .. "and reload nginx",
}

local _M = {}
local mt = { __index = _M }

function _M.new(path)
    return setmetatable({
        path = path,
        transport = nil,
        backoff = 0,
        retry_at = 0,
        unanswered_tick = nil,  -- of the first send since something was last heard
        reported = "ok",
    }, mt)
end

-- One line in the error log for each change of state.
local function say(self, state, text, remedy)
    if self.reported == state then
        return
    end
    self.reported = state
    if state == "ok" then
        log(WARN, "resty-metrics: the collector at ", self.path, " answers again")
    else
        log(ERR, "resty-metrics: the collector at ", self.path, " cannot be reached: ", text, " (", state,
            ", worker's uid ", process.uid(), "); ",
            remedy or REMEDY[state] or "request metrics wait in this worker until it can", "; this is said once")
    end
end

local function failed(self, reason, text, now)
    counters.add("errors", reason)
    self.backoff = retry.next_pause(self.backoff)
    self.retry_at = now + self.backoff
    say(self, reason, text)
end

-- Returns true when the line is open; opens it if it is time to try.
function _M.open(self, now)
    if self.transport and self.transport:connected() then
        return true
    elseif now < self.retry_at then
        return false
    end
    if not self.transport then
        local opened, err = transport.new(self.path)
        if not opened then
            failed(self, "setup", err, now)
            return false
        end
        self.transport = opened
    end
    local ok, name, text = self.transport:connect()
    if not ok then
        failed(self, name, text, now)
        return false
    end
    return true
end

-- Nothing is sent before then: the path may still change.
function _M.wait_until(self, time)
    self.retry_at = time
end

-- The socket is somewhere else. What is sent next goes there.
function _M.redirect(self, path)
    self.retry_at = 0
    if self.path == path then
        return
    end
    self.path = path
    self.unanswered_tick = nil
    if self.transport then
        self.transport:redirect(path)
    end
end

function _M.is_open(self)
    return self.transport ~= nil and self.transport:connected()
end

local function reopen(self, reason)
    counters.add("reopens", reason)
    self.transport:close()
    self.unanswered_tick = nil
end

-- Sends a batch. Returns "sent", "again" (the queue is full), "too_large", or "broken": then the line has been closed.
function _M.send(self, batch, tick)
    local ok, name, text = self.transport:send(batch)
    if ok then
        self.unanswered_tick = self.unanswered_tick or tick
        return "sent"
    elseif name == "EAGAIN" then
        self.unanswered_tick = self.unanswered_tick or tick
        counters.add("errors", name)
        return "again"
    elseif name == "EMSGSIZE" then
        counters.add("errors", name)
        return "too_large"
    end
    counters.add("errors", name)
    say(self, name, text)
    reopen(self, name)
    return "broken"
end

-- Closes a line on which nothing was heard for too long. Returns whether it did.
function _M.close_if_overdue(self, tick)
    if not self.unanswered_tick or tick - self.unanswered_tick <= retry.OVERDUE_TICKS then
        return false
    end
    say(self, "ack_overdue", "no answer")
    reopen(self, "ack_overdue")
    return true
end

-- A worker before this one, of another version, had sent what it left.
local function say_inherited(self)
    if self.reported ~= "inherited" then
        self.reported = "inherited"
        log(WARN, "resty-metrics: the collector at ", self.path, " holds batches that a worker of another version left; ",
            "nothing else waits with them; they are counted once a collector of their version is back, and end with ",
            "this nginx; this is said once")
    end
end

local function say_held(self, answer)
    local text, remedy = "it holds our batches, reason " .. answer.reason, nil
    if answer.reason == "version" and answer.version == datagram.VERSION then
        return say_inherited(self)
    elseif answer.reason == "version" then
        text = text .. ": its protocol is version " .. answer.version .. ", ours " .. datagram.VERSION
        remedy = answer.version > datagram.VERSION and REMEDY.newer or nil
    end
    say(self, answer.reason, text, remedy)
end

-- An answer came: somebody who knows the protocol is there. any_held(): whether a sender of this worker is held; it may
-- be another one than the answer is for, and the line is well only when none is.
function _M.heard(self, answer, any_held)
    self.unanswered_tick = nil
    self.backoff = 0
    if answer.verdict == "ack" then
        if self.reported ~= "ok" and not any_held() then
            say(self, "ok")
        end
    elseif answer.verdict == "hold" then
        say_held(self, answer)
    elseif self.said_drop ~= answer.reason then
        self.said_drop = answer.reason
        log(ERR, "resty-metrics: the collector dropped a batch as ", answer.reason, ": its rows are lost; ",
            "do the versions of the Lua module and the collector agree? This is said once")
    end
end

return _M
