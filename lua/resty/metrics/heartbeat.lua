-- The heartbeat: what a worker is, absolute, last one wins. It also tells an idle worker whether its line is alive.

local cycle = require "resty.metrics.cycle"
local datagram = require "resty.metrics.datagram"
local gauges = require "resty.metrics.gauges"
local process = require "resty.metrics.process"

local ngx = ngx
local each = pairs  -- `each`: see counters.lua
local collectgarbage = rawget(package.loaded._G, "collectgarbage")  -- Lua code may have removed it

local PERIOD_TICKS = 5
local DICTS_MOST = 100   -- in a beat, which is one datagram

local _M = {}

local version = "unknown"  -- of this module
local beat, last_tick = 0, nil
local master
local dict_names
local born

function _M.set_version(module_version)
    version = module_version
end

-- "<pid>-<start>": one master process, told apart from an earlier one with its pid (in a container always 1).
-- It is read once: a worker that outlives its master would find another parent.
function _M.master_label()
    master = master or process.master()
    return master.pid .. "-" .. master.birth
end

-- hurry: something is unacked or unanswered, so each tick has a beat.
function _M.due(tick, hurry)
    return last_tick == nil or hurry or tick - last_tick >= PERIOD_TICKS
end

local function add(list, key, value)
    if value ~= nil then
        list[#list + 1] = key
        list[#list + 1] = value
    end
end

-- nginx's shared dictionaries as {name, {capacity, free}, ...}.
local function dicts()
    if not dict_names then
        dict_names = {}
        for name in each(ngx.shared) do
            dict_names[#dict_names + 1] = name
        end
        table.sort(dict_names)
    end
    local list = {}
    for i = 1, math.min(#dict_names, DICTS_MOST) do
        local dict = ngx.shared[dict_names[i]]
        add(list, dict_names[i], { array = true, dict:capacity(), dict:free_space() })
    end
    return list
end

-- Seconds since this process began, or since its first beat where that cannot be known.
local function uptime()
    if not born then
        local _, began = process.birth()
        born = process.monotonic() - (began and (process.wall_ms() - began) / 1000 or 0)
    end
    return math.max(0, process.monotonic() - born)
end

-- Part number i of a beat, as a datagram.
local function part(self, i)
    local list = i == 1 and self.list or {}
    if #self.parts > 1 then
        add(list, "part", i)
        add(list, "parts", #self.parts)
    end
    local planned = self.parts[i]
    local more = #planned > 0 and function(p, at) return gauges.put(planned, p, at, process.precise_wall_ms()) end or nil
    return datagram.heartbeat(self.sender, self.beat, self.sender.base, list, more)
end

-- The beat with the user's gauges: {parts, part(self, i)}.
local function with_gauges(sender, list)
    local alone = datagram.heartbeat(sender, beat, sender.base, list)
    return { sender = sender, beat = beat, list = list, parts = gauges.plan(alone.length), part = part }
end

local function own_gauges(unacked_batches, unacked_bytes, row_count)
    local list = {
        "unacked_batches", unacked_batches,
        "unacked_bytes", unacked_bytes,
        "timers_pending", ngx.timer.pending_count(),
        "timers_running", ngx.timer.running_count(),
        "rows", row_count,
        "uptime_seconds", uptime(),
    }
    add(list, "lua_memory_bytes", collectgarbage and collectgarbage("count") * 1024)
    return list
end

-- A beat: its parts are made one by one, as they are sent.
function _M.make(sender, unacked_batches, unacked_bytes, row_count, tick)
    beat, last_tick = beat + 1, tick
    _M.master_label()
    local list = {}
    add(list, "made", process.monotonic())
    add(list, "instance", sender.instance)
    add(list, "module", version)
    add(list, "worker", ngx.worker.id())
    add(list, "workers", ngx.worker.count())
    add(list, "pid", process.pid())
    add(list, "exiting", ngx.worker.exiting())
    add(list, "master", { "pid", master.pid, "birth", master.birth })
    add(list, "nginx", process.stub_status())
    add(list, "gauges", own_gauges(unacked_batches, unacked_bytes, row_count))
    local generation, configured = cycle.read()
    add(list, "generation", generation)
    add(list, "configured", configured)
    add(list, "dicts", dicts())
    return with_gauges(sender, list)
end

return _M
