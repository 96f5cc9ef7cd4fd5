-- The hot path: one finished request becomes a few additions to a row.
--
-- Rules:
-- - Constant work: one look-up by server, method and status, then additions. No logging, no blocking, no string made
--   but those of nginx's variables.
-- - A function with fixed arguments in a module: LuaJIT compiles that, and not the body of a *_by_lua_block.
-- - Durations are whole milliseconds, as nginx has them.
-- Whatever is rare (a label set that is new, the first request) leaves by cold().

local ffi = require "ffi"
local bit = require "bit"
local clear = require "table.clear"
local rows = require "resty.metrics.rows"

local ngx = ngx
local var = ngx.var
local now, start_time, get_method = ngx.now, ngx.req.start_time, ngx.req.get_method
local band, floor = bit.band, math.floor
local format, tonumber = string.format, tonumber

local NAME = "http_requests"
local FIRST = rows.FIRST
local ROWS_MOST = 10000
local LEAVES_MOST = 2 * ROWS_MOST   -- known (server, method, status) as nginx has them, before they are normalised
local LONGEST_METHOD = 32           -- bytes; longer ones are of no standard, and clients would fill the memory with them
local TABLE_MS = 65535              -- up to here a duration's bucket is looked up, above it is searched

-- RFC 9110, RFC 5789, RFC 4918 and friends: what nginx itself knows by name. All else is "other".
local METHODS = {
    GET = true, HEAD = true, POST = true, PUT = true, DELETE = true, PATCH = true, OPTIONS = true, CONNECT = true,
    TRACE = true, MKCOL = true, COPY = true, MOVE = true, PROPFIND = true, PROPPATCH = true, LOCK = true, UNLOCK = true,
}

local _M = { METHODS = METHODS, ended = ffi.new("double[1]") }

local ended = _M.ended
local tree, leaves = {}, 0
local family, bounds
local slot_of = ffi.new("uint16_t[?]", TABLE_MS + 1)
local last_slot, duration_slot, request_slot, response_slot

local function shape(request_bounds)
    return {
        name = NAME,
        type = "requests",
        labels = { "server", "method", "status" },
        bounds = request_bounds,
        columns = { "duration_ms", "request_bytes", "response_bytes" },
    }
end

_M.shape = shape

-- Sets the family that requests are counted in, its bounds in milliseconds.
function _M.use(request_family)
    family, bounds = request_family, request_family.shape.bounds
    last_slot = FIRST + #bounds
    duration_slot, request_slot, response_slot = last_slot + 1, last_slot + 2, last_slot + 3
    local slot = 1
    for ms = 0, TABLE_MS do
        while slot <= #bounds and ms > bounds[slot] do
            slot = slot + 1
        end
        slot_of[ms] = FIRST + slot - 1
    end
    clear(tree)
    leaves = 0
end

local function slow_slot(ms)
    for i = 1, #bounds do
        if ms <= bounds[i] then
            return FIRST + i - 1
        end
    end
    return last_slot
end

local function branch(parent, key)
    local child = parent[key]
    if not child then
        child = {}
        parent[key] = child
    end
    return child
end

-- The row of a label set that the tree does not know yet.
local function cold(server, method, status)
    local known = method == "" and "" or METHODS[method] and method or "other"
    local row = family:row({ server, known, format("%03d", status) })
    if #method > LONGEST_METHOD then
        return row
    end
    if leaves >= LEAVES_MOST then  -- somebody invents methods: begin again, the rows themselves stay
        clear(tree)
        leaves = 0
    end
    leaves = leaves + 1
    branch(branch(tree, server), method)[status] = row
    return row
end

-- Counts the request that has just ended.
function _M.count()
    local server, method, status = var.server_name or "", get_method() or "", ngx.status
    local by_method = tree[server]
    local by_status = by_method and by_method[method]
    local row = by_status and by_status[status] or cold(server, method, status)

    local ms = floor((now() - start_time()) * 1000 + 0.5)
    if ms < 0 then
        ms = 0
    end
    local slot = ms <= TABLE_MS and slot_of[ms] or slow_slot(ms)
    row[slot] = row[slot] + 1
    row[duration_slot] = row[duration_slot] + ms
    row[request_slot] = row[request_slot] + (tonumber(var.request_length) or 0)
    row[response_slot] = row[response_slot] + (tonumber(var.bytes_sent) or 0)
    ended[0] = ended[0] + 1

    if row[0] == 0 then
        row[0] = 1
        local tail = family.tail
        family.ring[band(tail, family.mask)] = row[1]
        family.tail = tail + 1
    end
end

return _M
