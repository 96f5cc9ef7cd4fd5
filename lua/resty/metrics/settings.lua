-- What the user may set, and the words it is refused with. Pure.
--
-- The include sets nginx's variables; lifecycle.conf states three of them again as Lua arguments, since variables cannot be
-- read in init_worker. Whoever comes first decides for the worker's life.

local definition = require "resty.metrics.definition"
local durations = require "resty.metrics.durations"
local prefix = require "resty.metrics.prefix"

local floor = math.floor
local sort = table.sort
local each, pcall, type, tostring = pairs, pcall, type, tostring  -- `each`: see counters.lua

local DEFAULT_SOCKET = "/run/resty-metrics/collector.sock"
local DEFAULT_BUCKETS = table.concat(definition.DEFAULT_BOUNDS, " ")
local MAX_BOUNDS = 64
local MAX_LABELS = prefix.MAX_LABELS - #durations.OURS - 1  -- of the user: what a family may have, without ours
local MAX_NAME = 64      -- bytes of a scope's name, and of an nginx's

local RESERVED = { server = true, method = true, status = true, status_class = true, scope = true, le = true }

local _M = { DEFAULT_SOCKET = DEFAULT_SOCKET, DEFAULT_BUCKETS = DEFAULT_BUCKETS }

-- In these nginx's variables are those of a request that has its configuration.
_M.REQUEST_PHASES = {
    set = true, rewrite = true, server_rewrite = true, access = true, precontent = true, content = true,
    header_filter = true, body_filter = true, log = true, balancer = true,
}

-- In these ngx_lua lets code wait: ngx.sleep and cosockets work.
_M.WAITING_PHASES = { rewrite = true, server_rewrite = true, access = true, content = true, timer = true }

-- Bounds in milliseconds from seconds separated by blanks; nil and what to do where they cannot be used.
function _M.bounds(text)
    local bounds = {}
    for word in text:gmatch("%S+") do
        local seconds = tonumber(word)
        local milliseconds = seconds and floor(seconds * 1000 + 0.5)
        if not seconds or not (seconds > 0 and seconds < 1e6) or milliseconds < 1 then
            return nil, "bucket \"" .. word .. "\" is not a number of seconds from 0.001 up; separate buckets by blanks"
        end
        if #bounds > 0 and milliseconds <= bounds[#bounds] then
            return nil, "bucket \"" .. word .. "\" is not above the bucket before it (in whole milliseconds)"
        end
        bounds[#bounds + 1] = milliseconds
    end
    if #bounds == 0 or #bounds > MAX_BOUNDS then
        return nil, "give 1 to " .. MAX_BOUNDS .. " buckets, in seconds, separated by blanks"
    end
    return bounds
end

-- Pairs {label, variable} of a text "label=variable label=variable", of a list of such words, or of a table
-- {label = variable}, whose labels are then in alphabetical order. nil and why where it is none of these.
local function pairs_of(stated)
    local words = {}
    if type(stated) == "string" then
        for word in stated:gmatch("%S+") do
            words[#words + 1] = word
        end
    elseif type(stated) ~= "table" then
        return nil, "labels must be a text or a table, not a " .. type(stated)
    elseif #stated > 0 then
        words = stated
    else
        for label, variable in each(stated) do
            words[#words + 1] = tostring(label) .. "=" .. tostring(variable)
        end
        sort(words)
    end
    local listed = {}
    for i = 1, #words do
        local label, variable = tostring(words[i]):match("^([^=]*)=%$?(.*)$")
        if not label then
            return nil, "\"" .. tostring(words[i]) .. "\" is not label=variable"
        end
        listed[i] = { label, variable }
    end
    return listed
end

local function refused(label, variable, used)
    if not definition.is_label(label) or label:find("^__") then
        return "\"" .. label:sub(1, definition.MAX_NAME_BYTES) .. "\" is not a valid label name: use letters, digits and _"
    elseif RESERVED[label] then
        return "the label name \"" .. label .. "\" is reserved: use another one"
    elseif used[label] then
        return "the label \"" .. label .. "\" is given twice"
    elseif not variable:find("^[%w_]+$") then
        return "\"" .. variable .. "\" of label \"" .. label .. "\" is not the name of an nginx variable: use letters, digits and _"
    end
    used[label] = true
end

-- Labels and the variables of nginx they show, in order: {names, variables}. nil and what to do where they cannot be used.
function _M.labels(stated)
    local listed, err = pairs_of(stated)
    if not listed then
        return nil, err
    elseif #listed > MAX_LABELS then
        return nil, "there can be at most " .. MAX_LABELS .. " labels"
    end
    local names, variables, used = {}, {}, {}
    for i = 1, #listed do
        local why = refused(listed[i][1], listed[i][2], used)
        if why then
            return nil, why
        end
        names[i], variables[i] = listed[i][1], listed[i][2]
    end
    return { names = names, variables = variables }
end

-- Whether this can be the name of a scope; nil and why not.
function _M.scope(name)
    if type(name) ~= "string" or name == "" or #name > MAX_NAME or name:find("[%c\127-\255]") then
        return nil, "a scope's name has 1 to " .. MAX_NAME .. " bytes of ASCII"
    end
    return true
end

-- "on" or "off", as nginx's own directives have it; nil and why not.
function _M.switch(name, value, default)
    if value == nil or value == "" then
        return default
    elseif value == "on" or value == "off" then
        return value == "on"
    end
    return default, "$" .. name .. " is \"" .. value .. "\", which is neither on nor off"
end

local OPTIONS = { "socket", "buckets", "nginx" }

-- The options of init_worker, read once: a table of the user's may throw. Returns them, or nil and why not.
function _M.read_options(options)
    if type(options) ~= "table" then
        return nil, "takes a table such as { socket = \"/path\" }, not a " .. type(options)
    end
    local read = {}
    for i = 1, #OPTIONS do
        local key = OPTIONS[i]
        local ok, value = pcall(function() return options[key] end)
        if not ok then
            return nil, "takes a table that can be read: " .. tostring(value):gsub("%s+", " ")
        elseif value ~= nil and type(value) ~= "string" then
            return nil, "takes a string as " .. key .. ", not a " .. type(value)
        end
        read[key] = value
    end
    return read
end

local function or_default(value, default)
    return (value == nil or value == "") and default or value
end

function _M.socket(stated)
    return (or_default(stated, DEFAULT_SOCKET):gsub("^unix:", ""))
end

-- The name of this nginx; nil where it has none, and why where that cannot be one.
function _M.nginx(stated)
    if stated == nil or stated == "" then
        return nil
    elseif type(stated) ~= "string" or #stated > MAX_NAME or stated:find("[^%w_.-]") then
        local shown = tostring(stated):sub(1, MAX_NAME):gsub("[^\32-\126]", "?")
        return nil, "$resty_metrics_nginx is \"" .. shown .. "\": the name of an nginx has 1 to " .. MAX_NAME ..
            " of the characters A-Z a-z 0-9 _ . -"
    end
    return stated
end

-- The labels of durations among ours and the user's (`names`), as they are stated; chosen: those of the include, as text.
local function duration_labels(stated, names, chosen)
    if stated ~= nil and type(stated) ~= "string" then
        return durations.default(names), "duration_labels must be a text"
    elseif stated ~= nil then
        local labels, err = durations.choose(stated, names)
        return labels or durations.default(names), err
    end
    return chosen and durations.choose_among(chosen, names) or durations.default(names)
end

-- stated: {labels, buckets, duration_labels} or nil each; include: what was read of the include, whose buckets and choice
-- of duration labels hold where none are stated. Returns {labels, buckets, bounds, duration_labels, chosen}, and where one of
-- them is refused, the reasons by name: then there are no labels of the user, or the default of the others.
function _M.read(stated, include)
    local default = include and include.buckets or DEFAULT_BUCKETS
    local buckets = or_default(stated.buckets, default)
    local bounds, bad_buckets = _M.bounds(buckets)
    if not bounds then
        buckets, bounds = default, _M.bounds(default)
    end
    local labels, bad_labels = _M.labels(stated.labels or "")
    labels = labels or { names = {}, variables = {} }
    local choice = stated.duration_labels
    if type(choice) == "string" and not choice:find("%S") then
        choice = nil
    end
    local timed, bad_choice = duration_labels(choice, labels.names, include and include.chosen)
    return {
        buckets = buckets,
        bounds = bounds,
        labels = labels,
        duration_labels = timed,
        chosen = not bad_choice and choice or nil,
    }, { buckets = bad_buckets, labels = bad_labels, duration_labels = bad_choice }
end

return _M
