-- Returns the module, found from this file's own place: so nobody needs lua_package_path.
--
--     dofile("/usr/share/resty-metrics/lua/resty/metrics/load.lua")
--
-- If it cannot be loaded, that is said once, and a module that does nothing stands in its place.

local source = debug.getinfo(1, "S").source
local root = source:match("^@(.*)/resty/metrics/load%.lua$")
if root and not package.path:find(root .. "/?.lua", 1, true) then
    package.path = root .. "/?.lua;" .. package.path
end

local ok, loaded = pcall(require, "resty.metrics")
if ok then
    return loaded
end

ngx.log(ngx.ERR, "resty-metrics is off in this worker: its module cannot be loaded: ", loaded)
local nothing = function() return nil, "resty-metrics is off in this worker" end
loaded = { log = nothing, log_scope = nothing, log_nothing = nothing, init_worker = nothing,
    counter = nothing, gauge = nothing, histogram = nothing, define = nothing, wake = nothing }
package.loaded["resty.metrics"] = loaded
return loaded
