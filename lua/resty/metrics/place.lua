-- Where this copy of the module lies, and how its parts are found.
--
-- Rules:
-- - package.path is the user's: every other name resolves after us as it did before, and to the same file.
-- - All parts come from one copy, whatever package.path says later and whatever of the standard library was removed: only
--   `require` and the loaders behind it are needed.

local error_log = require "resty.metrics.error_log"

local ngx = ngx
local loaders, loaded, package = package.loaders, package.loaded, package
local error, pcall, require, type = error, pcall, require, type
local insert = table.insert

local NAME = "resty.metrics"
local MAIN = "/resty/metrics.lua"
local ENOENT = 2
local MOST_BYTES = 4096  -- of a module, to find its version in

-- The folder that holds resty/metrics.lua; nil where Lua does not know the file it runs.
local _M = { root = nil }

local pinned = false
local compared = {}
local required = {}  -- names of parts that `require` found here, as a list and as keys

-- Returns the folder that holds the resty/metrics/ of the file with this function.
local function root_of(action)
    local ok, info = pcall(function() return require("jit.util").funcinfo(action) end)
    return ok and type(info.source) == "string" and info.source:match("^@(.*)/resty/metrics/[^/]*$") or nil
end

_M.root = root_of(root_of)

local function is_ours(name)
    return name == NAME or name:sub(1, #NAME + 1) == NAME .. "."
end

local function file_of(name)
    return _M.root .. "/" .. name:gsub("%.", "/") .. ".lua"
end

-- A part that lies here and cannot be opened must not come from another copy.
local function explain(name)
    local io = loaded.io
    if not io then
        return nil
    end
    local file, err, number = io.open(file_of(name))
    if file then
        file:close()
    elseif number ~= ENOENT then
        error("cannot open " .. err, 0)
    end
    return "\n\tno file '" .. file_of(name) .. "'"
end

local searcher

-- Asks the loaders that are not ours, which search package.path.
local function search(name)
    for i = 1, #loaders do
        if loaders[i] ~= searcher then
            local chunk = loaders[i](name)
            if type(chunk) == "function" then
                return chunk
            end
        end
    end
end

-- Runs an action while package.path holds nothing but this copy. It must not yield.
local function in_this_copy(action, ...)
    local path = package.path
    package.path = _M.root .. "/?.lua"
    local ok, result = pcall(action, ...)
    package.path = path
    if not ok then
        error(result, 0)
    end
    return result
end

-- Returns a loader that refuses a part without its end, as while files are copied: `require` would give `true` to the
-- parts that need it, for good.
local function load_whole(name, chunk)
    return function(...)
        local part = chunk(...)
        local kind = type(loaded[name])
        if part == nil and kind ~= "table" and kind ~= "function" then
            error(file_of(name) .. " ends too early", 0)
        end
        return part
    end
end

function searcher(name)
    if not is_ours(name) then
        return nil
    end
    local chunk = in_this_copy(search, name)
    if not chunk then
        return explain(name)
    elseif not required[name] then
        required[name] = true
        required[#required + 1] = name
    end
    return load_whole(name, chunk)
end

-- Makes `require` find resty.metrics and what is below it in this copy, and nothing else.
function _M.pin()
    if _M.root and not pinned and type(loaders) == "table" then
        pinned = true
        insert(loaders, 2, searcher)  -- behind package.preload, before package.path
    end
end

-- Forgets parts whose loading failed half-way: `require` would refuse them for ever. It leaves a mark of its own in place of
-- the module, whose type is another in each LuaJIT.
function _M.forget_failures()
    for i = 1, #required do
        local kind = type(loaded[required[i]])
        if kind ~= "table" and kind ~= "function" then
            loaded[required[i]] = nil
        end
    end
end

local function version_in(path)
    local io = loaded.io
    local file = io and io.open(path)
    if not file then
        return nil
    end
    local text = file:read(MOST_BYTES) or ""
    file:close()
    return text:match('_VERSION = "([^"]*)"')
end

-- Says once where another copy (in the folder `other_root`, or nil) is of another version than this one.
function _M.compare(other_root, version)
    if not _M.root or not other_root or other_root == _M.root or compared[other_root] then
        return
    end
    compared[other_root] = true
    local other_version = version_in(other_root .. MAIN)
    if other_version and other_version ~= version then
        error_log.write(ngx.ERR, "resty-metrics: two versions of the Lua module are installed: ", version, " in ", _M.root,
            " is used, ", other_version, " in ", other_root, " is not. Remove one of them, and reload nginx")
    end
end

-- Returns the folder of the copy that package.path leads to; nil where it leads to none.
function _M.on_path()
    local searchpath = package.searchpath
    local path = searchpath and package.path and searchpath(NAME, package.path)
    return path and path:match("^(.*)" .. MAIN:gsub("%.", "%%.") .. "$")
end

return _M
