-- A metric of the user's own code: a counter, a gauge or a histogram, and what can be done with it (docs/lua-api.md).
--
-- Rules:
-- - Nothing here throws, whatever it is given. Wrong use returns nil and why, see complaint.lua.
-- - Every method is there for every type, so that a wrong one is an answer too, and no error in a request.
-- - No row is kept between calls: a row that was deleted or evicted may belong to another label set now.

local counters = require "resty.metrics.counters"
local deletion = require "resty.metrics.deletion"
local encode = require "resty.metrics.encode"
local gauges = require "resty.metrics.gauges"
local process = require "resty.metrics.process"
local refuse = require("resty.metrics.complaint").refuse
local rows = require "resty.metrics.rows"

local getmetatable, pcall, setmetatable, tonumber, tostring, type = getmetatable, pcall, setmetatable, tonumber, tostring, type

local FIRST = rows.FIRST
local MAX_EXACT = encode.MAX_EXACT

local _M = {}
local methods = {}
local mt = { __index = methods }

-- Whether what is counted now has a chance to be sent; nil and why not. The module that starts the worker says how.
local wake = function() return true end

function _M.set_wake(action)
    wake = action
end

-- defining: a metric is only made
function _M.wake(defining)
    return wake(defining)
end

local scratch = {}              -- label values of the call at hand, as strings

local function label_text(value)
    local kind = type(value)
    if kind == "string" then
        return value
    elseif kind == "number" or kind == "boolean" then
        return tostring(value)
    end
end

-- The label values as strings, in `scratch`. Returns true, or nil and what is wrong.
local function read_labels(self, values)
    local names = self.shape.labels
    if values ~= nil and type(values) ~= "table" then
        return nil, "the label values are not a list"
    end
    for i = 1, #names do
        local value = values and values[i]
        local text = label_text(value)
        if not text then
            return nil, "the value of label " .. names[i] .. " is " .. (value == nil and "missing" or "a " .. type(value))
        end
        scratch[i] = text
    end
    if values and values[#names + 1] ~= nil then
        return nil, "there are more label values than its " .. #names .. " labels"
    end
    return true
end

local function read_number(value, default)
    if value == nil then
        return default
    elseif type(value) == "table" then
        return nil
    end
    return tonumber(value)
end

-- counters and histograms --------------------------------------------------------------------------------------------

local function count(self, value)
    value = read_number(value, 1)
    if not value or not (value >= 0 and value <= MAX_EXACT) then
        return refuse("value", self.shape.name, "a counter takes a number from 0 to 2^53")
    end
    local row = self.family:row(scratch)
    if row[FIRST] + value > MAX_EXACT then
        return refuse("value", self.shape.name, "more was counted than a batch can hold (2^53)")
    end
    row[FIRST] = row[FIRST] + value
    self.family:mark(row)
    return true
end

local function observe(self, value)
    value = read_number(value)
    if not value or value - value ~= 0 then
        return refuse("value", self.shape.name, "a histogram takes a finite number")
    end
    local bounds = self.shape.bounds
    local row, slot, sum_slot = self.family:row(scratch), #bounds, FIRST + #bounds + 1
    local sum = row[sum_slot] + value
    if sum - sum ~= 0 then
        return refuse("value", self.shape.name, "the sum is no finite number any more")
    end
    for i = 1, #bounds do
        if value <= bounds[i] then
            slot = i - 1
            break
        end
    end
    row[sum_slot] = sum
    row[FIRST + slot] = row[FIRST + slot] + 1
    self.family:mark(row)
    return true
end

-- gauges -------------------------------------------------------------------------------------------------------------

local function change(self, value, sign, by)
    value = read_number(value, by)
    if not value then
        return refuse("value", self.shape.name, "a gauge takes a number")
    end
    local row, err = self.gauge:row(scratch)
    if not row then
        return refuse("cap", self.shape.name, err)
    end
    if self.store then
        local kept, full = self.store.keep(row.prefix, sign, value)
        if not kept then
            return refuse("cap", self.shape.name, full)
        end
    end
    gauges.set(row, sign and row.value + sign * value or value, process.precise_wall_ms())
    return true
end

-- methods ------------------------------------------------------------------------------------------------------------

local actions = {}

function actions.inc(self, value)
    if self.shape.type == "counter" then
        return count(self, value)
    end
    return change(self, value, 1, 1)
end

function actions.dec(self, value)
    return change(self, value, -1, 1)
end

function actions.set(self, value)
    return change(self, value)
end

actions.observe = observe

function actions.del(self)
    if self.gauge then
        local prefix = self.gauge:delete(scratch)
        if self.store then
            self.store.drop(prefix)
            gauges.mark_changed()   -- other workers have told the collector of it
        end
        return true
    end
    local ok, err = deletion.row(self.family, scratch)
    if not ok then
        return refuse("cap", self.shape.name, err)
    end
    return true
end

local ALLOWED = {
    counter = { inc = true, del = true, reset = true },
    gauge = { inc = true, dec = true, set = true, del = true, reset = true },
    histogram = { observe = true, del = true, reset = true },
}

local function act(name, self, value, labels)
    if getmetatable(self) ~= mt then
        return refuse("use", "?", name .. " is called with a colon: metric:" .. name .. "()")
    end
    local awake, why = wake()
    if not awake then
        return nil, why
    elseif not ALLOWED[self.shape.type][name] then
        return refuse("use", self.shape.name, "a " .. self.shape.type .. " has no " .. name)
    end
    local ok, err = read_labels(self, labels)
    if not ok then
        return refuse("labels", self.shape.name, err)
    end
    return actions[name](self, value)
end

local function fenced(...)
    local ok, result, err = pcall(...)
    if ok then
        return result, err
    end
    pcall(counters.add, "faults", "metric_use")  -- a label value whose metatable throws
    return nil, tostring(result)
end

function methods.inc(self, value, labels)
    return fenced(act, "inc", self, value, labels)
end

function methods.dec(self, value, labels)
    return fenced(act, "dec", self, value, labels)
end

function methods.set(self, value, labels)
    return fenced(act, "set", self, value, labels)
end

function methods.observe(self, value, labels)
    return fenced(act, "observe", self, value, labels)
end

function methods.del(self, labels)
    return fenced(act, "del", self, nil, labels)
end

local function reset(self)
    if getmetatable(self) ~= mt then
        return refuse("use", "?", "reset is called with a colon: metric:reset()")
    end
    local awake, why = wake()
    if not awake then
        return nil, why
    elseif self.gauge then
        self.gauge:reset()
        if self.store then
            self.store.clear()
            gauges.mark_changed()
        end
    else
        deletion.all(self.family)
    end
    return true
end

function methods.reset(self)
    return fenced(reset, self)
end

-- shape: as definition.read gives it. store: where the values of a gauge are kept elsewhere, by the bytes of a row on the
-- wire up to its value: {read(prefix), refresh(), keep(prefix, sign or nil, value), drop(prefix), clear()}
function _M.new(shape, store)
    local self = setmetatable({ shape = shape, store = store }, mt)
    if shape.type == "gauge" then
        self.gauge = gauges.new(shape, store)
    else
        self.family = rows.new(shape, rows.FAMILY_ROWS)
    end
    return self
end

-- From now on what it counts is sent. own_family: that of holdings.lua
function _M.hold(self, own_family)
    if self.gauge then
        self.gauge:hold()
    else
        self.family = own_family(self.shape, self.family)
    end
end

return _M
