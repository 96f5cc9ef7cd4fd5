-- What requests are counted in: those of no scope, with the labels and buckets of the include, and each scope that a
-- location or a log hook names, with its own. A scope is made when it is first named, and keeps what was stated then: where
-- another place states something else for it, that is said once. One request a second of each scope is looked at.

local durations = require "resty.metrics.durations"
local holdings = require "resty.metrics.holdings"
local requests = require "resty.metrics.requests"
local settings = require "resty.metrics.settings"
local consistency = require "resty.metrics.consistency"
local tick = require "resty.metrics.tick"
local upstreams = require "resty.metrics.upstreams"

local concat = table.concat
local type = type

local NEVER = math.huge
local SCOPES_MOST = 64  -- a worker's: a name may come from a variable, and each scope is a family

local _M = {
    default = nil,   -- function: counts the request that ends in no scope
    counters = {},   -- name of a scope -> the same for it
    chosen = nil,    -- what settings.read made of the include
}

local scope_count = 0
local stated_first = {}  -- name of a scope -> its labels and buckets in words
local next_tick = {}     -- name of a scope -> when its next request is looked at
local with_upstreams = false

local function counter(chosen, scope)
    local counted = holdings.own_family(requests.shape(scope, chosen.labels.names))
    local timed = holdings.own_family(durations.shape(chosen.bounds, scope, chosen.duration_labels))
    local count = requests.counter(counted, timed, chosen.labels)
    if not with_upstreams then
        return count
    end
    local count_attempts = upstreams.count
    return function()
        local key, status = count()
        count_attempts()
        return key, status
    end
end

local function complain(fault, refused)
    if refused.buckets then
        fault("buckets", refused.buckets .. "; the default buckets are used")
    end
    if refused.labels then
        fault("labels", refused.labels .. "; requests are counted without your labels")
    end
    if refused.duration_labels then
        fault("duration_labels", refused.duration_labels .. "; durations have the default labels")
    end
end

local function use_upstreams(variables, fault)
    local included = variables.rm_attempts ~= nil
    local on, bad = settings.switch("resty_metrics_upstreams", variables.resty_metrics_upstreams, included)
    local peer, bad_peer = settings.switch("resty_metrics_upstream_peer", variables.resty_metrics_upstream_peer, true)
    if bad or bad_peer then
        fault("settings", bad or bad_peer)
    end
    if on and not included then
        fault("settings", "$resty_metrics_upstreams is on, but upstreams.conf is not included: upstreams are not counted. "
            .. "Include it")
        on = false
    end
    if on then
        upstreams.use(holdings.own_family, _M.chosen.bounds, peer)
    end
    with_upstreams = on
end

-- At the first request. variables: ngx.var; buckets: what init_worker stated, or nil; fault(reason, text): says what is
-- wrong.
function _M.start(variables, buckets, fault)
    local refused
    _M.chosen, refused = settings.read {
        buckets = buckets or variables.resty_metrics_buckets,
        labels = variables.resty_metrics_labels,
        duration_labels = variables.resty_metrics_duration_labels,
    }
    complain(fault, refused)
    consistency.remember(fault)
    use_upstreams(variables, fault)
    _M.default = counter(_M.chosen)
end

local function words_of(chosen)
    local labels = {}
    for i = 1, #chosen.labels.names do
        labels[i] = chosen.labels.names[i] .. "=" .. chosen.labels.variables[i]
    end
    return 'labels "' .. concat(labels, " ") .. '", duration labels "' .. concat(chosen.duration_labels, " ")
        .. '" and buckets "' .. concat(chosen.bounds, " ") .. '" (milliseconds)'
end

-- Compares what the request at hand states of this scope: {labels, buckets, duration_labels}.
local function check(name, options, fault)
    next_tick[name] = tick.number + 1
    if options.buckets ~= nil and type(options.buckets) ~= "string" then
        return
    end
    local words = words_of((settings.read(options, _M.chosen)))
    if words ~= stated_first[name] then
        next_tick[name] = NEVER
        fault("scope_settings", "scope \"" .. name .. "\" keeps " .. stated_first[name] .. " of its first request in this "
            .. "worker; another request states " .. words .. ". State the same everywhere, or use another scope name")
    end
end

-- The function that counts in this scope, made with these labels and buckets; that of no scope where it cannot be.
local function make(name, options, fault)
    local buckets = options.buckets
    local ok, err = settings.scope(name)
    if ok and scope_count >= SCOPES_MOST then
        err = "there are " .. SCOPES_MOST .. " scopes in this worker already"
    elseif ok and buckets ~= nil and type(buckets) ~= "string" then
        err = "buckets must be a text"
    end
    if err then
        fault("scope", err .. "; its requests are counted without a scope")
        return _M.default
    end
    local chosen, refused = settings.read(options, _M.chosen)
    complain(fault, refused)
    scope_count = scope_count + 1
    stated_first[name], next_tick[name] = words_of(chosen), 0
    _M.counters[name] = counter(chosen, name)
    return _M.counters[name]
end

-- The function that counts in the scope of {scope = name, labels, buckets, duration_labels}.
function _M.of(options, fault)
    if type(options) ~= "table" then
        options = {}
    end
    local name = options.scope
    local count = _M.counters[name]
    if not count then
        return make(name, options, fault)
    elseif tick.number >= next_tick[name] then
        check(name, options, fault)
    end
    return count
end

-- The same for what nginx's variables state.
function _M.stated(variables, fault)
    local name = variables.resty_metrics_scope
    if name == nil or name == "" then
        return _M.default
    end
    local count = _M.counters[name]
    if count and tick.number < next_tick[name] then
        return count
    end
    local options = {
        labels = variables.resty_metrics_scope_labels,
        buckets = variables.resty_metrics_scope_buckets,
        duration_labels = variables.resty_metrics_scope_duration_labels,
    }
    if not count then
        return make(name, options, fault)
    end
    check(name, options, fault)
    return count
end

return _M
