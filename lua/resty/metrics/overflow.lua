-- The labels that a row gives up where its family is full. Pure.
-- As the collector does (collector/resty_metrics/table/overflow.py).

local OTHER = "other"
local REQUEST_LABELS = 3    -- server, method, status, and the scope if there is one: those behind are the user's
local STATUS, SCOPE = 3, 4
local UPGRADED = "101"      -- the status of a connection that was upgraded to another protocol
local PEER = "peer"         -- of upstreams

local _M = { OTHER = OTHER, UPGRADED = UPGRADED, REQUEST_LABELS = REQUEST_LABELS }

-- From and to: the user's labels, or the peer of an upstream; the first label where there is none of these.
local function given_up(shape)
    local labels = shape.labels
    local from, to = 1, shape.custom and #labels or 0
    if shape.type == "requests" then
        from, to = REQUEST_LABELS + (shape.scope and 1 or 0) + 1, #labels
    end
    for i = 1, shape.type == "counter" and not shape.custom and #labels or 0 do
        if labels[i] == PEER then
            from, to = i, i
        end
    end
    if from > to then
        return 1, 1
    end
    return from, to
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

-- Label values that are "other". What keeps two families apart stays, the scope; and so does the status of an upgraded
-- connection, whose duration would stand among those of requests.
function _M.give_up_all(values, shape)
    local changed = replaced(values, #shape.labels, 1, #shape.labels)
    if shape.scope then
        changed[SCOPE] = values[SCOPE]
    end
    if shape.type == "requests" and values[STATUS] == UPGRADED then
        changed[STATUS] = UPGRADED
    end
    return changed
end

return _M
