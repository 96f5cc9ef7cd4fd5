-- For flush.py, in the measured worker: makes rows dirty, and notes the CPU time of each slice of a flush.
-- It needs only the module itself, and hooks into its account of CPU time.

local counters = require "resty.metrics.counters"
local durations = require "resty.metrics.durations"
local holdings = require "resty.metrics.holdings"
local process = require "resty.metrics.process"
local requests = require "resty.metrics.requests"
local rows = require "resty.metrics.rows"
local settings = require "resty.metrics.settings"

local FAMILY_ROWS = rows.FAMILY_ROWS

local _M = {}

local families, slices = {}, {}
local add = counters.add

function counters.add(key, label, count)
    if key == "flush" then
        slices[#slices + 1] = string.format("%.9f %.9f", process.monotonic(), count)
    end
    return add(key, label, count)
end

-- Returns the families of requests and of their durations.
local function of_scope(number)
    if not families[number] then
        local chosen = settings.read({})
        local scope = "scope-" .. number
        local timed = { "server", "method", "status" }
        families[number] = {
            holdings.own_family(requests.shape(scope, {})),
            holdings.own_family(durations.shape(chosen.bounds, scope, timed)),
        }
        for i = 1, FAMILY_ROWS do
            for of = 1, 2 do
                families[number][of]:row { "www" .. i .. ".example.com", "GET", "200", scope }
            end
        end
    end
    return families[number]
end

local function add_to(family, i)
    local row = family.numbers[i]
    for slot = rows.FIRST, rows.FIRST + family.width - 1 do
        row[slot] = row[slot] + 37 * slot * i % 5000
    end
    family:mark(row)
end

-- Makes so many rows of requests dirty, each with its row of durations, with numbers that are as long on the wire as those of a busy second.
function _M.dirty(count)
    slices = {}
    for number = 1, math.ceil(count / FAMILY_ROWS) do
        local both = of_scope(number)
        for i = 1, math.min(FAMILY_ROWS, count - (number - 1) * FAMILY_ROWS) do
            for of = 1, 2 do
                add_to(both[of], i)
            end
        end
    end
end

-- Returns the slices since then, one "end duration" in seconds a line; nil while one of these rows is dirty. The row of
-- the requests that ask does not count.
function _M.slices()
    for number = 1, #families do
        if families[number][1]:dirty() > 0 or families[number][2]:dirty() > 0 then
            return nil
        end
    end
    return table.concat(slices, "\n")
end

-- Returns the bytes of Lua memory.
function _M.memory()
    collectgarbage()
    collectgarbage()
    return collectgarbage("count") * 1024
end

return _M
