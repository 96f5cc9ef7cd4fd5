-- What a worker counts of itself. It travels as ordinary rows, so it survives the worker as requests do.
--
-- Counting is allowed at any time and makes no row dirty: flush() moves the sums into rows, and is called only when
-- there is something to send anyway, or a worker that is idle would keep itself busy with its own accounts.

local rows = require "resty.metrics.rows"

local pairs = pairs

local CAP = 1000

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

local families, pending = {}, {}

for key, shape in pairs(FAMILIES) do
    shape.type, shape.columns = "counter", { "value" }
    families[key] = rows.new(shape, CAP)
    pending[key] = {}
    _M.list[#_M.list + 1] = families[key]
end

-- Adds to a counter. key: one of the above; label: its second label (the first where there is one).
function _M.add(key, label, count)
    local sums = pending[key]
    sums[label] = (sums[label] or 0) + (count or 1)
end

-- Moves what was counted into rows. worker: the value of the label of that name.
function _M.flush(worker)
    for key, sums in pairs(pending) do
        local with_worker = #families[key].shape.labels == 2
        for label, count in pairs(sums) do
            families[key]:add(with_worker and { worker, label } or { label }, { count })
            sums[label] = nil
        end
    end
end

-- Whether there is something that is worth a batch of its own; CPU time alone is not.
function _M.waiting()
    for key, sums in pairs(pending) do
        if key ~= "flush" and next(sums) ~= nil then
            return true
        end
    end
    return false
end

return _M
