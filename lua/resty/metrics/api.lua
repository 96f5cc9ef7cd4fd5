-- The metrics of the user's own code: which there are, and how a worker begins with those that it inherits.
--
-- Rules:
-- - What is made in init_by_lua is inherited by every worker: what was counted there is sent by one of them, once for each
--   time nginx was configured; a gauge that is summed keeps what was set there in worker 0 alone.
-- - One name is one metric: to define it again in the same way gives the same one, in another way nothing.

local counters = require "resty.metrics.counters"
local definition = require "resty.metrics.definition"
local deletion = require "resty.metrics.deletion"
local holdings = require "resty.metrics.holdings"
local metric_of = require "resty.metrics.metric"
local process = require "resty.metrics.process"
local refuse = require("resty.metrics.complaint").refuse
local spool = require "resty.metrics.spool"

local ngx = ngx
local pcall, tostring = pcall, tostring

local MOST_METRICS = 1000

local _M = {}

local known, ordered = {}, {}   -- the metrics, by name and in order
local begun = false             -- the worker sends what is counted
local mark                      -- of this configuration, where the master has made metrics

local function keep(metric)
    known[metric.shape.name] = metric
    ordered[#ordered + 1] = metric
    if begun then
        metric_of.hold(metric, holdings.own_family)
    end
    return metric
end

local function define(kind, name, help, labels, options, store)
    local awake, why = metric_of.wake(true)
    if not awake then
        return nil, why
    end
    local shape, err = definition.read(kind, name, help, labels, options, store ~= nil)
    if not shape then
        return refuse("definition", name, err)
    end
    local metric = known[name]
    if metric then
        local same, differs = definition.agree(metric.shape, shape)
        if not same then
            return refuse("definition", name, differs)
        end
        return metric
    end
    local clash = definition.clash(shape, known)
    if clash then
        return refuse("definition", name, "its samples would have names of " .. clash)
    elseif #ordered >= MOST_METRICS then
        return refuse("cap", name, "there are " .. MOST_METRICS .. " metrics already")
    end
    return keep(metric_of.new(shape, store))
end

-- kind: "counter", "gauge" or "histogram". Returns the metric, the same one for the same definition; or nil and why.
-- store: see metric.lua.
function _M.define(kind, name, help, labels, options, store)
    local ok, metric, err = pcall(define, kind, name, help, labels, options, store)
    if not ok then
        return nil, tostring(metric)  -- a table whose metatable throws
    end
    return metric, err
end

-- Once in a worker's life, before it counts: what the master had counted is kept by one worker alone.
function _M.begin_worker()
    local worker = ngx.worker.id() or 0
    local ours = mark == nil or spool.claim(mark, worker)
    if not ours then
        counters.clear()
    end
    for i = 1, #ordered do
        local metric = ordered[i]
        if metric.family and not ours then
            deletion.discard(metric.family)
        elseif metric.gauge and metric.shape.combine == "sum" and mark and worker ~= 0 then
            metric.gauge:reset()
        end
        metric_of.hold(metric, holdings.own_family)
    end
    begun = true
end

-- This process is the master: what it makes is inherited.
function _M.begin_master()
    mark = mark or process.random(16) or tostring(process.wall_ms())
end

return _M
