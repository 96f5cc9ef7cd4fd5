-- From a request's label values, as nginx has them, to its two rows: a tree with a level for each label.
--
-- No value is ever joined with another, so none can be taken for two, and no string is made to look one up.
-- The tree is bounded: by its leaves, and by the length of what clients choose. Rows that a label set shares with
-- others for lack of room ("other") are not in it, or a flood would drive out those that come again. Where only the durations
-- found no room, they stay with "other" until rows are evicted.
--
-- A leaf is {row of requests, row of durations}, and only the tree has leaves: when either family gives a row to another
-- label set, all leaves go. (As a struct of two pointers it took 270 more instructions a request.)

local clear = require "table.clear"
local compile = require "resty.metrics.compile"
local durations = require "resty.metrics.durations"
local ffi = require "ffi"
local method_of = require "resty.metrics.method"
local rows = require "resty.metrics.rows"
local server = require "resty.metrics.server"
local consistency = require "resty.metrics.consistency"
local variable = require "resty.metrics.variable"

local text, double_array = ffi.string, ffi.typeof("double[?]")
local concat, format, select, unpack = table.concat, string.format, select, unpack

local MAX_LABEL = require("resty.metrics.prefix").MAX_LABEL
local OTHER = require("resty.metrics.overflow").OTHER
local UPGRADED = tonumber(require("resty.metrics.overflow").UPGRADED)
local SCHEME = durations.SCHEME
local KNOWN_METHODS = method_of.KNOWN
local LEAVES_MOST = 2 * rows.FAMILY_ROWS  -- label sets as nginx has them, before they are normalised
local LONGEST_METHOD = 32           -- bytes; longer ones are of no standard

local _M = {}

local function branch(parent, key)
    local child = parent[key]
    if not child then
        child = {}
        parent[key] = child
    end
    return child
end

local function grow(tree, leaf, ...)
    local keys = select("#", ...)
    for i = 1, keys - 1 do
        tree = branch(tree, (select(i, ...)))
    end
    tree[select(keys, ...)] = leaf
end

-- Whether the tree may keep this label set.
local function short(method, ...)
    if #method > LONGEST_METHOD then
        return false
    end
    for i = 1, select("#", ...) do
        if #select(i, ...) > MAX_LABEL then
            return false
        end
    end
    return true
end

local function plain(tree, cold)
    return function(key, method, status)
        local by_method = tree[key]
        local by_status = by_method and by_method[method]
        return by_status and by_status[status] or cold(key, method, status)
    end
end

-- The same with the user's labels, for any number of them.
local function in_a_loop(tree, cold, readers)
    local last, values = #readers, {}
    return function(key, method, status)
        local node = tree[key]
        node = node and node[method]
        node = node and node[status]
        for i = 1, last do
            values[i] = text(readers[i]())
            node = node and node[values[i]]
        end
        return node or cold(key, method, status, unpack(values, 1, last))
    end
end

-- The same with the user's labels. Its code is written for the number of them: LuaJIT does not compile a path that runs
-- into a loop.
local function labelled(tree, cold, readers)
    local names, values, steps = {}, {}, {}
    for i = 1, #readers do
        names[i], values[i] = "read" .. i, "value" .. i
        steps[i] = format("node = node and node[value%d]", i)
    end
    local code = format([[
        local tree, cold, text, %s = ...
        return function(key, method, status)
            local %s = %s
            local node = tree[key]
            node = node and node[method]
            node = node and node[status]
            %s
            return node or cold(key, method, status, %s)
        end]], concat(names, ", "), concat(values, ", "), "text(" .. concat(names, "()), text(") .. "())",
        concat(steps, "\n"), concat(values, ", "))
    local chunk = compile(code, "=resty.metrics.tree")
    return chunk and chunk(tree, cold, text, unpack(readers)) or in_a_loop(tree, cold, readers)
end

-- The labels whose variables are read for each request, the user's and the scheme where durations have it, and what reads
-- them.
local function readers_of(labels, timed_labels)
    local names, readers, own_scheme = {}, {}, false
    for i = 1, #labels.names do
        names[i], readers[i] = labels.names[i], (variable.reader(labels.variables[i]))
        own_scheme = own_scheme or names[i] == SCHEME
    end
    for i = 1, own_scheme and 0 or #timed_labels do
        if timed_labels[i] == SCHEME then
            names[#names + 1], readers[#readers + 1] = SCHEME, (variable.reader(SCHEME))
        end
    end
    return names, readers
end

local function values_of(shape, by_label)
    local values = {}
    for i = 1, #shape.labels do
        values[i] = by_label[shape.labels[i]]
    end
    return values
end

-- A function of (key, method, status) that gives the rows of the request at hand in these two families, as a leaf. key: its
-- server's, as server.lua makes it; labels: {names, variables} of the user's labels.
function _M.finder(requests, timed, labels)
    local tree, leaves = {}, 0
    local names, readers = readers_of(labels, timed.shape.labels)
    -- An upgraded connection is no row of durations. Its numbers go here, which never becomes dirty, so nobody sends it.
    local nowhere = double_array(rows.FIRST + timed.width)
    nowhere[0] = 1

    local function forget()
        clear(tree)
        leaves = 0
    end

    local function cold(key, method, status, ...)
        local known = method == "" and "" or KNOWN_METHODS[method] and method or OTHER
        local name = server.name()
        local by_label = {
            server = name, method = known, status = format("%03d", status), status_class = durations.class_of(status),
            scope = requests.shape.scope,
        }
        for i = 1, #names do
            by_label[names[i]] = select(i, ...)
        end
        local row, shared = requests:row(values_of(requests.shape, by_label))
        local leaf = { row, status == UPGRADED and nowhere or (timed:row(values_of(timed.shape, by_label))) }
        if shared or not short(method, ...) then
            return leaf
        end
        if leaves >= LEAVES_MOST then  -- somebody invents values: begin again, the rows themselves stay
            forget()
        end
        leaves = leaves + 1
        consistency.check()
        server.check(key)
        grow(tree, leaf, key, method, status, ...)
        return leaf
    end

    requests:set_on_eviction(forget)
    timed:set_on_eviction(forget)
    return #readers == 0 and plain(tree, cold) or labelled(tree, cold, readers)
end

return _M
