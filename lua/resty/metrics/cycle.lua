-- Which configuration of nginx this worker serves: how often its master was configured, and when it was last.
--
-- nginx counts neither. What all workers of one configuration share, and those of the next do not, is the address of the
-- cycle; the shared dictionary, which a reload spares, knows the last. A worker that was born before the cycle that stands
-- there belongs to an earlier one, and knows its number no more.
--
-- So a configuration counts when a worker that has it begins to count: with lifecycle.conf, or an init_worker that makes
-- metrics, at once; else at the first request. One in which none began is not counted, and since the master takes memory
-- that it has freed, the one after it may be taken for the one before it. docs/decisions/0012 says why it is left at that.

local process = require "resty.metrics.process"
local spool = require "resty.metrics.spool"

local format, match = string.format, string.match
local tonumber = tonumber

local REMEMBERED = "cycle:%d"  -- of the number of a configuration
local MOST_STEPS = 1000

local _M = {}

local number, configured

local function read(n)
    local text = spool.recall(format(REMEMBERED, n))
    if not text then
        return nil
    end
    local address, birth, milliseconds = match(text, "^(%S+) (%d+) (%d+)$")
    return { address = address, birth = tonumber(birth), configured = tonumber(milliseconds) }
end

-- Returns the number of this configuration and when it began (milliseconds since the epoch), as far as that is known.
local function find(address, birth, began)
    local n = spool.recall("cycles") or 0
    for _ = 1, MOST_STEPS do
        local last, after = read(n), read(n + 1)
        if after then
            n = n + 1
        elseif last and last.address == address then
            return n, last.configured
        elseif last and birth < last.birth then
            return nil
        elseif spool.remember(format(REMEMBERED, n + 1), format("%s %d %d", address, birth, began)) then
            spool.forget(format(REMEMBERED, n - 1))
            spool.recount("cycles", n + 1)
            return n + 1, began
        elseif not read(n + 1) then
            return nil  -- no room in the dictionary
        end
    end
end

-- Reads it once, while the worker is young: {generation, configured}, nil each where it is not known.
function _M.read()
    if number == nil then
        local address, birth, began = process.cycle(), process.birth()
        if address and birth and not ngx.worker.exiting() then
            number, configured = find(address, birth, began)
        end
        number = number or false
    end
    return number or nil, number and configured or nil
end

return _M
