-- What a worker that goes away leaves behind for those that live, in the shared dictionary resty_metrics_spool.
--
-- `senders` is a list of sender names; a name stands there only after all its batches do, in the list "b:<name>". Who
-- takes the name takes them all, so a sender is never split between two holders and its base is always known.
-- `rows2` is a list of batch bodies that were never sent: their numbers may join anybody's rows.
-- "init" is the mark of the configuration whose worker took what was counted in init_by_lua.
-- "socket" is the path of the collector's socket and "nginx" the name of this nginx ("" for none), for workers whom no
-- request has told them yet.
-- Lists of a shared dictionary never evict: what does not fit is lost, and counted in `lost`, whose key exists from
-- the start so that counting needs no memory.

local shared = ngx.shared
local format, tonumber = string.format, tonumber

local NAME = "resty_metrics_spool"
local ROWS = "rows2"     -- bodies of this version of the wire: they have no header that says so
local ROWS_DIGITS = 8  -- each batch is stored behind the number of its rows, in decimal
local CLAIM_SECONDS = 3600  -- by then the other workers of the configuration find the mark itself

local _M = { NAME = NAME }
local dict = shared[NAME]

-- Whether nginx's configuration has the dictionary.
function _M.present()
    return dict ~= nil
end

function _M.open()
    if dict then
        dict:add("lost", 0)
    end
end

local function lose(count)
    if dict then
        dict:incr("lost", count)
    end
end

local function batches_key(id)
    return "b:" .. id
end

-- batches: the sender's sent batches in order, {header and body as a string, number of rows}.
function _M.put_sender(id, batches)
    local full = dict == nil
    for i = 1, #batches do
        local bytes, count = batches[i][1], batches[i][2]
        if not full then
            full = not dict:rpush(batches_key(id), format("%0" .. ROWS_DIGITS .. "d", count) .. bytes)
        end
        if full then
            lose(count)
        end
    end
    if dict and not dict:rpush("senders", id) then
        for i = 1, #batches do
            if dict:lpop(batches_key(id)) then
                lose(batches[i][2])
            end
        end
    end
end

function _M.put_rows(body, count)
    if not dict or not dict:rpush(ROWS, body) then
        lose(count)
    end
end

-- The name of a sender and its batches, as put_sender has them; nil if there is none.
function _M.take_sender()
    local id = dict and dict:lpop("senders")
    if not id then
        return nil
    end
    local batches = {}
    repeat
        local stored = dict:lpop(batches_key(id))
        if stored then
            batches[#batches + 1] = { stored:sub(ROWS_DIGITS + 1), tonumber(stored:sub(1, ROWS_DIGITS)) }
        end
    until not stored
    return id, batches
end

function _M.take_rows()
    return dict and dict:lpop(ROWS)
end

-- Rows that were lost since the last call, by any worker of this nginx.
function _M.take_lost()
    local count = dict and dict:get("lost") or 0
    if count == 0 then
        return 0
    end
    if dict:incr("lost", -count) < 0 then  -- another worker took them in between
        dict:incr("lost", count)
        return 0
    end
    return count
end

-- Small notes that outlive a reload. Nothing is driven out to make room for one: then it is not kept.

function _M.recall(key)
    return dict and dict:get(key)
end

-- Returns whether it is kept, and was not there before.
function _M.remember(key, value)
    return dict ~= nil and dict:safe_add(key, value) == true
end

function _M.forget(key)
    dict:delete(key)
end

-- Raises a number, never lowers it.
function _M.recount(key, value)
    local before = dict:get(key)
    if not before then
        dict:safe_add(key, value)
    elseif before < value then
        dict:safe_set(key, value)
    end
end

local function keep(key, value)
    if dict and dict:get(key) ~= value then
        dict:safe_set(key, value)
    end
end

-- Keeps the path of the collector's socket and the name of this nginx (or nil) for workers whom no request has told them
-- yet. The path comes last: where it is found, the name is.
function _M.keep_settings(path, name)
    keep("nginx", name or "")
    keep("socket", path)
end

-- The path and the name that were kept; nil each where there is none.
function _M.kept_settings()
    local path, name = _M.recall("socket"), _M.recall("nginx")
    return path, name ~= "" and name or nil
end

-- Whether what the master had counted when it read the configuration with this mark is this worker's to send: true for
-- one worker, however many there are, and however often one of them dies and is replaced.
function _M.claim(mark, worker)
    if not dict then
        return worker == 0
    elseif dict:get("init") == mark then
        return false
    end
    local claimed, err = dict:safe_add("init:" .. mark, true, CLAIM_SECONDS)
    if not claimed then
        return err == "no memory" and worker == 0
    end
    dict:safe_set("init", mark)
    return true
end

return _M
