-- What a metric of the user's own may look like, and the words it is refused with. Pure.

local each, ipairs, type, tostring = pairs, ipairs, type, tostring  -- `each`: see counters.lua
local huge = math.huge

local MAX_LABELS = require("resty.metrics.prefix").MAX_LABELS
local MAX_BOUNDS = 256
local MAX_NAME_BYTES, MAX_HELP_BYTES = 128, 1024
-- Seconds: OpenTelemetry's bounds for http.server.request.duration, and 30 and 60.
local DEFAULT_BOUNDS = { 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60 }
local METRIC_NAME = "^[a-zA-Z_:][a-zA-Z0-9_:]*$"
local LABEL_NAME = "^[a-zA-Z_][a-zA-Z0-9_]*$"
local COMBINE = { sum = true, max = true, min = true, last = true }
local OPTIONS = { counter = {}, gauge = { combine = true }, histogram = { buckets = true } }
local SUFFIXES = { "_bucket", "_count", "_sum" }

local _M = { DEFAULT_BOUNDS = DEFAULT_BOUNDS, MAX_NAME_BYTES = MAX_NAME_BYTES }

local function check_name(name)
    if type(name) ~= "string" or #name > MAX_NAME_BYTES or not name:find(METRIC_NAME) then
        return "a metric's name is letters, digits, _ and :, not a digit first, at most " .. MAX_NAME_BYTES .. " bytes"
    end
end

-- Whether this can be the name of a label, as Prometheus has it.
function _M.is_label(name)
    return type(name) == "string" and #name <= MAX_NAME_BYTES and name:find(LABEL_NAME) ~= nil
end

local function check_label(label, used, kind)
    if not _M.is_label(label) then
        return "a label's name is letters, digits and _, not a digit first, at most " .. MAX_NAME_BYTES .. " bytes"
    elseif label:sub(1, 2) == "__" then
        return "labels that begin with __ are Prometheus's own: " .. label
    elseif kind == "histogram" and label == "le" then
        return "le is the label of a histogram's buckets"
    elseif used[label] then
        return "two labels have one name: " .. label
    end
end

-- Returns a copy of the list, or nil and what is wrong with it.
local function read_labels(labels, kind)
    if labels ~= nil and type(labels) ~= "table" then
        return nil, "the label names are not a list"
    end
    local read, used = {}, {}
    for i, label in ipairs(labels or {}) do
        local err = i > MAX_LABELS and "there are more than " .. MAX_LABELS .. " labels" or check_label(label, used, kind)
        if err then
            return nil, err
        end
        used[label] = true
        read[i] = label
    end
    for key in each(labels or {}) do
        if type(key) ~= "number" or not read[key] then
            return nil, "the label names are not a list"
        end
    end
    return read
end

-- Returns a copy of the bounds, without +Inf at their end, or nil and what is wrong with them.
local function read_bounds(bounds)
    if bounds == nil then
        bounds = DEFAULT_BOUNDS
    elseif type(bounds) ~= "table" then
        return nil, "the buckets are not a list"
    end
    local read = {}
    for i, bound in ipairs(bounds) do
        if bound == huge and bounds[i + 1] == nil then
            break
        elseif type(bound) ~= "number" or bound - bound ~= 0 then
            return nil, "a bucket is not a finite number"
        elseif i > 1 and bound <= bounds[i - 1] then
            return nil, "the buckets do not rise"
        elseif i > MAX_BOUNDS then
            return nil, "there are more than " .. MAX_BOUNDS .. " buckets"
        end
        read[i] = bound
    end
    if #read == 0 then
        return nil, "there is no bucket"
    end
    return read
end

local function check_options(kind, options)
    if options == nil then
        return nil
    elseif type(options) ~= "table" then
        return "the options are not a table"
    end
    for key in each(options) do
        if not OPTIONS[kind][key] then
            return "a " .. kind .. " has no option " .. tostring(key)
        end
    end
    if options.combine ~= nil and not COMBINE[options.combine] then
        return "combine is one of sum, max, min and last"
    end
end

-- kind: "counter", "gauge" or "histogram"; the rest as the user gave it. shared: the values of the gauge are those of all
-- workers together. Returns the shape as docs/wire.md has it, with `combine` for a gauge; or nil and what is wrong.
function _M.read(kind, name, help, labels, options, shared)
    local err = check_name(name) or check_options(kind, options)
    if err then
        return nil, err
    elseif help ~= nil and type(help) ~= "string" then
        return nil, "the help is not a string"
    end
    local shape = { name = name, type = kind, custom = true, help = help and help:sub(1, MAX_HELP_BYTES) }
    shape.labels, err = read_labels(labels, kind)
    if err then
        return nil, err
    elseif kind == "gauge" then
        shape.combine = shared and "shared" or options and options.combine or "sum"
    elseif kind == "counter" then
        shape.columns = { "value" }
    else
        shape.columns = { "sum" }
        shape.bounds, err = read_bounds(options and options.buckets)
    end
    if err then
        return nil, err
    end
    return shape
end

local function same_list(a, b)
    if a == nil or b == nil then
        return a == b
    elseif #a ~= #b then
        return false
    end
    for i = 1, #a do
        if a[i] ~= b[i] then
            return false
        end
    end
    return true
end

-- Whether a metric of this shape may be taken for that one; nil and why not.
function _M.agree(a, b)
    if a.type ~= b.type then
        return nil, "it is a " .. a.type .. " already"
    elseif not same_list(a.labels, b.labels) then
        return nil, "it has other labels already"
    elseif not same_list(a.bounds, b.bounds) then
        return nil, "it has other buckets already"
    elseif a.combine ~= b.combine then
        return nil, "it combines by " .. a.combine .. " already"
    end
    return true
end

-- The name of a metric of `known` (by name) that would show samples of the same name; nil if there is none.
function _M.clash(shape, known)
    for i = 1, #SUFFIXES do
        local suffix = SUFFIXES[i]
        local longer = known[shape.name .. suffix]
        if longer and shape.type == "histogram" then
            return longer.shape.name
        end
        local shorter = shape.name:sub(-#suffix) == suffix and known[shape.name:sub(1, -#suffix - 1)]
        if shorter and shorter.shape.type == "histogram" then
            return shorter.shape.name
        end
    end
end

return _M
