-- log_by_lua_file of a server or location whose requests shall not be counted: such a request has ended, and makes no
-- row. So coverage, which compares ends with beginnings, stays true.

local metrics = package.loaded["resty.metrics"]
if metrics then
    return metrics.log_nothing()
end
dofile((debug.getinfo(1, "S").source:gsub("^@(.*/)[^/]*$", "%1load.lua"))).log_nothing()
