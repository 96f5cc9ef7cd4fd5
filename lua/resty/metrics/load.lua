-- Returns the module, found from this file's own place: so nobody needs lua_package_path, and package.path stays as it is.
--
--     dofile("/usr/share/resty-metrics/lua/resty/metrics/load.lua")
--
-- If it cannot be loaded, the error log has one line, and what stands in its place tries again with patience.

local NAME = "resty.metrics"
local FUNCTIONS = { "log", "log_scope", "log_nothing", "init_worker", "counter", "gauge", "histogram", "define", "wake" }
-- What the module needs before it can see to such things itself.
local PARTS = { NAME, NAME .. ".error_log", NAME .. ".machine", NAME .. ".patience", NAME .. ".place", NAME .. ".shortage",
    NAME .. ".start" }
local HOOKS = { "hook", "scope", "off" }
local FIRST_SECONDS, MOST_SECONDS = 1, 60

local loaded = package.loaded
local standin

local function say(...)
    local available, errlog = pcall(require, "ngx.errlog")
    local write = available and errlog.raw_log or ngx.log
    write(ngx.ERR, table.concat { "resty-metrics is ", ... })
end

local function require_from(root)
    local path = package.path
    package.path = root .. "/?.lua;" .. (path or "")
    local ok, metrics = pcall(require, NAME)
    package.path = path
    return ok and metrics or error(metrics, 0)
end

-- Whether this is our module, of any version, and not another one of that name.
local function is_ours(metrics)
    return type(metrics) == "table" and rawget(metrics, "log_nothing") ~= nil
end

local function load()
    local root = require("jit.util").funcinfo(load).source:match("^@(.*)/resty/metrics/[^/]*$")
    local metrics = loaded[NAME] or require_from(root)
    if not is_ours(metrics) then
        error("another module is called " .. NAME .. " too: rename that one", 0)
    elseif metrics.compare_copies then
        metrics.compare_copies(root)
    end
    return metrics
end

local function forget_failures()
    for i = 1, #PARTS do
        local kind = type(loaded[PARTS[i]])
        if kind ~= "table" and kind ~= "function" then
            loaded[PARTS[i]] = nil  -- the mark that require() leaves, for which it says "loop or previous error" for ever
        end
    end
end

local ok, result = pcall(load)
if ok then
    if loaded["resty.metrics.failed"] then  -- a hook could not open this file
        loaded["resty.metrics.failed"] = nil
        say("on again in this worker")
    end
    return result
end

-- The stand-in ---------------------------------------------------------------------------------------------------------

local since, pause = ngx.now(), FIRST_SECONDS
local again = since + pause
local why = tostring(result):gsub("%s+", " ")

-- Another module of that name stays where it is.
local function stand_in()
    if loaded[NAME] == nil then
        loaded[NAME] = standin
    end
end

local function try()
    if loaded[NAME] == standin then
        loaded[NAME] = nil
    end
    forget_failures()
    ok, result = pcall(load)
    if not ok then
        pause = math.min(2 * pause, MOST_SECONDS)
        again = ngx.now() + pause
        stand_in()
        return nil
    end
    say("on again in this worker, after ", math.floor(ngx.now() - since), " s")
    loaded["resty.metrics.load"] = nil
    for i = 1, #HOOKS do
        loaded[NAME .. "." .. HOOKS[i]] = nil  -- they call the module itself from now on
    end
    return result
end

local function call(name, ...)
    local metrics = loaded[NAME]
    if metrics == standin or not is_ours(metrics) then
        metrics = ngx.now() >= again and try()
    end
    if not metrics then
        return nil, "resty-metrics is off in this worker for now: " .. why
    end
    return metrics[name](...)
end

local reported = loaded["resty.metrics.failed"]
standin = {}
for i = 1, #FUNCTIONS do
    local name = FUNCTIONS[i]
    standin[name] = function(...)
        return call(name, ...)
    end
end
forget_failures()
stand_in()
if not reported then
    say("off in this worker for now: its module cannot be loaded: ", why,
        ". Nothing is counted until then. It is tried again, at least once a minute")
end
return standin
