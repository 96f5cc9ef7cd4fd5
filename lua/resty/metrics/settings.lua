-- What the user may set, and the words it is refused with. Pure.
--
-- The include sets two nginx variables, lifecycle.conf states the same as Lua arguments: variables cannot be read in
-- init_worker. Whoever comes first decides for the worker's life.

local floor = math.floor

local DEFAULT_SOCKET = "/run/resty-metrics/collector.sock"
-- Seconds: OpenTelemetry's bounds for http.server.request.duration, and 30 and 60.
local DEFAULT_BUCKETS = "0.005 0.01 0.025 0.05 0.075 0.1 0.25 0.5 0.75 1 2.5 5 7.5 10 30 60"
local MAX_BOUNDS = 64

local _M = { DEFAULT_SOCKET = DEFAULT_SOCKET, DEFAULT_BUCKETS = DEFAULT_BUCKETS }

-- Bounds in milliseconds from seconds separated by blanks; nil and what to do where they cannot be used.
function _M.bounds(text)
    local bounds = {}
    for word in text:gmatch("%S+") do
        local seconds = tonumber(word)
        local milliseconds = seconds and floor(seconds * 1000 + 0.5)
        if not seconds or not (seconds > 0 and seconds < 1e6) or milliseconds < 1 then
            return nil, "bucket \"" .. word .. "\" is not a number of seconds from 0.001 up"
        end
        if #bounds > 0 and milliseconds <= bounds[#bounds] then
            return nil, "bucket \"" .. word .. "\" does not lie above the one before it (nginx measures milliseconds)"
        end
        bounds[#bounds + 1] = milliseconds
    end
    if #bounds == 0 or #bounds > MAX_BOUNDS then
        return nil, "there must be 1 to " .. MAX_BOUNDS .. " buckets, seconds separated by blanks"
    end
    return bounds
end

local function or_default(value, default)
    return (value == nil or value == "") and default or value
end

-- socket, buckets: strings or nil. Returns {socket, buckets, bounds} and, where the buckets are refused, why:
-- then the default ones hold.
function _M.read(socket, buckets)
    socket = or_default(socket, DEFAULT_SOCKET):gsub("^unix:", "")
    buckets = or_default(buckets, DEFAULT_BUCKETS)
    local bounds, err = _M.bounds(buckets)
    if not bounds then
        buckets, bounds = DEFAULT_BUCKETS, _M.bounds(DEFAULT_BUCKETS)
    end
    return { socket = socket, buckets = buckets, bounds = bounds }, err
end

return _M
