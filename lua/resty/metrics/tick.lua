-- The ticks of a worker: its timer makes one each second, and most of what it does happens then.

local _M = {
    SECONDS = 1,  -- from one tick to the next
    number = 0,   -- of the ticks so far. Read for each row that becomes dirty: so it is a field, and no function
}

function _M.pass()
    _M.number = _M.number + 1
end

return _M
