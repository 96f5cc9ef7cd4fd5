-- Gauges whose values stand in a shared dictionary: of all workers together, as nginx-lua-prometheus has them.
--
-- Each worker sends the values of the label sets that it knows as they stand in the dictionary, with the time of reading:
-- so the last one to be sent is right, whoever set it. A value outlives the worker, a reload too.

local gauges = require "resty.metrics.gauges"
local metrics = require "resty.metrics"

local sub = string.sub

local SEPARATOR = "\0"
local MOST_KEYS = 10000

local _M = {}

local function store_of(dict, name)
    local front = name .. SEPARATOR
    local store = {}

    function store.read(prefix)
        return dict:get(front .. prefix)
    end

    function store.keep(prefix, sign, value)
        local key = front .. prefix
        if not sign then
            return dict:safe_set(key, value)
        end
        local ok, err = dict:safe_add(key, 0)
        if not ok and err ~= "exists" then
            return nil, err
        end
        return dict:incr(key, sign * value)
    end

    function store.drop(prefix)
        dict:delete(front .. prefix)
    end

    -- Calls action(prefix) for each value that stands there.
    function store.each(action)
        local keys = dict:get_keys(MOST_KEYS)
        for i = 1, #keys do
            if sub(keys[i], 1, #front) == front then
                action(sub(keys[i], #front + 1))
            end
        end
    end

    function store.clear()
        store.each(store.drop)
    end

    return store
end

-- A gauge with the values that stand in the dictionary already. Returns the metric, or nil and why.
function _M.define(dict, name, help, labels)
    local store = store_of(dict, tostring(name))
    local metric, err = metrics.define("gauge", name, help, labels, { combine = "last" }, store)
    if not metric or metric.store ~= store then
        return metric, err
    end
    store.each(function(prefix)
        if gauges.fits(metric.gauge, prefix) then
            metric.gauge:row_of_prefix(prefix)
        end
    end)
    return metric
end

return _M
