-- Runs each chunk of a file (divided by lines of "----8<----") with a stand-in of resty.metrics, and prints for each
-- whether it called log: 1 or 0.
local counted
local metrics = {}
for _, name in ipairs { "log", "log_scope", "log_nothing" } do
    metrics[name] = function() counted = true end
end
metrics.counter = function() return { inc = function() end } end
local function hook() counted = true end

local read, paths = dofile, { load = function() return package.loaded["resty.metrics"] or require("resty.metrics") end,
    hook = hook, scope = hook, off = hook }
local function fake(path)
    local name = tostring(path):match("resty/metrics/(%w+)%.lua$")
    return name and paths[name] or read
end
package.preload["resty.metrics"] = function() return metrics end
package.preload["my.log"] = function() return { run = function() end, log = function() end } end
package.preload["resty.metrics2"] = package.preload["my.log"]
package.preload["my.resty.metrics"] = package.preload["my.log"]

local function run(code)
    counted = false
    package.loaded["resty.metrics"], package.loaded["my.log"] = nil, nil
    local environment = setmetatable({ dofile = function(path) return fake(path)(path) end, loadfile = fake }, { __index = _G })
    environment.ngx = { ERR = 4, ctx = {}, var = {}, log = function() end, exit = error,
        timer = { at = function() return true end } }
    environment._G = environment
    local chunk = loadstring(code)
    if chunk then
        pcall(setfenv(chunk, environment))
    end
    return counted and 1 or 0
end

local text = io.read("*a")
for code in (text .. "----8<----\n"):gmatch("(.-)%-%-%-%-8<%-%-%-%-\n") do
    print(run(code))
end
