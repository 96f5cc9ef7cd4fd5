-- nginx's error log, for as long as it may be written to.
--
-- ngx.log writes to the log of the request at hand. While the Lua machine is closed it takes the last request that was
-- logged for that one, whose memory has been freed: the worker crashes, and what it had not sent is lost. So the
-- finalizer closes the log first.

local log = ngx.log

local _M = {}

local open = true

-- level: ngx.ERR and its like; then what ngx.log takes
function _M.write(level, ...)
    if open then
        log(level, ...)
    end
end

function _M.close()
    open = false
end

return _M
