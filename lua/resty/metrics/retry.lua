-- When what was sent counts as unanswered, and how long what failed waits before it is tried again. Pure.

local max, min = math.max, math.min

local RETRY_FIRST, RETRY_MOST = 1, 5  -- seconds

local _M = { OVERDUE_TICKS = 2 }

-- Returns the pause after this one, in seconds: twice as long each time.
function _M.next_pause(pause)
    return min(max(pause * 2, RETRY_FIRST), RETRY_MOST)
end

return _M
