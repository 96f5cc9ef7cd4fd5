-- Requests that nginx passed on: each attempt, each retry, and what its cache did.
--
-- Rules:
-- - One observation for each attempt that nginx lists, none for what it lists as "-".
-- - An attempt that upgraded the connection (101) has no response duration: nginx lists the connection's whole life there.
-- - One variable a request, composed in upstreams.conf: the times, which are read each time, then what happened, which is alike
--   for many requests, so it is read once and kept as a plan, the rows to add to.
-- - nginx knows the name in proxy_pass of the last upstream alone: of those before an internal redirect it is unknown.

local ffi = require "ffi"
local clear = require "table.clear"
local attempts = require "resty.metrics.attempts"
local buckets = require "resty.metrics.buckets"
local rows = require "resty.metrics.rows"
local variable = require "resty.metrics.variable"

local each = pairs  -- `each`: see counters.lua
local var = ngx.var
local ffi_string = ffi.string
local is_short, short_times = attempts.is_short, attempts.short_times

local KEPT_MOST = 4096       -- plans, and times that are not of the commonest form
local KEPT_BYTES = 512       -- longer texts are read each time
local FIRST, mark = rows.FIRST, rows.mark
local LOOKED_UP = buckets.LOOKED_UP
local SHORT_BYTES = attempts.SHORT_BYTES
local UPGRADED = require("resty.metrics.overflow").UPGRADED

local _M = {}

local read

local attempted, retried, cached
local connect, header, response
local with_peer
local slot_of, search, sum_slot
local plans, plan_count = {}, 0
local times, time_count = {}, 0

local function forget()
    clear(plans)
    plan_count = 0
end

local function family(family_of, shape)
    local rows_of_family = family_of(shape)
    rows_of_family:set_on_eviction(forget)
    return rows_of_family
end

local function counter(family_of, name, help, labels)
    return family(family_of, { name = name, type = "counter", help = help, labels = labels, columns = { "value" } })
end

local function histogram(family_of, phase, help, bounds)
    return family(family_of, {
        name = "nginx_http_upstream_" .. phase .. "_duration_seconds",
        type = "histogram",
        help = help,
        labels = { "upstream" },
        bounds = bounds,
        scale = 1000,
        columns = { "sum" },
    })
end

-- family_of(shape): makes a family; bounds: milliseconds; peer: whether attempts are told apart by it. To be called in a
-- request.
function _M.use(family_of, bounds, peer)
    with_peer = peer
    read = variable.reader("rm_attempts")
    attempted = counter(family_of, "nginx_http_upstream_attempts_total",
        "Attempts to have a request answered by an upstream, by peer and status; \"-\" where no status came.",
        peer and { "upstream", "peer", "status" } or { "upstream", "status" })
    retried = counter(family_of, "nginx_http_upstream_retries_total",
        "Attempts after the first of a request, by upstream.", { "upstream" })
    cached = counter(family_of, "nginx_http_cache_requests_total",
        "Requests to locations with a cache, by what the cache did.", { "server", "cache_status" })
    connect = histogram(family_of, "connect", "Time until an upstream's connection was there, by attempt.", bounds)
    header = histogram(family_of, "header", "Time until an upstream's header had come, by attempt.", bounds)
    response = histogram(family_of, "response",
        "Time until an upstream's answer had come, by attempt; upgraded connections (101) are left out.", bounds)
    slot_of, search = buckets.of(bounds)
    sum_slot = FIRST + #bounds + 1
    forget()
end

local function count(of, row, by)
    row[FIRST] = row[FIRST] + by
    if row[0] == 0 then
        mark(of, row)
    end
end

local function observe(of, row, ms)
    local slot = ms <= LOOKED_UP and slot_of[ms] or search(ms)
    row[slot] = row[slot] + 1
    row[sum_slot] = row[sum_slot] + ms
    if row[0] == 0 then
        mark(of, row)
    end
end

local function plan_attempt(name, attempt)
    return {
        item = attempt.item,
        row = attempted:row(with_peer and { name, attempt.peer, attempt.status } or { name, attempt.status }),
        connect = connect:row { name },
        header = header:row { name },
        response = attempt.status ~= UPGRADED and response:row { name } or nil,
    }
end

-- What is to be added for such a text about what happened.
local function make_plan(text)
    local statuses, cache_status, addresses, name = attempts.fields(text)
    local list, retries = attempts.read(statuses, addresses)
    local plan = { retries = {}, cache_status = cache_status ~= "" and cache_status or nil, cached = {} }
    for i = 1, #list do
        plan[i] = plan_attempt(list[i].last_group and name or "", list[i])
    end
    for last_group, number in each(retries) do
        if number > 0 then
            plan.retries[#plan.retries + 1] = { row = retried:row { last_group and name or "" }, number = number }
        end
    end
    plan.alone = #plan == 1 and plan[1].item == 1 and plan[1] or nil
    return plan
end

local function plan_of(text)
    local plan = make_plan(text)
    if #text > KEPT_BYTES then
        return plan
    end
    if plan_count >= KEPT_MOST then
        forget()
    end
    plan_count = plan_count + 1
    plans[text] = plan
    return plan
end

local function times_of(text)
    local parsed = times[text]
    if parsed then
        return parsed
    end
    parsed = attempts.times(text)
    if #text <= KEPT_BYTES then
        if time_count >= KEPT_MOST then
            clear(times)
            time_count = 0
        end
        time_count = time_count + 1
        times[text] = parsed
    end
    return parsed
end

local function observe_item(attempt, durations)
    local item = attempt.item
    if durations.connect[item] then
        observe(connect, attempt.connect, durations.connect[item])
    end
    if durations.header[item] then
        observe(header, attempt.header, durations.header[item])
    end
    if attempt.response and durations.response[item] then
        observe(response, attempt.response, durations.response[item])
    end
end

local function count_attempts(plan, text)
    local durations = times_of(text)
    for i = 1, #plan do
        count(attempted, plan[i].row, 1)
        observe_item(plan[i], durations)
    end
    for i = 1, #plan.retries do
        count(retried, plan.retries[i].row, plan.retries[i].number)
    end
end

local function count_cached(plan)
    local server = var.server_name or ""
    local row = plan.cached[server]
    if not row then
        row = cached:row { server, plan.cache_status }
        plan.cached[server] = row
    end
    count(cached, row, 1)
end

-- Any number of attempts, or none and what the cache did.
local function count_text(text)
    local timing, outcome = attempts.halves(text)
    local plan = plans[outcome] or plan_of(outcome)
    if plan.cache_status then
        count_cached(plan)
    end
    if plan[1] then
        count_attempts(plan, timing)
    end
end

-- Counts what the request that has just ended asked of upstreams and of a cache.
function _M.count()
    local bytes, size = read()
    if size == 0 then
        return
    elseif not is_short(bytes, size) then
        return count_text(ffi_string(bytes, size))
    end
    local connect_ms, header_ms, response_ms = short_times(bytes)
    local outcome = ffi_string(bytes + SHORT_BYTES, size - SHORT_BYTES)
    local plan = plans[outcome] or plan_of(outcome)
    local alone = plan.alone
    if not alone then
        return count_text(ffi_string(bytes, size))
    end
    if plan.cache_status then
        count_cached(plan)
    end
    count(attempted, alone.row, 1)
    observe(connect, alone.connect, connect_ms)
    observe(header, alone.header, header_ms)
    if alone.response then
        observe(response, alone.response, response_ms)
    end
end

return _M
