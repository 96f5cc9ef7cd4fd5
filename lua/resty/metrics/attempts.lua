-- nginx's lists of upstream attempts, read. Pure.
--
-- Source: ngx_http_upstream_addr_variable and its neighbours in src/http/ngx_http_upstream.c. Each $upstream_* has one
-- item per attempt; ", " stands between attempts, " : " where an internal redirect went on to another upstream, "-" for
-- what never happened. An item without an address is none: the redirect found no peer to try.

local find, sub = string.find, string.sub
local floor = math.floor

local SHORT_BYTES = 18  -- "0.000|0.012|0.013|"

local _M = { SHORT_BYTES = SHORT_BYTES }

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
    local attempts, retries, visited = {}, { [true] = 0, [false] = 0 }, {}
    for i = 1, #status do
        if unclear and status[i] ~= "" or not unclear and peer[i] ~= "" then
            local group, in_last = groups[i], groups[i] == groups[#groups]
            attempts[#attempts + 1] = {
                item = i, peer = unclear and "" or peer[i], status = status[i], last_group = in_last,
            }
            if visited[group] then
                retries[in_last] = retries[in_last] + 1
            end
            visited[group] = true
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

local function digits(bytes, at)
    return bytes[at] * 1000 + bytes[at + 2] * 100 + bytes[at + 3] * 10 + bytes[at + 4] - 53328  -- four times "0", weighted
end

-- Whether these bytes begin with the times of one attempt, each below ten seconds: "0.000|0.012|0.013|". The commonest case,
-- read without making a string; LuaJIT compiles it.
function _M.is_short(bytes, size)
    return size >= SHORT_BYTES and bytes[5] == 124 and bytes[11] == 124 and bytes[17] == 124
        and bytes[1] == 46 and bytes[7] == 46 and bytes[13] == 46
end

-- Those three, in milliseconds.
function _M.short_times(bytes)
    return digits(bytes, 0), digits(bytes, 6), digits(bytes, 12)
end

-- A text of $rm_attempts, "connect|header|response|statuses|cache status|addresses|name", as the times and the rest;
-- or the cache status alone, without times.
function _M.halves(text)
    local first = find(text, "|", 1, true)
    if not first then
        return nil, text
    end
    local last = find(text, "|", find(text, "|", first + 1, true) + 1, true)
    return sub(text, 1, last - 1), sub(text, last + 1)
end

-- That rest: "statuses|cache status|addresses|name", of which the first three cannot hold a "|" unless the path of a unix
-- socket does; or the cache status alone.
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
