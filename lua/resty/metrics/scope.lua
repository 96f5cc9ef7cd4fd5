-- log_by_lua_file of a server or location with labels and buckets of its own: `set $resty_metrics_scope NAME;` and, if
-- wanted, $resty_metrics_scope_labels, _scope_buckets and _scope_duration_labels stand beside it. From "local log" on as
-- hook.lua.

local log = package.loaded["resty.metrics.scope"]
if log then
    return log()
end

-- The first request of a Lua machine. load.lua lies beside this file; package.path is put back before anybody sees it.
local function load()
    local path, root = package.path, require("jit.util").funcinfo(load).source:match("^@(.*)/resty/metrics/[^/]*$")
    package.path = root .. "/?.lua;" .. (path or "")  -- Lua code may have removed it
    local ok, metrics = pcall(require, "resty.metrics.load")
    package.path = path
    if ok and metrics.compare_copies then
        metrics.compare_copies(root)
    end
    return ok and metrics or error(metrics, 0)
end

local ok, metrics = pcall(load)
if ok then
    package.loaded["resty.metrics.scope"] = metrics.log_scope
    return metrics.log_scope()
end
-- It is said once, and tried again every ten seconds.
local loaded, again = package.loaded, ngx.now() + 10
if not loaded["resty.metrics.failed"] then
    loaded["resty.metrics.failed"] = true
    local available, errlog = pcall(require, "ngx.errlog")
    local write = available and errlog.raw_log or ngx.log
    write(ngx.ERR, "resty-metrics is off in this worker for now: " .. tostring(metrics):gsub("%s+", " "))
end
loaded["resty.metrics.scope"] = function()
    if ngx.now() >= again then
        loaded["resty.metrics.scope"] = nil
    end
end
