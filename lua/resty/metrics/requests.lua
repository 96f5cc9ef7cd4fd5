-- The hot path: one finished request becomes a few additions to a row of requests, and to the row of durations that belongs
-- to it.
--
-- Rules:
-- - Constant work: one look-up by the label values for both rows, then additions. No logging, no blocking, no string made but those
--   of nginx's variables.
-- - Functions with fixed arguments in a module: LuaJIT compiles those, and not the body of a *_by_lua_block.
-- - Durations are whole milliseconds, as nginx has them.
-- - Where a function would cost each request a call, the field is written from outside: metrics.lua adds to `ended`, and a
--   request that makes a row dirty puts it into the ring of rows.lua here. Nothing else of a module is written by another.
-- Whatever is rare (a label set that is new, a failure, an upgraded connection) is in functions of its own.

local ffi = require "ffi"
local bit = require "bit"
local buckets = require "resty.metrics.buckets"
local decimal = require "resty.metrics.decimal"
local failure = require "resty.metrics.failure"
local method_of = require "resty.metrics.method"
local rows = require "resty.metrics.rows"
local server = require "resty.metrics.server"
local consistency = require "resty.metrics.consistency"
local tick = require "resty.metrics.tick"
local tree = require "resty.metrics.tree"
local upgraded = require "resty.metrics.upgraded"

local ngx = ngx
local now, start_time = ngx.now, ngx.req.start_time
local band, floor = bit.band, math.floor

local NAME = "http_requests"
local FIRST, mark = rows.FIRST, rows.mark
local LOOKED_UP = buckets.LOOKED_UP
local FIRST_FAILED = failure.FIRST_FAILED
local UPGRADED = tonumber(require("resty.metrics.overflow").UPGRADED)

local _M = { NAME = NAME, ended = ffi.new("double[1]") }

local ended = _M.ended

-- Returns how many requests have ended since the last call.
function _M.take_ended()
    local count = ended[0]
    ended[0] = 0
    return count
end

-- scope: nil for the requests of no scope; labels: the names of the user's.
function _M.shape(scope, labels)
    local names = { "server", "method", "status", scope and "scope" }
    for i = 1, labels and #labels or 0 do
        names[#names + 1] = labels[i]
    end
    return {
        name = NAME,
        type = "requests",
        scope = scope,
        labels = names,
        columns = { "count", "request_bytes", "response_bytes" },
    }
end

-- A function that counts the request that has just ended in these two families; labels: {names, variables} of the user's,
-- as settings.lua has them. It returns the key of the server and the status of a request that failed, for failures.lua. To be called
-- in a request.
function _M.counter(family, durations, labels)
    local bounds, find = durations.shape.bounds, tree.finder(family, durations, labels)
    local slot_of, search = buckets.of(bounds)
    local sum_slot = FIRST + #bounds + 1
    local request_slot, response_slot = FIRST + 1, FIRST + 2
    local request_length, bytes_sent = decimal.reader("request_length"), decimal.reader("bytes_sent")
    local get_server, get_method = server.reader(), method_of.reader()

    return function()
        local key, method, status = get_server(), get_method(), ngx.status
        local leaf = find(key, method, status)
        local row, timed = leaf[1], leaf[2]

        local ms = floor((now() - start_time()) * 1000 + 0.5)
        if ms < 0 then
            ms = 0
        end
        local slot = ms <= LOOKED_UP and slot_of[ms] or search(ms)
        timed[slot] = timed[slot] + 1
        timed[sum_slot] = timed[sum_slot] + ms
        row[FIRST] = row[FIRST] + 1
        row[request_slot] = row[request_slot] + request_length()
        row[response_slot] = row[response_slot] + bytes_sent()
        ended[0] = ended[0] + 1

        if row[0] == 0 then
            row[0] = 1
            local tail = family.tail
            family.ring[band(tail, family.mask)] = row[1]
            family.tail = tail + 1
            if tick.number >= consistency.next_tick then
                consistency.check()
                server.check(key)
            end
        end
        if timed[0] == 0 then
            mark(durations, timed)
        end
        if status >= FIRST_FAILED then
            return key, status
        elseif status == UPGRADED then
            upgraded.observe(server.name(), ms)
        end
    end
end

return _M
