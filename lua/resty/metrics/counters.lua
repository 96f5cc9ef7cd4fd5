-- What a worker counts of itself. It travels as ordinary rows, so it survives the worker as requests do.
--
-- Counting is allowed at any time and makes no row dirty: flush() moves the sums into rows, and is called only when
-- there is something to send anyway, or a worker that is idle would keep itself busy with its own accounts.
--
-- No loop in lua/ says pairs() or next: for these words LuaJIT has an instruction (ITERN), and compiled code that leaves such a
-- loop comes back to it for ever while memory is lacking, and in a finalizer (seen with luajit2 20230119). It is called `each`.

local rows = require "resty.metrics.rows"

local each = pairs

local FAMILIES = {
    errors = {
        name = "resty_metrics_worker_send_errors_total",
        help = "Failures of a worker to connect or send to the collector, by errno or reason.",
        labels = { "worker", "reason" },
    },
    reopens = {
        name = "resty_metrics_worker_reopens_total",
        help = "Times a worker closed its socket to the collector in order to open it again, by reason.",
        labels = { "worker", "reason" },
    },
    answers = {
        name = "resty_metrics_worker_refused_batches_total",
        help = "Answers of the collector that held or dropped a batch, by reason.",
        labels = { "worker", "reason" },
    },
    lost = {
        name = "resty_metrics_worker_lost_rows_total",
        help = "Rows that were lost on the worker's side, by reason.",
        labels = { "worker", "reason" },
    },
    faults = {
        name = "resty_metrics_worker_errors_total",
        help = "Other errors of the Lua module in a worker, by reason; each is in nginx's error log once.",
        labels = { "worker", "reason" },
    },
    overflow = {
        name = "resty_metrics_worker_overflow_total",
        help = "Label sets that a worker counted as \"other\", since the family had reached its cap.",
        labels = { "worker", "family" },
    },
    flush = {
        name = "resty_metrics_worker_flush_cpu_seconds_total",
        help = "CPU time that a worker spent on sending its rows.",
        labels = { "worker" },
    },
    ended = {
        name = "resty_metrics_requests_ended_total",
        help = "Main requests whose log hook ran, by master process (pid and start); see resty_metrics_coverage_ratio.",
        labels = { "master" },
    },
}

local _M = { list = {} }

local accounts = {}  -- key -> {family, labels, sums}

for key, shape in each(FAMILIES) do
    shape.type, shape.columns = "counter", { "value" }
    local family = rows.new(shape, rows.FEW_ROWS)
    accounts[key] = { family = family, labels = {}, sums = {} }
    accounts[#accounts + 1] = accounts[key]
    _M.list[#_M.list + 1] = family
end

-- Adds to a counter. key: one of the above; label: its last label.
function _M.add(key, label, count)
    local account = accounts[key]
    local sum = account.sums[label]
    if not sum then
        account.labels[#account.labels + 1] = label
    end
    account.sums[label] = (sum or 0) + (count or 1)
end

-- Forgets what was counted: it was counted in the master, and another worker sends it.
function _M.clear()
    for i = 1, #accounts do
        local account = accounts[i]
        for j = 1, #account.labels do
            account.sums[account.labels[j]] = 0
        end
    end
end

-- Moves what was counted into rows. worker: the value of the label of that name.
function _M.flush(worker)
    for i = 1, #accounts do
        local family, labels, sums = accounts[i].family, accounts[i].labels, accounts[i].sums
        local with_worker = #family.shape.labels == 2
        for j = 1, #labels do
            local label = labels[j]
            if sums[label] > 0 then
                family:add(with_worker and { worker, label } or { label }, { sums[label] })
                sums[label] = 0
            end
        end
    end
end

-- Whether there is something that is worth a batch of its own; CPU time alone is not.
function _M.waiting()
    for i = 1, #accounts do
        local account = accounts[i]
        for j = 1, #account.labels do
            if account ~= accounts.flush and account.sums[account.labels[j]] > 0 then
                return true
            end
        end
    end
    return false
end

return _M
