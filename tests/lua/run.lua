-- Runs the Lua modules that need no nginx, or little of it, on what a test asks: a list of {command, argument ...} in
-- msgpack on standard input, the list of their results on standard output. msgpack is read and written here by Debian's
-- lua-messagepack, not by ours.

local root = arg[1]
package.path = root .. "/lua/?.lua;" .. package.path

local MessagePack = require "MessagePack"

-- What requests.lua and spool.lua use of nginx. A list of the dictionary takes as many values as `room` says.
local request = { method = "GET" }
local dictionary = { room = math.huge, lists = {}, lost = 0 }

function dictionary.rpush(self, key, value)
    if self.room < 1 then
        return nil, "no memory"
    end
    self.room = self.room - 1
    self.lists[key] = self.lists[key] or {}
    table.insert(self.lists[key], value)
    return #self.lists[key]
end

function dictionary.lpop(self, key)
    return self.lists[key] and table.remove(self.lists[key], 1)
end

function dictionary.get(self, key)
    local found = self[key]
    if self.meanwhile then
        self.meanwhile()
    end
    return found
end

function dictionary.incr(self, key, by)
    self[key] = self[key] + by
    return self[key]
end

_G.ngx = {
    var = { server_name = "a.example", request_length = "1", bytes_sent = "1" },
    now = function() return 0 end,
    req = { start_time = function() return 0 end, get_method = function() return request.method end },
    status = 200,
    shared = { resty_metrics_spool = dictionary },
}

local attempts = require "resty.metrics.attempts"
local datagram = require "resty.metrics.datagram"
local decimal = require "resty.metrics.decimal"
local decode = require "resty.metrics.decode"
local definition = require "resty.metrics.definition"
local deletion = require "resty.metrics.deletion"
local encode = require "resty.metrics.encode"
local failure = require "resty.metrics.failure"
local ffi = require "ffi"
local gauges = require "resty.metrics.gauges"
local label_values = require "resty.metrics.label_values"
local durations = require "resty.metrics.durations"
local requests = require "resty.metrics.requests"
local rows = require "resty.metrics.rows"
local server = require "resty.metrics.server"
local settings = require "resty.metrics.settings"
local spool = require "resty.metrics.spool"
local sender = require "resty.metrics.sender"
local tick = require "resty.metrics.tick"
local transport = require "resty.metrics.transport"

MessagePack.set_number "double"
MessagePack.set_string "string_compat"

local function never()
    return false
end

local function bytes_of(batch)
    return ffi.string(batch.bytes, batch.length)
end

local function split(row, labels)
    local values, numbers = {}, {}
    for i = 1, labels do
        values[i] = row[i]
    end
    for i = labels + 1, #row do
        numbers[i - labels] = row[i]
    end
    return values, numbers
end

local function family_of(described, cap)
    local family = rows.new(described, cap or 10000, described.inherited)
    for _, row in ipairs(described.rows or {}) do
        family:add(split(row, #described.labels))
    end
    deletion.precede(family, described.reset, described.del)
    return family
end

local commands = {}

-- An ordered list of pairs: what we wrote, what lua-messagepack reads in it, what decode.lua reads in it.
function commands.pairs(list)
    local buffer = ffi.new("uint8_t[?]", 1048576)
    local length = encode.pairs(buffer, 0, list)
    local written = ffi.string(buffer, length)
    return { written, MessagePack.pack(MessagePack.unpack(written)), MessagePack.pack(decode.value(written)) }
end

function commands.batch(id, birth, sequence, base, described, instance)
    local families = {}
    for i = 1, #described do
        families[i] = family_of(described[i])
    end
    local own = { id = id, birth = birth, instance = instance or nil }
    return bytes_of(datagram.batch(families, own, sequence, base, datagram.MAX_BYTES, never))
end

function commands.heartbeat(id, birth, beat, base, list)
    return bytes_of(datagram.heartbeat({ id = id, birth = birth }, beat, base, list))
end

function commands.bye(id, birth, last)
    return bytes_of(datagram.bye({ id = id, birth = birth }, last))
end

function commands.answer(bytes)
    local buffer = ffi.new("uint8_t[?]", #bytes + 1)
    ffi.copy(buffer, bytes, #bytes)
    return datagram.read_answer(buffer, #bytes) or "none of ours"
end

-- Adds and cuts in turn. steps: {row} adds it, {} cuts one batch. Returns the batches, everything cut at the end.
function commands.rows(described, cap, limit, steps)
    local family = rows.new(described, cap)
    local batches, sequence = {}, 0
    local function cut()
        local batch = datagram.batch({ family }, { id = ("s"):rep(16), birth = 1 }, sequence + 1, 1, limit, never)
        if batch then
            sequence = sequence + 1
            batches[sequence] = bytes_of(batch)
        end
        return batch
    end
    for i = 1, #steps do
        if #steps[i] > 0 then
            family:add(split(steps[i], #described.labels))
        else
            cut()
        end
    end
    repeat until not cut()
    return { batches, family.count, family.overflowed }
end

-- Adds, deletes, cuts and takes back in turn. "cut_and_hold" cuts a batch that is never sent, "release" puts it back.
-- Returns the batches that were sent.
function commands.deletions(described, limit, steps)
    local family = rows.new(described, 10000)
    local batches, held = {}, nil
    local function cut()
        return datagram.batch({ family }, { id = ("s"):rep(16), birth = 1 }, #batches + 1, 1, limit, never)
    end
    local function put_back(batch)
        if batch then
            datagram.absorb(datagram.body(batch), function() return family end)
        end
    end
    local act = {
        add = function(label, value) family:add({ label }, { value }) end,
        del = function(label) deletion.row(family, { label }) end,
        reset = function() deletion.all(family) end,
        cut = function()
            for batch in cut do
                batches[#batches + 1] = bytes_of(batch)
            end
        end,
        cut_put_back = function() put_back(cut()) end,
        put_back = function() put_back(cut()) end,
        cut_and_hold = function() held = cut() end,
        release = function() put_back(held) end,
    }
    for i = 1, #steps do
        act[steps[i][1]](steps[i][2], steps[i][3])
    end
    act.cut()
    return batches
end

-- So many rows are added and deleted, over and over, and cut. Returns the rows that were ever made, and the overflow.
function commands.churn(described, cap, times)
    local family = rows.new(described, cap)
    for i = 1, times do
        family:add({ tostring(i) }, { 1 })
        if i > cap - 1 then
            deletion.row(family, { tostring(i - cap + 1) })
        end
        datagram.batch({ family }, { id = ("s"):rep(16), birth = 1 }, 1, 1, datagram.MAX_BYTES, never)
    end
    return { family.count, family.overflowed }
end

-- Fills a family, deletes so many dirty rows, adds as many new ones, nothing of it cut before the end. Returns the overflow
-- and the rows that are sent.
function commands.exchange(described, cap, count)
    local family = rows.new(described, cap)
    for i = 1, cap do
        family:add({ "old " .. i }, { 1 })
    end
    for i = 1, count do
        deletion.row(family, { "old " .. i })
    end
    for i = 1, count do
        family:add({ "new " .. i }, { 1 })
    end
    local sent = 0
    repeat
        local batch = datagram.batch({ family }, { id = ("s"):rep(16), birth = 1 }, 1, 1, datagram.MAX_BYTES, never)
        sent = sent + (batch and batch.rows or 0)
    until not batch
    return { family.overflowed, sent }
end

-- Deletes so many label sets while nothing is sent. Returns how many were accepted and refused.
function commands.deletions_wait(described, cap, times)
    local family = rows.new(described, cap)
    local accepted, refused = 0, 0
    for i = 1, times do
        if deletion.row(family, { tostring(i) }) then
            accepted = accepted + 1
        else
            refused = refused + 1
        end
    end
    return { accepted, refused }
end

-- Whether a metric may be made so: its shape, or why not.
function commands.define(kind, name, help, labels, options)
    local shape, err = definition.read(kind, name ~= false and name or nil, help or nil, labels or nil, options or nil)
    return { shape or false, err or false }
end

-- Gauges in the parts of one beat. described: {shape, rows: {label values, value, set}}; taken: bytes of the first part that
-- others have; deleted: label values of the first gauge. Returns the datagrams.
function commands.gauges(described, taken, deleted)
    for i = 1, #described do
        local gauge = gauges.new(described[i])
        gauge:hold()
        for _, row in ipairs(described[i].rows) do
            local values, numbers = split(row, #described[i].labels)
            local found = gauge:row(values)
            if found then  -- nil: one too many
                gauges.set(found, numbers[1], numbers[2])
            end
        end
        for _, values in ipairs(i == 1 and deleted or {}) do
            gauge:delete(values)
        end
    end
    local parts = gauges.plan(taken)
    local found = {}
    for i = 1, #parts do
        local list = #parts > 1 and { "part", i, "parts", #parts } or {}
        found[i] = bytes_of(datagram.heartbeat({ id = ("s"):rep(16), birth = 1 }, 1, 1, list, function(p, at)
            return gauges.put(parts[i], p, at, 0)
        end))
    end
    return found
end

-- Rows cut into batches, taken back from their bytes into another family, and cut again.
function commands.absorb(described)
    local first = family_of(described)
    local other = rows.new(described, 10000)
    local total = 0
    while first:dirty() > 0 do
        local batch = datagram.batch({ first }, { id = ("s"):rep(16), birth = 1 }, 1, 1, 4096, never)
        total = total + datagram.absorb(datagram.body(batch), function() return other end)
    end
    local batch = datagram.batch({ other }, { id = ("s"):rep(16), birth = 1 }, 1, 1, datagram.MAX_BYTES, never)
    return { total, bytes_of(batch) }
end

-- A sender's life: steps {method, argument ...}; "push" makes its own batch. Returns what each step gave and left.
function commands.sender(first, steps)
    local one = sender.new(("s"):rep(16), 1, first)
    local seen = {}
    for i = 1, #steps do
        local name, a, b, c = unpack(steps[i])
        local result
        if name == "push" then
            one:push({ length = a, rows = 1 })
        elseif name == "due" then
            local batch, sequence = one:due(a)
            result = batch and sequence or false
        elseif name == "take_back" then
            result = one:take_back() and true or false
        else
            result = one[name](one, a, b, c)
        end
        if result == nil then
            result = false
        end
        seen[i] = { result, one.state, one.base, one.next, one.sent, one.bytes }
    end
    return seen
end

function commands.bounds(text)
    local bounds, err = settings.bounds(text)
    return { bounds or false, err or false }
end

function commands.nginx(stated)
    local name, err = settings.nginx(stated)
    return { name or false, err or false }
end

function commands.labels(stated)
    local labels, err = settings.labels(stated)
    return { labels and labels.names or false, labels and labels.variables or false, err or false }
end

-- The labels of durations that a text chooses beside these names of the user's; nil: the default. And the shape's labels with
-- a scope.
function commands.duration_labels(text, names)
    local labels, err = durations.default(names), nil
    if text ~= false then
        labels, err = durations.choose(text, names)
    end
    return {
        labels or false, err or false, text ~= false and durations.choose_among(text, names) or {},
        labels and durations.shape({ 5 }, "api", labels).labels or false,
    }
end

function commands.status_classes(statuses)
    local classes = {}
    for i, status in ipairs(statuses) do
        classes[i] = durations.class_of(status)
    end
    return classes
end

-- What is read in $upstream_status and $upstream_addr: {{item, peer, status, last_group}, ...}, and the retries.
function commands.attempts(statuses, addresses)
    local list, retries = attempts.read(statuses, addresses)
    for i = 1, #list do
        list[i] = { list[i].item, list[i].peer, list[i].status, list[i].last_group }
    end
    return { list, retries[true], retries[false] }
end

-- The times of each item, and by the short way, which must agree or decline.
function commands.times(text)
    local found, whole = attempts.times(text), text .. "|200||127.0.0.1:80|backend"
    local bytes = ffi.cast("const unsigned char *", whole)
    local short = attempts.is_short(bytes, #whole) and { attempts.short_times(bytes) } or {}
    return { found.connect, found.header, found.response, short, attempts.halves(whole) }
end

function commands.halves(text)
    local when, what = attempts.halves(text)
    return { when or false, what }
end

function commands.fields(text)
    return { attempts.fields(text) }
end

-- The origin and the reason of a request with this status and these variables.
function commands.failure(status, variables)
    local reason = failure.reason(status, variables)
    return { failure.ORIGIN[reason], reason }
end

-- The variables that are read for the reason, in their order.
function commands.failure_reads(status, variables)
    local names = {}
    failure.reason(status, setmetatable({}, { __index = function(_, name)
        names[#names + 1] = name
        return variables[name]
    end }))
    return names
end

-- The variables that are read for a request with this status, when its rows are there; and the status, if it failed.
function commands.request_reads(status)
    local names, var = {}, ngx.var
    local family, timed = rows.new(requests.shape(), 10000), rows.new(durations.shape({ 5 }, nil, { "server" }), 10000)
    local count_request = requests.counter(family, timed, { names = {}, variables = {} })
    ngx.status = status
    for _ = 1, 2 do
        count_request()
    end
    local values = {}
    for name, value in pairs(var) do
        values[name], var[name] = value, nil
    end
    setmetatable(var, { __index = function(_, name)
        names[#names + 1] = name
        return values[name]
    end })
    local failed = select(2, count_request())
    setmetatable(var, nil)
    for name, value in pairs(values) do
        var[name] = value
    end
    ngx.status = 200
    table.sort(names)
    return { names, failed or false }
end

-- Failures by as many lists of addresses. Returns by how many kilobytes the memory differs between the first and the second
-- half.
function commands.failure_memory(count)
    local half
    for i = 1, count do
        failure.reason(502, { upstream_addr = ("127.0.0.1:%d, [::1]:%d : unix:/%d"):format(i, i, i) })
        if i == count / 2 then
            collectgarbage()
            half = collectgarbage("count")
        end
    end
    collectgarbage()
    return collectgarbage("count") - half
end

-- The next dirty row of a family, with its label values.
local function take_row(family, buffer)
    local values = label_values.new()
    local row = MessagePack.unpack(ffi.string(buffer, family:take(buffer, 0, values)))
    for i = 1, #family.shape.labels do
        row[i] = values.list[row[i] + 1]
    end
    return row
end

-- A flood of label values over `hours`, and 100 known tenants once in each thousand. Returns by how many kilobytes the
-- memory differs between the first and the second half, the rows, and what each of the known has counted.
function commands.flood(count, hours)
    local family = rows.new(requests.shape(nil, { "tenant" }), 10000)
    local timed = rows.new(durations.shape({ 5 }, nil, durations.default { "tenant" }), 10000)
    local count_request = requests.counter(family, timed, { names = { "tenant" }, variables = { "http_x_tenant" } })
    local function known()
        for tenant = 1, 100 do
            ngx.var.http_x_tenant = "known-" .. tenant
            count_request()
        end
    end
    local sums, half, freed, observed = {}, nil, 0, 0
    local buffer = ffi.new("uint8_t[?]", 4096)
    local function flush()
        while family:dirty() > 0 do
            local row = take_row(family, buffer)
            sums[row[4]] = (sums[row[4]] or 0) + row[5]
        end
        while timed:dirty() > 0 do
            local row = take_row(timed, buffer)
            observed = observed + row[4] + row[5]
        end
    end
    known()
    for i = 1, count do
        ngx.var.http_x_tenant = "flood-" .. i
        count_request()
        if i % 1000 == 0 then
            known()
            flush()
            tick.number = tick.number + hours * 3600 * 1000 / count
            for label in pairs(sums) do  -- what was sent is no longer ours
                if label:find("^flood") then
                    sums[label] = nil
                    freed = freed + 1
                end
            end
        end
        if i == count / 2 then
            collectgarbage()
            half = collectgarbage("count")
        end
    end
    collectgarbage()
    local grown = collectgarbage("count") - half
    tick.number = 0
    local exact = 0
    for tenant = 1, 100 do
        exact = exact + (sums["known-" .. tenant] == 1 + count / 1000 and 1 or 0)
    end
    return { grown, family:live(), exact, freed, sums.other or 0, timed:live(), observed }
end

-- The numbers of these texts, each of 1 to decimal.MOST digits; that memory which follows them is not theirs.
function commands.decimals(texts)
    local numbers = {}
    for i, text in ipairs(texts) do
        local bytes = ffi.new("unsigned char[?]", #text + 16, text .. ("9"):rep(16))
        numbers[i] = decimal.parse(bytes, #text)
    end
    return { decimal.MOST, numbers }
end

-- What a variable with this text is read as where there is no lua-resty-core, and whether it was read without a string.
function commands.reader(text)
    ngx.var.tested = text
    local read, direct = decimal.reader("tested")
    return { read(), direct }
end

-- The keys of servers whose names stand at these places of memory: {{place, name}, ...}; a request after each.
function commands.server_keys(requests_of)
    local memory = ffi.new("unsigned char[64]")
    local place
    local key = server.by_address(function() return memory + place, #ngx.var.server_name end)
    local keys = {}
    for i, at in ipairs(requests_of) do
        place, ngx.var.server_name = at[1], at[2]
        local found = key()
        keys[i] = type(found) == "number" and found - tonumber(ffi.cast("intptr_t", memory)) or found
        server.check(found)
    end
    ngx.var.server_name = "a.example"
    return keys
end

-- Requests with as many different methods of a length. Returns the kilobytes that stay, and the rows and requests.
function commands.methods(count, length)
    local family, timed = rows.new(requests.shape(), 10000), rows.new(durations.shape({ 5 }, nil, { "server" }), 10000)
    local count_request = requests.counter(family, timed, { names = {}, variables = {} })
    collectgarbage()
    local before = collectgarbage("count")
    for i = 1, count do
        request.method = ("%05d"):format(i):gsub("%d", function(digit) return string.char(65 + digit) end)
            .. ("X"):rep(length - 5)
        count_request()
    end
    collectgarbage()
    local kept = collectgarbage("count") - before
    local total = 0
    for number = 1, family.count do
        total = total + family.numbers[number][rows.FIRST]
    end
    return { kept, family.count, total }
end

-- Requests with these labels, one after another: {tenant, status}; then an hour without any where `idle` says so. cap: rows
-- of durations. Returns for both families what each label set counted in all, in the order of their rows.
function commands.pairs_of_rows(cap, chosen, steps)
    local family = rows.new(requests.shape(nil, { "tenant" }), 10000)
    local timed = rows.new(durations.shape({ 5 }, nil, durations.choose(chosen, { "tenant" })), cap)
    local count_request = requests.counter(family, timed, { names = { "tenant" }, variables = { "http_x_tenant" } })
    local counted, observed, buffer = {}, {}, ffi.new("uint8_t[?]", 4096)
    local function flush(of, labels, first, last, sums)
        while of:dirty() > 0 do
            local row = take_row(of, buffer)
            local key = table.concat(row, "|", 1, labels)
            for i = first, last do
                sums[key] = (sums[key] or 0) + row[labels + i]
            end
        end
    end
    for _, step in ipairs(steps) do
        if step.idle then
            flush(family, #family.shape.labels, 1, 1, counted)
            flush(timed, #timed.shape.labels, 1, 2, observed)
            tick.number = tick.number + step.idle
        else
            ngx.var.http_x_tenant, ngx.status = step[1], step[2]
            count_request()
        end
    end
    flush(family, #family.shape.labels, 1, 1, counted)
    flush(timed, #timed.shape.labels, 1, 2, observed)
    tick.number, ngx.status = 0, 200
    return { counted, observed, timed:live(), timed:take_overflowed() }
end

-- Puts senders {name, rows of each batch} into a spool with room for so many values. Returns what can be taken, and lost.
function commands.spool(room, senders)
    dictionary.room, dictionary.lists, dictionary.lost = room, {}, 0
    for i = 1, #senders do
        local batches = {}
        for j, count in ipairs(senders[i][2]) do
            batches[j] = { "batch " .. j, count }
        end
        spool.put_sender(senders[i][1], batches)
    end
    local taken, count = {}, 0
    for id, batches in spool.take_sender do
        taken[#taken + 1] = { id, #batches }
        for i = 1, #batches do
            count = count + batches[i][2]
        end
    end
    return { taken, count, spool.take_lost() }
end

-- Two workers read that rows were lost before either has taken them. Returns what each says, and what is left.
function commands.lost_twice(count)
    dictionary.lost = count
    local first
    dictionary.meanwhile = function()
        dictionary.meanwhile = nil
        first = spool.take_lost()
    end
    local second = spool.take_lost()
    return { first, second, dictionary.lost }
end

-- The shape that a new family keeps of a batch that was taken back: its rows are not in it.
function commands.shape_kept(described)
    local first = family_of(described)
    local batch = datagram.batch({ first }, { id = ("s"):rep(16), birth = 1 }, 1, 1, datagram.MAX_BYTES, never)
    local kept
    datagram.absorb(datagram.body(batch), function(shape)
        kept = rows.new(shape, 10000, true)
        return kept
    end)
    return { kept.shape.name, kept.shape.rows and #kept.shape.rows or 0, kept:dirty() }
end

-- Connects to a path, then to another one. Returns what is wrong with each.
function commands.connect(first, second)
    local line = transport.new(first)
    local _, first_reason = line:connect()
    line:redirect(second)
    local _, second_reason, text = line:connect()
    return { first_reason, second_reason, text }
end

local asked = MessagePack.unpack(io.read("*a"))
local results = {}
for i = 1, #asked do
    results[i] = commands[asked[i][1]](unpack(asked[i], 2))
end
io.write(MessagePack.pack(results))
