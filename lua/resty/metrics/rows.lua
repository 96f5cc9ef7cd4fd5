-- The rows of one family, and which of them are dirty.
--
-- A row is an array of doubles: [0] says whether it is dirty, [1] is its number in the family, then come the numbers
-- of the wire in their order, from FIRST. Who keeps one must let go of it in `on_eviction`: at the cap, rows that were
-- idle for an hour are given to other label sets. That loses nothing, since what they counted has been sent.
-- The dirty rows stand in a ring, each at most once; the ring is as large as the family, so it is never full.
-- Who counts adds to a row's numbers itself, then calls mark(); requests.lua does by itself what mark() does. That costs
-- additions, and one store in the ring per flush: bounded whatever the traffic is.

local ffi = require "ffi"
local bit = require "bit"
local encode = require "resty.metrics.encode"
local head = require "resty.metrics.head"
local overflow = require "resty.metrics.overflow"
local label_values = require "resty.metrics.label_values"
local label_bytes = require "resty.metrics.prefix"
local tick = require "resty.metrics.tick"

local band, floor = bit.band, math.floor
local remove, setmetatable = table.remove, setmetatable

local FIRST = 2
local RING_START = 64       -- entries, a power of two
local IDLE_TICKS = 3600     -- a row that sent nothing for so long may go at the cap
local SCAN_TICKS = 60       -- from one search for such rows to the next
local BURIED_AT_LEAST, BURIED_SHARE = 64, 8
local FAMILY_ROWS = 10000   -- that a family may have
local FEW_ROWS = 1000       -- that a family with a row for each server or worker may have

local double_array, int_array = ffi.typeof("double[?]"), ffi.typeof("int32_t[?]")

local _M = { FIRST = FIRST, FAMILY_ROWS = FAMILY_ROWS, FEW_ROWS = FEW_ROWS }
local mt = { __index = _M }

-- shape: {name, type, labels, columns} and, where it has them, {help, scope, custom, bounds, scale}, as docs/wire.md has it;
-- cap: most rows;
-- inherited: the shape is that of a worker that has gone, and does not speak for this one
function _M.new(shape, cap, inherited)
    local width = #shape.columns + (shape.bounds and #shape.bounds + 1 or 0)
    return setmetatable({
        shape = shape,
        head_bytes = head.bytes(shape, inherited),
        width = width,
        cap = cap,
        count = 0, overflowed = 0,
        by_prefix = {},
        prefix = {},      -- number of a row -> its label values as bytes, which name it
        values = {},      -- number of a row -> its label values as strings
        numbers = {},     -- number of a row -> the row
        used = {},        -- number of a row -> tick of its creation, or when it was last looked up or sent
        free = {},        -- numbers of rows that belong to no label set
        dying = {},       -- the same, but still in the ring: see bury()
        scan_tick = 0,    -- no search for idle rows before
        on_eviction = nil,
        ring = int_array(RING_START),
        mask = RING_START - 1,
        head = 0, tail = 0,
    }, mt)
end

-- action(): lets go of the rows that somebody keeps, see above.
function _M.set_on_eviction(self, action)
    self.on_eviction = action
end

-- A family that was made for inherited rows is this worker's own from now on, and its shape speaks for it.
function _M.own(self, shape)
    self.shape = shape
    self.head_bytes = head.bytes(shape, false)
end

function _M.prefix_of(self, values)
    return label_bytes.bytes(values, #self.shape.labels, self.width)
end

local function grow_ring(self)
    local size = (self.mask + 1) * 2
    local ring = int_array(size)
    local n = self.tail - self.head
    for i = 0, n - 1 do
        ring[i] = self.ring[band(self.head + i, self.mask)]
    end
    self.ring, self.mask, self.head, self.tail = ring, size - 1, 0, n
end

local function new_row(self)
    local number = remove(self.free)
    if number then
        return self.numbers[number], number
    end
    number = self.count + 1
    local row = double_array(FIRST + self.width)
    row[1] = number
    self.count = number
    self.numbers[number] = row
    if number > self.mask then
        grow_ring(self)
    end
    return row, number
end

local function create(self, values)
    local row, number = new_row(self)
    local key = _M.prefix_of(self, values)
    self.prefix[number], self.by_prefix[key] = key, row
    self.values[number] = label_bytes.cleaned(values, #self.shape.labels)
    self.used[number] = tick.number
    return row
end

-- Rows that have a label set.
function _M.live(self)
    return self.count - #self.free - #self.dying
end

-- Frees the rows that were idle for an hour and have nothing to send.
local function evict(self)
    self.scan_tick = tick.number + SCAN_TICKS
    local free, before = self.free, #self.free
    for number = 1, self.count do
        local prefix = self.prefix[number]
        if prefix and self.numbers[number][0] == 0 and tick.number - self.used[number] >= IDLE_TICKS then
            self.by_prefix[prefix], self.prefix[number] = nil, nil
            free[#free + 1] = number
        end
    end
    if #free > before and self.on_eviction then
        self.on_eviction()
    end
end

local function look_up(self, values)
    local row = self.by_prefix[_M.prefix_of(self, values)]
    if row then
        self.used[row[1]] = tick.number
    end
    return row
end

-- The row for what finds no room: a tenth above the cap (almost) all becomes "other".
local function overflow_row(self, values)
    local left = overflow.give_up(values, self.shape)
    local row = look_up(self, left)
    if not row and _M.live(self) >= self.cap + floor(self.cap / 10) then
        left = overflow.give_up_all(values, self.shape)
        row = look_up(self, left)
    end
    return row or create(self, left)
end

-- The row of these label values (strings, as many as the shape has labels), made where there is none; and whether it is
-- one that they share with others, since the family is full.
function _M.row(self, values)
    local row = look_up(self, values)
    if row then
        return row, false
    end
    if _M.live(self) >= self.cap and tick.number >= self.scan_tick then
        evict(self)
    end
    if _M.live(self) < self.cap then
        return create(self, values), false
    end
    self.overflowed = self.overflowed + 1
    return overflow_row(self, values), true
end

-- How often no room was found since the last call.
function _M.take_overflowed(self)
    local count
    count, self.overflowed = self.overflowed, 0
    return count
end

-- Says that a row has numbers to send.
function _M.mark(self, row)
    if row[0] == 0 then
        row[0] = 1
        local tail = self.tail
        self.ring[band(tail, self.mask)] = row[1]
        self.tail = tail + 1
    end
end

function _M.dirty(self)
    return self.tail - self.head
end

-- Adds numbers (a list from 1, in the order of the wire) to the row of these label values. What the wire could not hold is
-- left out: one such row would make a whole batch invalid.
function _M.add(self, values, numbers)
    local row = _M.row(self, values)
    local least = self.shape.type == "histogram" and self.width or self.width + 1  -- its sum may be any finite number
    for i = 1, self.width do
        local sum = row[FIRST + i - 1] + numbers[i]
        if i < least and sum > encode.MAX_EXACT then
            sum = encode.MAX_EXACT
        elseif sum - sum ~= 0 then  -- not finite
            sum = row[FIRST + i - 1]
        end
        row[FIRST + i - 1] = sum
    end
    _M.mark(self, row)
end

local function clear_row(self, row)
    local number = row[1]
    ffi.fill(row, ffi.sizeof("double") * (FIRST + self.width))
    row[1] = number
end

-- Takes the rows that were deleted while they were dirty out of the ring; then their numbers are free.
local function bury(self)
    local dying, free, kept = self.dying, self.free, self.head
    if #dying == 0 then
        return
    end
    for at = self.head, self.tail - 1 do
        local number = self.ring[band(at, self.mask)]
        if self.prefix[number] then
            self.ring[band(kept, self.mask)] = number
            kept = kept + 1
        end
    end
    self.tail = kept
    for i = 1, #dying do
        self.numbers[dying[i]][0] = 0
        free[#free + 1] = dying[i]
    end
    self.dying = {}
end

_M.bury = bury

-- A dirty row stays in the ring until many can be taken out of it at once, or a batch is cut.
local function release(self, row)
    local number, dirty = row[1], row[0]
    clear_row(self, row)
    if dirty == 0 then
        self.free[#self.free + 1] = number
        return
    end
    row[0] = dirty
    self.dying[#self.dying + 1] = number
    if #self.dying >= BURIED_AT_LEAST and #self.dying >= _M.dirty(self) / BURIED_SHARE then
        bury(self)
    end
end

-- Deletes the row with this prefix, if there is one, and what it has not sent.
function _M.delete(self, prefix)
    local row = self.by_prefix[prefix]
    if row then
        self.by_prefix[prefix], self.prefix[row[1]] = nil, nil
        release(self, row)
    end
end

-- Deletes all rows, and what they have not sent.
function _M.delete_all(self)
    self.by_prefix, self.prefix, self.values, self.numbers, self.used = {}, {}, {}, {}, {}
    self.free, self.dying = {}, {}
    self.count, self.head, self.tail = 0, 0, 0
end

-- Drops what is not sent; the rows stay known.
function _M.drop_unsent(self)
    bury(self)
    for at = self.head, self.tail - 1 do
        clear_row(self, self.numbers[self.ring[band(at, self.mask)]])
    end
    self.head = self.tail
end

-- Bytes that the next dirty row takes at most, with its label values.
function _M.next_size(self)
    local number = self.ring[band(self.head, self.mask)]
    local places = #self.shape.labels * label_values.MAX_PLACE_BYTES
    return #self.prefix[number] + places + self.width * encode.MAX_NUMBER_BYTES
end

-- Writes the next dirty row and sets it to zero, in one step that does not yield: the numbers are now in the bytes.
-- places: the label values of the batch.
function _M.take(self, p, at, places)
    local number = self.ring[band(self.head, self.mask)]
    self.head = self.head + 1
    self.used[number] = tick.number
    local values, row = self.values[number], self.numbers[number]
    at = encode.array(p, at, #values + self.width)
    for i = 1, #values do
        at = encode.number(p, at, places:place(values[i]))
    end
    for i = FIRST, FIRST + self.width - 1 do
        at = encode.number(p, at, row[i])
    end
    clear_row(self, row)
    return at
end

return _M
