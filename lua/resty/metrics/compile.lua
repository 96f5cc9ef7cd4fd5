-- Compiles code that is written for one case at hand. Lua code may have removed what does that: then each place that
-- wants it has a slower way.

local globals = package.loaded._G
local compile = rawget(globals, "loadstring") or rawget(globals, "load")  -- `_G` may throw on names that are not there

-- code: the text of a chunk; name: of the chunk, in traces. Returns it as a function; nil where that cannot be.
return function(code, name)
    return compile and compile(code, name)
end
