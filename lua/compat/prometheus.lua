-- The API of nginx-lua-prometheus on resty-metrics: a configuration written for that library runs on ours when its
-- lua_package_path names this directory (docs/migration.md says what differs).
--
--     prometheus = require("prometheus").init("prometheus_metrics")
--
-- Rules:
-- - Counters and histograms are those of resty.metrics: they go to the collector and outlive reloads and nginx.
-- - Gauges stay in the shared dictionary, as they did: any worker may set or delete them, and the page that any worker
--   serves shows what stands there then.
-- - del() and reset() of a counter or histogram return when the page lacks it, where the phase allows to wait.
-- - collect() serves the collector's page, all workers merged; 503 when the collector cannot be reached.
-- - Nothing here throws: what the library would refuse is refused by a metric whose methods do nothing.

-- lua_package_path names the folder of this file alone; ours are beside that folder.
local function load()
    local path, root = package.path, require("jit.util").funcinfo(load).source:match("^@(.*)/compat/[^/]*$")
    package.path = root .. "/?.lua;" .. (path or "")
    local ok, metrics = pcall(require, "resty.metrics.load")
    package.path = path
    return ok and metrics or error(metrics, 0)
end

local metrics = load()
local has_store, gauge_store = pcall(require, "resty.metrics.gauge_store")
local has_page, collector_page = pcall(require, "resty.metrics.collector_page")
local has_worker, worker = pcall(require, "resty.metrics.worker")
local has_settings, settings = pcall(require, "resty.metrics.settings")
local has_log, error_log = pcall(require, "resty.metrics.error_log")

local ngx = ngx
local pcall, setmetatable, tostring, type = pcall, setmetatable, tostring, type

local ERROR_METRIC = "nginx_metric_errors_total"
local DEFAULT_DICT = "prometheus_metrics"
local DEFAULT_SYNC_INTERVAL = 1   -- seconds; the library's own, and nothing here depends on it
local SYNC_SECONDS = 1.2          -- by then what other workers had counted is sent
local TYPES = { counter = 1, gauge = 2, histogram = 4 }   -- the library's field `typ`
-- Seconds; the library's own.
local DEFAULT_BUCKETS = { 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 1.5, 2, 3, 4, 5, 10 }

local Prometheus = {}
local mt = { __index = Prometheus }

-- metrics ------------------------------------------------------------------------------------------------------------

local wrapped = {}
local wrapped_mt = { __index = wrapped }

local DELETES = { del = true, reset = true }

-- Calls a method that deletes. Other workers may have counted what they have not sent yet, and it would come back after the
-- deletion; and the next page may be asked of another worker.
local function delete(self, name, ...)
    local waits = self.kind ~= "gauge" and has_settings and settings.WAITING_PHASES[ngx.get_phase()]
    if waits then
        ngx.sleep(SYNC_SECONDS)
    end
    local ok, err = self.metric[name](self.metric, ...)
    if waits and has_worker then
        pcall(worker.flush_now)
    end
    return ok, err
end

-- Calls a method of the metric. What it refuses is counted under the library's name for that too.
local function forward(name, self, ...)
    if type(self) ~= "table" or not self.kind then
        return nil, name .. " is called with a colon"
    elseif not self.metric then
        return nil, self.why
    end
    local ok, err
    if DELETES[name] then
        ok, err = delete(self, name, ...)
    else
        ok, err = self.metric[name](self.metric, ...)
    end
    if not ok and self.errors then
        self.errors:inc(1)
    end
    return ok, err
end

local METHODS = { "inc", "dec", "set", "observe", "del", "reset" }
for i = 1, #METHODS do
    local name = METHODS[i]
    wrapped[name] = function(self, ...)
        return forward(name, self, ...)
    end
end

local function make(self, kind, name, help, labels, options)
    local full = type(name) == "string" and self.prefix .. name or name
    if kind == "gauge" and self.dict and has_store then
        return gauge_store.define(self.dict, self.dict_name, full, help, labels)
    elseif kind == "gauge" then
        options = { combine = "last" }
    end
    return metrics[kind](full, help, labels, options)
end

-- The fields of the library's metrics stand beside ours.
local function wrap(self, metric, why, kind, name, help, labels, options)
    local buckets = options and options.buckets
    return setmetatable({
        metric = metric, why = why, kind = kind, errors = type(self) == "table" and self.errors or nil,
        name = name, help = help, typ = TYPES[kind], parent = self,
        label_names = labels, label_count = type(labels) == "table" and #labels or 0,
        buckets = buckets, bucket_count = type(buckets) == "table" and #buckets or nil,
    }, wrapped_mt)
end

local function register(self, kind, name, help, labels, options)
    if type(help) == "number" then
        help = tostring(help)
    end
    local ok, metric, err = pcall(make, self, kind, name, help, labels, options)
    if not ok then
        metric, err = nil, tostring(metric)
    end
    local errors = type(self) == "table" and self.errors or nil
    if not metric and errors then
        errors:inc(1)
    end
    return wrap(self, metric, err, kind, name, help, labels, options)
end

function Prometheus:counter(name, help, labels)
    return register(self, "counter", name, help, labels)
end

function Prometheus:gauge(name, help, labels)
    return register(self, "gauge", name, help, labels)
end

function Prometheus:histogram(name, help, labels, buckets)
    return register(self, "histogram", name, help, labels, { buckets = buckets or DEFAULT_BUCKETS })
end

-- beginning ----------------------------------------------------------------------------------------------------------

local function read_options(options_or_prefix)
    if type(options_or_prefix) == "table" then
        return options_or_prefix
    end
    return { prefix = options_or_prefix }
end

-- dict_name: the shared dictionary of the gauges; without it they are each worker's own, and the last one set is shown.
-- options: {prefix, error_metric_name, sync_interval} as the library has them (the last is kept and does nothing), and ours:
-- {page = "http://127.0.0.1:19145/metrics" or "unix:/path.sock:/metrics"}; or only the prefix, as a string.
function Prometheus.init(dict_name, options_or_prefix)
    local options = read_options(options_or_prefix)
    dict_name = dict_name == nil and DEFAULT_DICT or tostring(dict_name)
    local self = setmetatable({
        dict = ngx.shared[dict_name],
        dict_name = dict_name,
        prefix = type(options.prefix) == "string" and options.prefix or "",
        error_metric_name = options.error_metric_name or ERROR_METRIC,
        sync_interval = options.sync_interval or DEFAULT_SYNC_INTERVAL,
        page = options.page,
        initialized = true,
    }, mt)
    if not self.dict then
        local write = has_log and error_log.write or ngx.log
        write(ngx.WARN, "resty-metrics: lua_shared_dict ", dict_name, " is not declared: each worker has gauges of its own")
    end
    self.errors = self:counter(self.error_metric_name, "Number of nginx-lua-prometheus errors")
    self.errors:inc(0)
    return self
end

-- The worker begins: what stands in the gauges of the dictionary is sent by it too.
function Prometheus:init_worker(sync_interval)
    if type(self) == "table" then
        self.sync_interval = sync_interval or self.sync_interval
    end
    pcall(metrics.wake)
    return self
end

-- Writes a line to nginx's error log and counts an error, for code that reports its own as the library's.
function Prometheus:log_error(...)
    pcall(ngx.log, ngx.ERR, ...)
    if type(self) == "table" and self.errors then
        self.errors:inc(1)
    end
end

function Prometheus:log_error_kv(key, value, err)
    Prometheus.log_error(self, "Error while setting '", tostring(key), "' to '", tostring(value), "': '", tostring(err), "'")
end

-- the page -----------------------------------------------------------------------------------------------------------

local function fetch(self)
    if not has_page then
        return nil, "resty-metrics is off in this worker"
    end
    pcall(metrics.wake)
    return collector_page.get(type(self) == "table" and self.page or nil)
end

-- The collector's page as a list of strings. Where it cannot be had the list is empty, and the second result says why.
function Prometheus:metric_data()
    local page, err = fetch(self)
    if not page then
        return {}, err
    end
    return page.chunks
end

local function answer(self)
    local page, err = fetch(self)
    if page then
        ngx.header.content_type = page.content_type
        ngx.print(page.chunks)
    else
        ngx.status = ngx.HTTP_SERVICE_UNAVAILABLE
        ngx.header.content_type = "text/plain"
        ngx.print("the collector's page cannot be had: ", err, "\n")
    end
end

-- Answers the request with the collector's page; 503 where it cannot be had.
function Prometheus:collect()
    pcall(answer, self)
end

return Prometheus
