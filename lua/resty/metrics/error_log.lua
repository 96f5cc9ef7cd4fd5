-- nginx's error log, for as long as it may be written to.
--
-- Rules:
-- - A line has our words alone: lua-resty-core's raw_log writes them, ngx.log puts "[lua] file:line: function():" in front.
-- - The log is that of the request at hand. While the Lua machine is closed it is that of the last request, whose memory
--   has been freed: the worker crashes, and what it had not sent is lost. So the finalizer closes the log first.

local log = ngx.log
local concat = table.concat
local pcall, require, select, tostring = pcall, require, select, tostring

local _M = {}

local open = log ~= nil  -- a thread of ngx.run_worker_thread has none

-- nil where it cannot be loaded, now or at all.
local function find()
    local ok, errlog = pcall(require, "ngx.errlog")
    return ok and errlog.raw_log or nil
end

local raw_log = open and find()

-- Returns a text as one line: an error of Lua's may have several.
function _M.one_line(text)
    return (tostring(text):gsub("%s+", " "))
end

-- level: ngx.ERR and its like; then what ngx.log takes
function _M.write(level, ...)
    if not open then
        return
    end
    local words = {}
    for i = 1, select("#", ...) do
        words[i] = tostring((select(i, ...)))
    end
    local line = concat(words)
    raw_log = raw_log or find()
    if not (raw_log and pcall(raw_log, level, line)) then
        log(level, line)
    end
end

function _M.close()
    open = false
end

return _M
