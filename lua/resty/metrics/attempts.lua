-- nginx's lists of upstream attempts, read. Pure.
--
-- Source: ngx_http_upstream_addr_variable and its neighbours in src/http/ngx_http_upstream.c. Each $upstream_* has one
-- item per attempt; ", " stands between attempts, " : " where an internal redirect went on to another upstream, "-" for
-- what never happened. An item without an address is none: the redirect found no peer to try.

local find, sub, byte = string.find, string.sub, string.byte
local floor = math.floor

local FAST_BYTES = 17  -- "0.000|0.012|0.013"

local _M = {}

-- The items of a list, and for each the number of the group between redirects that it is in.
function _M.split(text)
    local items, groups, group, from = {}, {}, 1, 1
    while true do
        local first, last = find(text, " ?[,:] ", from)
        items[#items + 1] = sub(text, from, first and first - 1)
        groups[#groups + 1] = group
        if not first then
            return items, groups
        elseif last - first == 2 then
            group = group + 1
        end
        from = last + 1
    end
end

-- Attempts of a request in order: {item, peer, status, last_group}; then the number of retries in each group by whether
-- it is the last one: {[true] = number, [false] = number}.
-- Where addresses cannot be told apart (a path with a comma in it), peer is "".
function _M.read(statuses, addresses)
    local status, groups = _M.split(statuses)
    local peer = _M.split(addresses)
    local unclear = #peer ~= #status
    local attempts, retries, seen = {}, { [true] = 0, [false] = 0 }, {}
    for i = 1, #status do
        if unclear and status[i] ~= "" or not unclear and peer[i] ~= "" then
            local group, in_last = groups[i], groups[i] == groups[#groups]
            attempts[#attempts + 1] = {
                item = i, peer = unclear and "" or peer[i], status = status[i], last_group = in_last,
            }
            if seen[group] then
                retries[in_last] = retries[in_last] + 1
            end
            seen[group] = true
        end
    end
    return attempts, retries
end

-- Milliseconds of each item; false for "-".
function _M.milliseconds(text)
    local items = _M.split(text)
    for i = 1, #items do
        local seconds = tonumber(items[i])
        items[i] = seconds and floor(seconds * 1000 + 0.5) or false
    end
    return items
end

-- The three lists of "connect|header|response".
function _M.times(text)
    local first = find(text, "|", 1, true)
    local second = find(text, "|", first + 1, true)
    return {
        connect = _M.milliseconds(sub(text, 1, first - 1)),
        header = _M.milliseconds(sub(text, first + 1, second - 1)),
        response = _M.milliseconds(sub(text, second + 1)),
    }
end

local function digits(text, at)
    local a, _, b, c, d = byte(text, at, at + 4)
    return a * 1000 + b * 100 + c * 10 + d - 53328  -- 53328: four times "0", at these weights
end

-- The same for the commonest case, one attempt with three times below ten seconds: three numbers, or nothing. No string
-- is made, and LuaJIT compiles it.
function _M.three(text)
    if #text == FAST_BYTES and byte(text, 6) == 124 and byte(text, 12) == 124
        and byte(text, 2) == 46 and byte(text, 8) == 46 and byte(text, 14) == 46 then
        return digits(text, 1), digits(text, 7), digits(text, 13)
    end
end

-- "statuses|cache status|addresses|name", of which the first three cannot hold a "|" unless the path of a unix socket
-- does; or the cache status alone.
function _M.fields(text)
    local first = find(text, "|", 1, true)
    if not first then
        return "", text, "", ""
    end
    local second = find(text, "|", first + 1, true)
    local third = find(text, "|", second + 1, true)
    return sub(text, 1, first - 1), sub(text, first + 1, second - 1), sub(text, second + 1, third - 1),
        sub(text, third + 1)
end

return _M
