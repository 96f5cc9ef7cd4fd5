-- log_by_lua_file of a server or location with labels and buckets of its own: `set $resty_metrics_scope NAME;` and, if
-- wanted, $resty_metrics_scope_labels and $resty_metrics_scope_buckets stand beside it.

local metrics = package.loaded["resty.metrics"]
if metrics then
    return metrics.log_scope()
end
dofile((debug.getinfo(1, "S").source:gsub("^@(.*/)[^/]*$", "%1load.lua"))).log_scope()
