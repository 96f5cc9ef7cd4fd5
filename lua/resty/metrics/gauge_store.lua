-- Gauges whose values stand in a shared dictionary: of all workers together, as nginx-lua-prometheus has them.
--
-- Rules:
-- - The dictionary is the truth. Whoever asks any worker for the page sees it as it is then: that worker sends all of it first,
--   and of several workers' beats the one made last stands whole (docs/wire.md, `shared`).
-- - A worker knows label sets by name. A counter in the dictionary tells it that another worker has added some; only then does
--   it list the keys, which locks the dictionary. What was deleted shows when its value is read.
-- - Nothing is evicted to make room: where the dictionary is full, a new label set is refused.
-- A value outlives the worker, and a reload.

local metrics = require "resty.metrics"
local process = require "resty.metrics.process"

local find, sub = string.find, string.sub

local SEPARATOR = "\0"
local ADDED = SEPARATOR .. "added"   -- the counter; no metric has an empty name
local ALL_KEYS = 0

local _M = {}

local shelves = {}   -- name of a dictionary -> {dict, name, gauges = {name of a metric -> gauge}, seen}

-- Its first value is one that no counter before it had: somebody may have emptied the dictionary.
local function begin_counter(dict)
    dict:safe_add(ADDED, process.wall_ms())
end

local function shelf_of(dict, name)
    if not shelves[name] then
        shelves[name] = { dict = dict, name = name, gauges = {} }
        begin_counter(dict)
    end
    return shelves[name]
end

local function count_addition(shelf)
    local dict = shelf.dict
    local count = dict:incr(ADDED, 1)
    if not count then
        begin_counter(dict)
        count = dict:incr(ADDED, 1)
    end
    if count and count - 1 == shelf.seen then
        shelf.seen = count   -- nobody else has added anything
    end
end

-- Makes a row of each label set that stands in the dictionary.
local function list_keys(shelf)
    local keys = shelf.dict:get_keys(ALL_KEYS)
    for i = 1, #keys do
        local at = find(keys[i], SEPARATOR, 1, true)
        local gauge = at and shelf.gauges[sub(keys[i], 1, at - 1)]
        local prefix = gauge and sub(keys[i], at + 1)
        if gauge and gauge:fits(prefix) then
            gauge:row_of_prefix(prefix)
        end
    end
end

local function refresh(shelf)
    local count = shelf.dict:get(ADDED)
    if count ~= shelf.seen then
        shelf.seen = count
        list_keys(shelf)
    end
end

local function full(shelf, err)
    if err == "no memory" then
        return "the shared dictionary is full: give lua_shared_dict " .. shelf.name .. " more room"
    end
    return tostring(err)
end

-- Changes a key that is there. A sign: adds to it.
local function change(dict, key, sign, value)
    if sign then
        return dict:incr(key, sign * value)
    end
    return dict:replace(key, value)
end

-- The same for a key that was not there. Another worker may add it at the same time, or delete it again.
local function add(shelf, key, sign, value)
    local dict = shelf.dict
    while true do
        local ok, err = dict:safe_add(key, sign and sign * value or value)
        if ok then
            count_addition(shelf)
            return true
        elseif err ~= "exists" then
            return nil, full(shelf, err)
        end
        ok, err = change(dict, key, sign, value)
        if ok then
            return true
        elseif err ~= "not found" then
            return nil, full(shelf, err)
        end
    end
end

-- Returns true, or nil and why.
local function write(shelf, key, sign, value)
    local ok, err = change(shelf.dict, key, sign, value)
    if ok then
        return true
    elseif err ~= "not found" then
        return nil, full(shelf, err)
    end
    return add(shelf, key, sign, value)
end

local function store_of(shelf, name)
    local front = name .. SEPARATOR
    local dict, store = shelf.dict, {}

    function store.read(prefix)
        return dict:get(front .. prefix)
    end

    function store.refresh()
        refresh(shelf)
    end

    function store.keep(prefix, sign, value)
        return write(shelf, front .. prefix, sign, value)
    end

    function store.drop(prefix)
        dict:delete(front .. prefix)
    end

    function store.clear()
        local keys = dict:get_keys(ALL_KEYS)
        for i = 1, #keys do
            if sub(keys[i], 1, #front) == front then
                dict:delete(keys[i])
            end
        end
    end

    return store
end

-- A gauge with the values that stand in the dictionary already. Returns the metric, or nil and why.
function _M.define(dict, dict_name, name, help, labels)
    local shelf = shelf_of(dict, dict_name)
    local store = store_of(shelf, tostring(name))
    local metric, err = metrics.define("gauge", name, help, labels, nil, store)
    if metric and metric.store == store then
        shelf.gauges[name] = metric.gauge
        shelf.seen = false   -- it has keys that were not looked for
    end
    return metric, err
end

return _M
