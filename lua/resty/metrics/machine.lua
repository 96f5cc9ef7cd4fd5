-- The Lua machines of this process, and which of them counts.
--
-- nginx has one for http{} that lives as long as the worker. Others run beside it: that of stream{}, those of
-- ngx.run_worker_thread, and one for each request where lua_code_cache is off.
--
-- Rules:
-- - A machine that can never count touches nothing that it shares with the others: no mark, no symbol of nginx's http.
-- - One machine sends for the process. It is the one that lasts; which that is shows at its second request.
-- - The environment is the one memory that they share without a directive of nginx.

local error_log = require "resty.metrics.error_log"

local loaded = package.loaded
local format, pcall, require, tostring, type = string.format, pcall, require, tostring, type

-- The oldest that the modules are written for: OpenResty 1.21.4.1.
local OLDEST_NGX_LUA = 10021
local OLDEST_LUAJIT = 20100

local HOLDER = "RESTY_METRICS_MACHINE"      -- the machine that sends
local OTHERS = "RESTY_METRICS_CODE_CACHE"   -- there was a second one: lua_code_cache is off somewhere

local CODE_CACHE = "lua_code_cache is off for this request, or was for an earlier one: such requests cannot be counted"

local _M = {}

local lasting = false   -- this machine has outlived a request
local token
local process           -- loaded in machines that may count
local first_request     -- the id of the first one that was seen here
local busy_ticks = 0

-- Returns why nothing is ever counted in this Lua machine, and where that is; nil where requests can be counted.
function _M.refusal()
    local ngx, jit = ngx, loaded.jit
    if ngx.config.subsystem ~= "http" then
        return "nothing is counted in stream{}: call it in http{}", "stream{}"
    elseif type(ngx.log) ~= "function" or type(ngx.timer) ~= "table" then
        return "nothing is counted in a thread of ngx.run_worker_thread: call it where the thread's results are used", "this thread"
    elseif not jit or jit.version_num < OLDEST_LUAJIT or ngx.config.ngx_lua_version < OLDEST_NGX_LUA then
        return "it needs OpenResty 1.21.4.1, or lua-nginx-module 0.10.21 with LuaJIT 2.1, or later", "this worker"
    elseif not pcall(require, "ffi") then
        return "it needs LuaJIT with its FFI", "this worker"
    end
end

local function holder()
    return process.environment(HOLDER):match("^" .. process.pid() .. " (.*)$")
end

local function hold()
    process.set_environment(HOLDER, process.pid() .. " " .. token)
end

local function has_others()
    return process.environment(OTHERS) == tostring(process.pid())
end

local function take()
    process = process or require "resty.metrics.process"
    token = token or format("%.9f %s", process.monotonic(), tostring(_M))
    local current = holder()
    if current == token then
        return true
    elseif current and not lasting then
        return false
    end
    hold()
    return true
end

-- Only the machine of the worker runs init_worker_by_lua*, and sees a second request.
function _M.note_phase(phase)
    lasting = lasting or phase == "init_worker"
end

-- Makes this machine the one that sends, if none does or this one is known to last. phase: nginx's; request: what tells the
-- request at hand from others, or nil ($request_id is another one each time it is read). Returns true, or nil and why another
-- machine sends.
function _M.claim(phase, request)
    first_request = first_request or request
    _M.note_phase(phase)
    lasting = lasting or request ~= nil and request ~= first_request
    if take() then
        return true
    elseif not has_others() then
        process.set_environment(OTHERS, tostring(process.pid()))
        error_log.write(ngx.ERR, "resty-metrics is off for requests with lua_code_cache off, which cannot be counted. ",
            "Remove lua_code_cache off")
    end
    return nil, CODE_CACHE
end

-- A tick, and how many requests have ended in this machine since the last one. Returns whether it may send.
function _M.may_send(ended)
    if ended > 0 then
        busy_ticks = busy_ticks + 1
        lasting = lasting or ended > 1 or busy_ticks > 1
        if lasting then
            take()
        end
    end
    return holder() == token and (lasting or not has_others())
end

return _M
