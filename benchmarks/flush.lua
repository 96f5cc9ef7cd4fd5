-- For flush.py, in the measured worker: makes rows dirty, and notes the CPU time of each slice of a flush.
-- It needs only the module itself, and hooks into its account of CPU time.

local counters = require "resty.metrics.counters"
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

local function family(number)
    if not families[number] then
        local chosen = settings.read({})
        local requests_family = holdings.own_family(requests.shape(chosen.bounds, "scope-" .. number, {}))
        families[number] = requests_family
        for i = 1, FAMILY_ROWS do
            requests_family:row { "www" .. i .. ".example.com", "GET", "200", "scope-" .. number }
        end
    end
    return families[number]
end

-- Makes so many rows dirty, with numbers that are as long on the wire as those of a busy second.
function _M.dirty(count)
    slices = {}
    for number = 1, math.ceil(count / FAMILY_ROWS) do
        local chosen = family(number)
        for i = 1, math.min(FAMILY_ROWS, count - (number - 1) * FAMILY_ROWS) do
            local row = chosen.numbers[i]
            for slot = rows.FIRST, rows.FIRST + chosen.width - 1 do
                row[slot] = row[slot] + 37 * slot * i % 5000
            end
            chosen:mark(row)
        end
    end
end

-- Returns the slices since then, one "end duration" in seconds a line; nil while one of these rows is dirty. The row of
-- the requests that ask does not count.
function _M.slices()
    for number = 1, #families do
        if families[number]:dirty() > 0 then
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
