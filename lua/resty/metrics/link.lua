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

-- The states in which a collector is there and answers, or should. In every other one the socket itself is at fault.
local ANSWER = {
    ack_overdue = "does not answer",
    uid = "does not accept what this worker sends",
    not_ready = "does not accept what this worker sends yet",
    sender_cap = "does not accept what this worker sends",
    version = "does not accept what this worker sends",
}
local REMEDY = {
    ENOENT = "No socket is there. Start the collector (resty-metrics serve), or set $resty_metrics_socket to its path",
    ECONNREFUSED = "No process listens on that socket. Start the collector (resty-metrics serve)",
    EACCES = "This user may not write to the socket, or not search a directory above it. Check --socket.mode, and the modes "
        .. "of the directories",
    EPROTOTYPE = "It is not a datagram socket, so not the collector's. Find the program that made it (resty-metrics doctor)",
    EPERM = "That socket is connected to another program, so it is not the collector's. Find the program that made it "
        .. "(resty-metrics doctor)",
    setup = "If file descriptors are lacking, raise worker_rlimit_nofile",
    EMFILE = "Raise worker_rlimit_nofile",
    ENFILE = "Raise fs.file-max of this machine",
    ack_overdue = "The collector hangs, or another program has its socket. Run resty-metrics doctor",
    uid = "Start the collector with --socket.allow-uid=",
    not_ready = "If this lasts, see the collector's log",
    sender_cap = "Run a second collector for some of the workers",
    version = "The collector is older than this Lua module. Upgrade it, or put the Lua files of its version back and reload "
        .. "nginx",
    newer = "The collector is newer than this Lua module. Upgrade the Lua files (resty-metrics install), and reload nginx",
}

-- Reasons of a collector that answers, but takes nothing yet.
local HELD = {
    not_ready = "it is starting or ending",
    sender_cap = "it has as many senders as it accepts",
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

local function remedy_of(state)
    if state == "uid" then
        return REMEDY.uid .. process.uid()
    end
    return REMEDY[state] or "Run resty-metrics doctor"
end

-- One line in the error log for each change of state.
local function say(self, state, text, remedy)
    if self.reported == state then
        return
    end
    self.reported = state
    if state == "ok" then
        return log(WARN, "resty-metrics: the collector at ", self.path, " answers again")
    end
    local answer = ANSWER[state]
    log(ERR, "resty-metrics: ", answer and "the collector at " or "cannot send to the collector at ", self.path,
        answer and " " .. answer or "", ": ", text, " (", state, ", worker's uid ", process.uid(), "). ",
        remedy or remedy_of(state), ". Requests are still counted; their counts are sent later. Logged once")
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
    say(self, "ack_overdue", "datagrams are not acknowledged")
    reopen(self, "ack_overdue")
    return true
end

-- A worker before this one, of another version, had sent what it left.
local function say_inherited(self)
    if self.reported ~= "inherited" then
        self.reported = "inherited"
        log(WARN, "resty-metrics: the collector at ", self.path, " holds batches that a worker of another version left. ",
            "Only these wait. They are counted when a collector of their version runs again, and lost when this nginx ends. ",
            "Logged once")
    end
end

local function say_held(self, answer)
    local reason, text, remedy = answer.reason, HELD[answer.reason], nil
    if reason == "version" and answer.version == datagram.VERSION then
        return say_inherited(self)
    elseif reason == "version" then
        text = "its protocol is version " .. answer.version .. ", this module's is " .. datagram.VERSION
        remedy = answer.version > datagram.VERSION and REMEDY.newer or nil
    elseif reason == "uid" then
        text = "user " .. process.uid() .. " may not send"
    end
    say(self, reason, text or "no reason is known", remedy)
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
        log(ERR, "resty-metrics: the collector at ", self.path, " dropped a batch (", answer.reason, "), and its rows are ",
            "lost. Give the Lua module and the collector the same version. Logged once")
    end
end

return _M
