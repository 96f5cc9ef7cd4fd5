-- The user's gauges of this worker: values that heartbeats carry, all of them in each.
--
-- Rules:
-- - Absolute and never journaled: they vanish with the worker, and what several workers say is combined by the collector.
-- - A beat with many gauges has several parts; a part is encoded in one slice.
-- - Bounded: at most MOST_ROWS values, MOST_BYTES on the wire and MOST_TEXT on the page in a worker, more are refused. So
--   the collector never cuts a beat of a worker's: it takes 10,000 rows and 8 MiB of a sender (collector/resty_metrics/ingest/beats.py).

local encode = require "resty.metrics.encode"
local prefix_bytes = require("resty.metrics.prefix").bytes
local ffi = require "ffi"

local copy = ffi.copy
local setmetatable = setmetatable

local MOST_ROWS = 10000
local MOST_BYTES = 1.5 * 1024 * 1024                -- 48 parts and some; the collector takes 64
local MOST_TEXT = 2.5 * 1024 * 1024                 -- label values and names of each row; the collector escapes up to four-fold
local NUMBERS_BYTES = 2 * encode.MAX_NUMBER_BYTES   -- value and time of a row
local PART_BYTES = 32768                            -- so much is encoded in well under a slice
local FRAME_BYTES = 64                              -- of a part: keys "part", "parts" and "families" with their array

local scratch = ffi.new("uint8_t[?]", 8192)

-- changed: a beat is due with the next tick
local _M = { changed = false }
local mt = { __index = _M }

local list, total, bytes, text = {}, 0, 0, 0
local any_shared = false  -- this worker has gauges that other workers change too

local function put_text(p, at, key, value)
    return encode.string(p, encode.string(p, at, key), value)
end

-- The map of a gauge up to and with the key "rows".
local function head_bytes(shape)
    local p = scratch
    local at = encode.map(p, 0, shape.help and 5 or 4)
    at = put_text(p, at, "name", shape.name)
    if shape.help then
        at = put_text(p, at, "help", shape.help)
    end
    at = encode.array(p, encode.string(p, at, "labels"), #shape.labels)
    for i = 1, #shape.labels do
        at = encode.string(p, at, shape.labels[i])
    end
    at = put_text(p, at, "combine", shape.combine)
    return ffi.string(p, encode.string(p, at, "rows"))
end

-- Bytes of the names that each row has on the page.
local function names_bytes(shape)
    local size = #shape.name
    for i = 1, #shape.labels do
        size = size + #shape.labels[i] + 4
    end
    return size
end

-- shape: {name, help or nil, labels, combine}; store (or nil): where the values are kept elsewhere: {read(prefix): the value
-- of a row now, nil if it is gone; refresh(): makes rows of what other workers have put there}
function _M.new(shape, store)
    local read, refresh = store and store.read, store and store.refresh
    return setmetatable({
        shape = shape, head = head_bytes(shape), names = names_bytes(shape), rows = {}, by_prefix = {},
        read = read, refresh = refresh,
    }, mt)
end

-- From now on its values are sent.
function _M.hold(self)
    list[#list + 1] = self
    bytes = bytes + #self.head
    any_shared = any_shared or self.refresh ~= nil
end

-- A beat is due with the next tick.
function _M.mark_changed()
    _M.changed = true
end

-- The same where other workers may have changed gauges that this one has too.
function _M.mark_shared()
    _M.changed = _M.changed or any_shared
end

-- A beat with all values is about to go.
function _M.clear_changed()
    _M.changed = false
end

local function prefix_of(self, values)
    return prefix_bytes(values, #self.shape.labels, 2)
end

-- A row by the bytes before its value, made where there is none; nil and why where there are too many.
function _M.row_of_prefix(self, prefix)
    local row = self.by_prefix[prefix]
    if not row then
        local shown = #prefix + self.names
        if total >= MOST_ROWS or bytes + #prefix > MOST_BYTES or text + shown > MOST_TEXT then
            return nil, "this worker has as many values of gauges as it may (" .. total .. ")"
        end
        row = { prefix = prefix, value = 0, set = 0 }
        total, bytes, text = total + 1, bytes + #prefix + NUMBERS_BYTES, text + shown
        self.by_prefix[prefix] = row
        self.rows[#self.rows + 1] = row
    end
    return row
end

-- The row of these label values {prefix, value, set}.
function _M.row(self, values)
    return _M.row_of_prefix(self, prefix_of(self, values))
end

-- Whether a prefix is one of a row with these labels.
function _M.fits(self, prefix)
    local head = encode.array(scratch, 0, #self.shape.labels + 2)
    return ffi.string(scratch, head) == prefix:sub(1, head)
end

-- now: milliseconds since the epoch
function _M.set(row, value, now)
    row.value, row.set = value, now
    _M.changed = true
end

local function forget(self, row)
    row.gone = true
    self.by_prefix[row.prefix] = nil
    self.holes = true
    total, bytes = total - 1, bytes - #row.prefix - NUMBERS_BYTES
    text = text - #row.prefix - self.names
end

local function drop(self, row)
    forget(self, row)
    _M.changed = true
end

-- Returns the prefix of the row that there is no more.
function _M.delete(self, values)
    local prefix = prefix_of(self, values)
    local row = self.by_prefix[prefix]
    if row then
        drop(self, row)
    end
    return prefix
end

function _M.reset(self)
    for i = 1, #self.rows do
        if not self.rows[i].gone then
            drop(self, self.rows[i])
        end
    end
    self.rows, self.holes = {}, nil  -- a beat that is under way has the list of before
end

local function close_holes(self)
    if not self.holes then
        return
    end
    local kept = {}
    for i = 1, #self.rows do
        if not self.rows[i].gone then
            kept[#kept + 1] = self.rows[i]
        end
    end
    self.rows, self.holes = kept, nil
end

-- What goes into which part of the next beat: a list of lists of {gauge, rows, first, last}. used_bytes: what the
-- first part has already. Rows that come later wait for the next beat. A gauge that is shared is there without rows too: so
-- it stands against what other workers have said of it before.
function _M.plan(used_bytes)
    local part = {}
    local parts = { part }
    local room = PART_BYTES - FRAME_BYTES - used_bytes
    for g = 1, #list do
        local gauge, section = list[g], nil
        if gauge.refresh then
            gauge.refresh()
        end
        close_holes(gauge)
        for i = gauge.refresh and #gauge.rows == 0 and 0 or 1, #gauge.rows do
            local size = i > 0 and #gauge.rows[i].prefix + NUMBERS_BYTES or 0
            local needed = section and size or size + #gauge.head + encode.ARRAY_BYTES
            if needed > room and (#part > 0 or #parts == 1) then
                part = {}
                parts[#parts + 1] = part
                room, section = PART_BYTES - FRAME_BYTES, nil
                needed = size + #gauge.head + encode.ARRAY_BYTES
            end
            if not section then
                section = { gauge = gauge, rows = gauge.rows, first = i > 0 and i or 1, last = i }
                part[#part + 1] = section
            end
            section.last = i
            room = room - needed
        end
    end
    return parts
end

local function put_row(p, at, gauge, row, now)
    local value, set = row.value, row.set
    if gauge.read and not row.gone then
        value, set = gauge.read(row.prefix), now
        if value == nil then
            forget(gauge, row)  -- another worker deleted it: such rows would fill this one
        end
    end
    if row.gone then
        return at, 0
    end
    copy(p + at, row.prefix, #row.prefix)
    at = encode.number(p, at + #row.prefix, value)
    return encode.number(p, at, set), 1
end

local function put_section(p, at, section, now)
    local gauge = section.gauge
    copy(p + at, gauge.head, #gauge.head)
    at = at + #gauge.head
    local first, count = encode.open_array(p, at), 0
    at = first
    for i = section.first, section.last do
        local written
        at, written = put_row(p, at, gauge, section.rows[i], now)
        count = count + written
    end
    encode.close_array(p, first, count)
    return at
end

-- Writes the key "families" with what is planned for this part. now: milliseconds since the epoch
function _M.put(part, p, at, now)
    at = encode.array(p, encode.string(p, at, "families"), #part)
    for i = 1, #part do
        at = put_section(p, at, part[i], now)
    end
    return at
end

return _M
