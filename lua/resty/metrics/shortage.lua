-- What cannot be done for now, what can never be done, and calls that are wrong where they stand.
--
-- Rules:
-- - What fails for lack of something (descriptors, memory, timers, a file that cannot be read) is tried again with
--   patience. The error log has a line when that begins and one when it is over; each attempt that failed is counted.
-- - Only what no later attempt can do is refused for good, with the reason.

local error_log = require "resty.metrics.error_log"
local patience = require "resty.metrics.patience"

local ngx = ngx
local now, ERR = ngx.now, ngx.ERR
local one_line, write = error_log.one_line, error_log.write
local floor = math.floor
local each, pcall, setmetatable = pairs, pcall, setmetatable  -- `each`: see counters.lua

-- Errors that no later attempt is without.
local FOR_GOOD = { "attempt to redefine", "undefined symbol", "cannot resolve symbol", "missing declaration for symbol" }

local _M = {
    refused = nil,   -- why nothing is ever counted in this Lua machine
}
local mt = { __index = _M }

local counters          -- once what is added to them is sent by this worker
local uncounted = {}    -- reason -> errors of before that
local said_misuse = {}

local function count(reason)
    if counters then
        counters.add("faults", reason)
    else
        uncounted[reason] = (uncounted[reason] or 0) + 1
    end
end

-- Counts what could not be counted when it happened.
function _M.settle(by)
    for reason, errors in each(uncounted) do
        by.add("faults", reason, errors)
        uncounted[reason] = nil
    end
end

-- What is added to these counters is sent by this worker: from now on all is counted when it happens.
function _M.count_with(by)
    counters = by
    _M.settle(by)
end

-- Says once that nothing is counted here, ever. Returns nil and why.
function _M.refuse(err, where)
    if not _M.refused then
        _M.refused = one_line(err)
        write(ERR, "resty-metrics is off in ", where or "this worker", ": ", _M.refused)
    end
    return nil, _M.refused
end

-- A call that is wrong where it stands is refused, and nothing else changes. Returns nil and the text.
function _M.misuse(text)
    count("call")
    if not said_misuse[text] then
        said_misuse[text] = true
        write(ERR, "resty-metrics: ", text, ". This call does nothing. Logged once")
    end
    return nil, text
end

-- words: {is, meanwhile, over}, as in "resty-metrics <is> in this worker for now: ...; <meanwhile>"; reason: under which its
-- failures are counted; again(): the next attempt, where a timer can be had for it (nil: somebody else makes it)
function _M.new(words, reason, again)
    return setmetatable({ words = words, reason = reason, again = again, patience = patience.new(), planned = false }, mt)
end

-- Returns whether it is time to try.
function _M.due(self)
    return self.patience:due(now())
end

-- Returns why it is not done now, in words.
function _M.why(self)
    return "resty-metrics " .. self.words.is .. " in this worker for now: " .. (self.text or "?")
end

local function is_for_good(text)
    for i = 1, #FOR_GOOD do
        if text:find(FOR_GOOD[i], 1, true) then
            return true
        end
    end
    return false
end

-- Where memory is lacking a timer ends the worker: ngx_lua allocates for it outside of any pcall.
local function plan(self)
    if self.planned or not self.again or self.text:find("memory", 1, true) then
        return
    end
    local allowed, scheduled = pcall(ngx.timer.at, self.patience.pause, function(premature)
        self.planned = false
        if not premature then
            self.again()
        end
    end)
    self.planned = allowed and scheduled ~= nil
end

-- An attempt failed. Returns nil and why.
function _M.failed(self, err)
    self.text = one_line(err)
    if is_for_good(self.text) then
        return _M.refuse(self.text)
    end
    count(self.reason)
    if self.patience:failed(now()) then
        write(ERR, self:why(), ". ", self.words.meanwhile, ". It is tried again, at least once a minute. Logged once")
    end
    plan(self)
    return nil, self:why()
end

-- An attempt succeeded.
function _M.over(self)
    local seconds = self.patience:over(now())
    if seconds then
        write(ERR, "resty-metrics ", self.words.over, " in this worker, after ", floor(seconds), " s")
    end
end

return _M
