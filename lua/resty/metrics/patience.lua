-- Patience with what fails for lack of something: when to try again, and for how long it has failed. Pure: time is the
-- caller's, in seconds.

local max, min = math.max, math.min
local setmetatable = setmetatable

local FIRST_SECONDS, MOST_SECONDS = 1, 60

local _M = {}
local mt = { __index = _M }

function _M.new()
    return setmetatable({ pause = 0, again = 0, since = nil }, mt)
end

-- Returns whether it is time to try.
function _M.due(self, now)
    return now >= self.again
end

-- Puts the next attempt off, twice as long each time. Returns whether this is the first failure since the last success.
function _M.failed(self, now)
    local first = self.since == nil
    self.since = self.since or now
    self.pause = min(max(self.pause * 2, FIRST_SECONDS), MOST_SECONDS)
    self.again = now + self.pause
    return first
end

-- Returns for how many seconds it had failed before this success; nil where it had not.
function _M.over(self, now)
    local since = self.since
    self.pause, self.again, self.since = 0, 0, nil
    return since and max(0, now - since)
end

return _M
