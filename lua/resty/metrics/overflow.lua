-- The labels that a row gives up where its family is full. Pure.
-- As the collector does (collector/resty_metrics/table/overflow.py).

local OTHER = "other"
local UPGRADED = "101"      -- the status of a connection that was upgraded to another protocol
local PEER = "peer"         -- of upstreams
local SCOPE = "scope"
-- Labels that stay, of requests and of their durations. The user's stand behind them; `scheme` is one of those in requests.
local KEPT = { server = true, method = true, status = true, scope = true }
local KEPT_OF_DURATIONS = { server = true, method = true, status = true, status_class = true, scheme = true, scope = true }

local DURATIONS = "nginx_http_request_duration_seconds"

local _M = { OTHER = OTHER, UPGRADED = UPGRADED, DURATIONS = DURATIONS }

local function kept_of(shape)
    return shape.type == "requests" and KEPT or shape.name == DURATIONS and KEPT_OF_DURATIONS or nil
end

-- From and to: the user's labels, or the peer of an upstream; where there is none of these the first label, but not a scope.
local function given_up(shape)
    local labels = shape.labels
    if shape.custom then
        return 1, #labels
    end
    local kept = kept_of(shape)
    for i = 1, #labels do
        if kept and not kept[labels[i]] then
            return i, #labels
        elseif not kept and labels[i] == PEER then
            return i, i
        end
    end
    return 1, kept and labels[1] == SCOPE and 0 or 1
end

local function replaced(values, labels, from, to)
    local changed = {}
    for i = 1, labels do
        changed[i] = i >= from and i <= to and OTHER or values[i]
    end
    return changed
end

-- Label values of which some are "other".
function _M.give_up(values, shape)
    return replaced(values, #shape.labels, given_up(shape))
end

-- Label values that are "other", but for the scope, which keeps two families apart.
function _M.give_up_all(values, shape)
    local changed = replaced(values, #shape.labels, 1, #shape.labels)
    for i = 1, shape.scope and #shape.labels or 0 do
        if shape.labels[i] == SCOPE then
            changed[i] = values[i]
        end
    end
    return changed
end

return _M
