-- The reason of a request that failed (status 400 or above), from nginx's variables: docs/metrics.md, "Failed requests", has
-- the table and nginx's evidence for each line of it. Pure: variables are read from a table that is passed in.
--
-- Rules:
-- - The first line that fits decides. What variables do not tell apart has one reason; nothing is guessed.
-- - A variable is read only where a line before it did not fit. One that this nginx lacks is nil.
-- - Of several upstream attempts the last real one decides: its address is an IP address or a unix socket.

local attempts = require "resty.metrics.attempts"

local byte, find, sub = string.byte, string.find, string.sub
local tonumber = tonumber

local ADDRESSES_MOST = 4096  -- texts of $upstream_addr that are remembered
local NEVER = "-"            -- in a list of times: it did not come to that
local FIRST_FAILED = 400
local CLIENT_CLOSED, REQUEST_TIMEOUT, BAD_REQUEST = 499, 408, 400

local CACHED = { HIT = true, STALE = true, UPDATING = true, REVALIDATED = true }

local _M = { FIRST_FAILED = FIRST_FAILED }

-- The side that a reason points to: the client, the upstream, nginx (with its configuration), or its cache.
_M.ORIGIN = {
    closed_by_client = "client", request_timeout = "client", tls = "client", bad_request = "client", too_large = "client",
    cached_error = "cache",
    from_upstream = "upstream",
    connect_failed = "nginx", no_response = "nginx", invalid_response = "nginx", connect_timeout = "nginx",
    response_timeout = "nginx", no_live_peer = "nginx",
    rate_limited = "nginx", connection_limited = "nginx", denied = "nginx", not_found = "nginx", dropped = "nginx",
    answered = "nginx",
}

local BY_STATUS = {
    [400] = "bad_request", [405] = "bad_request", [411] = "bad_request", [412] = "bad_request", [415] = "bad_request",
    [416] = "bad_request", [417] = "bad_request", [421] = "bad_request", [501] = "bad_request", [505] = "bad_request",
    [413] = "too_large", [414] = "too_large",
    [401] = "denied", [403] = "denied",
    [404] = "not_found", [410] = "not_found",
    [444] = "dropped",
}

local function is_real(address)
    return find(address, "^%d+%.%d+%.%d+%.%d+:") ~= nil or byte(address) == 91 or sub(address, 1, 5) == "unix:"  -- 91: "["
end

local place_by_addresses, known = {}, 0

-- The place of the last real attempt among the items of $upstream_addr; 0 where there is none.
local function place_of(addresses)
    local place = place_by_addresses[addresses]
    if place then
        return place
    end
    local items = attempts.split(addresses)
    place = 0
    for i = 1, #items do
        place = is_real(items[i]) and i or place
    end
    if known >= ADDRESSES_MOST then
        place_by_addresses, known = {}, 0
    end
    place_by_addresses[addresses], known = place, known + 1
    return place
end

-- One item of a list. Most requests have one attempt, and those need no list.
local function item(text, place)
    text = text or ""
    if place == 1 and not find(text, ", ", 1, true) and not find(text, " : ", 1, true) then
        return text
    end
    return attempts.split(text)[place] or ""
end

local function came(time)
    return time ~= NEVER and time ~= ""
end

-- The reason of an attempt; nil where what came of it is not why the request failed.
local function of_attempt(var, place)
    local status = tonumber(item(var.upstream_status, place))
    if came(item(var.upstream_header_time, place)) then
        return status and status >= FIRST_FAILED and "from_upstream" or nil
    elseif status == 502 then
        if not came(item(var.upstream_connect_time, place)) then
            return "connect_failed"
        end
        return item(var.upstream_bytes_received, place) == "0" and "no_response" or "invalid_response"
    elseif status == 504 then
        return came(item(var.upstream_connect_time, place)) and "response_timeout" or "connect_timeout"
    end
end

local function of_upstream(var)
    local addresses = var.upstream_addr
    if addresses == nil or addresses == "" then
        return nil
    end
    local place = place_of(addresses)
    if place == 0 then
        return "no_live_peer"
    end
    return of_attempt(var, place)
end

local function of_limits(var)
    if var.limit_req_status == "REJECTED" then
        return "rate_limited"
    end
    return var.limit_conn_status == "REJECTED" and "connection_limited" or nil
end

local function of_client(status, var)
    if status == CLIENT_CLOSED or status == BAD_REQUEST and var.bytes_sent == "0" then
        return "closed_by_client"
    end
    return status == REQUEST_TIMEOUT and "request_timeout" or nil
end

local function by_status(status, var)
    local verified = status == BAD_REQUEST and var.ssl_client_verify
    if verified and sub(verified, 1, 6) == "FAILED" then
        return "tls"
    end
    return BY_STATUS[status] or "answered"
end

-- status: the final one of the request; var: nginx's variables of the log phase.
function _M.reason(status, var)
    return of_client(status, var)
        or CACHED[var.upstream_cache_status or ""] and "cached_error"
        or of_upstream(var)
        or of_limits(var)
        or by_status(status, var)
end

return _M
