-- The durations of requests: a family of its own, since a histogram is many series and few of a request's labels say
-- anything about its duration. Pure.

local floor = math.floor

local OURS = { "server", "method", "status", "status_class", "scheme" }  -- in the order of the wire
local OTEL = { "server", "method", "status", "scheme" }  -- what OpenTelemetry's http.server.request.duration needs
local SCHEME = "scheme"  -- the one that requests lack: nginx's variable of that name is read for it
local overflow = require "resty.metrics.overflow"
local NAME, OTHER = overflow.DURATIONS, overflow.OTHER

local _M = { NAME = NAME, OURS = OURS, SCHEME = SCHEME }

-- The class of a status: "1xx" to "5xx"; "other" where it is none.
function _M.class_of(status)
    return status >= 100 and status <= 599 and floor(status / 100) .. "xx" or OTHER
end

local function add_all(set, list)
    for i = 1, #list do
        set[list[i]] = true
    end
end

local function set_of(...)
    local set = {}
    for i = 1, select("#", ...) do
        add_all(set, (select(i, ...)))
    end
    return set
end

local OUR_SET = set_of(OURS)

-- A user's label that is called "scheme" stands where ours does.
local function in_order(chosen, names)
    local labels = {}
    for i = 1, #OURS do
        labels[#labels + 1] = chosen[OURS[i]] and OURS[i] or nil
    end
    for i = 1, #names do
        labels[#labels + 1] = chosen[names[i]] and not OUR_SET[names[i]] and names[i] or nil
    end
    return labels
end

-- The labels of durations by default: names are those of the user's labels.
function _M.default(names)
    return in_order(set_of({ "server", "status_class" }, names), names)
end

-- The labels that a text such as "server status route" chooses, in the order of the wire; names: those of the user's labels.
-- "otel" and "*" stand for several. nil, and what to do, where there is no label of that name.
function _M.choose(text, names)
    local possible, chosen = set_of(OURS, names), {}
    for word in text:gmatch("%S+") do
        if word == "*" then
            add_all(chosen, OURS)
            add_all(chosen, names)
        elseif word == "otel" then
            add_all(chosen, OTEL)
        elseif possible[word] then
            chosen[word] = true
        else
            return nil, "there is no label \"" .. word .. "\" of durations: use server, method, status, status_class, scheme, "
                .. "a label of yours, otel or *"
        end
    end
    return in_order(chosen, names)
end

-- The same for a scope without a choice of its own: what the choice names and the scope lacks is left out.
function _M.choose_among(text, names)
    local possible, words = set_of(OURS, names, { "*", "otel" }), {}
    for word in text:gmatch("%S+") do
        words[#words + 1] = possible[word] and word or nil
    end
    return _M.choose(table.concat(words, " "), names)
end

-- bounds: milliseconds; scope: nil for the requests of no scope; labels: as above
function _M.shape(bounds, scope, labels)
    local names, scoped = {}, scope == nil
    for i = 1, #labels + 1 do
        if not scoped and not OUR_SET[labels[i]] then
            names[#names + 1], scoped = "scope", true
        end
        names[#names + 1] = labels[i]
    end
    return {
        name = NAME,
        type = "histogram",
        help = "Time from a request's first byte to its log entry.",
        scope = scope,
        labels = names,
        bounds = bounds,
        scale = 1000,
        columns = { "sum" },
    }
end

return _M
