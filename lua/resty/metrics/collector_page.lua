-- The collector's page, fetched for somebody who asks nginx for it: over its TCP or unix socket, by a cosocket.
--
-- Rules:
-- - What this worker has counted just before is sent first, so that it is on the page, and so are all gauges that stand in a
--   shared dictionary, whichever worker has set or deleted them.
-- - A page is had whole or not at all. HTTP/1.0: the answer ends with the connection.
-- - nginx logs each connection that fails: after one nobody tries for a second.

local gauges = require "resty.metrics.gauges"
local monotonic = require("resty.metrics.process").monotonic
local settings = require "resty.metrics.settings"
local worker = require "resty.metrics.worker"

local ngx = ngx
local tcp = ngx.socket.tcp
local tonumber, type = tonumber, type

local DEFAULT_PAGE = "http://127.0.0.1:19145/metrics"
local CONNECT_MS, SEND_MS, READ_MS = 1000, 1000, 15000
local PAUSE_SECONDS = 1
local CHUNK_BYTES = 65536
local MOST_BYTES = 64 * 1024 * 1024
local MOST_HEADERS = 100
local MOST_AGENT = 200     -- bytes of a client's name that are passed on

local _M = {}

local failed_at, failure

-- The variable is that of the include; init_by_lua and timers have none.
local function stated()
    local ok, page = pcall(function() return ngx.var.resty_metrics_page end)
    return ok and page ~= "" and page or nil
end

-- Returns {host, port, path}, port nil for a unix socket; or nil and what to write.
local function read_address(text)
    local socket, socket_path = text:match("^unix:([^:]+):(/.*)$")
    if socket then
        return { host = "unix:" .. socket, path = socket_path, name = "localhost" }
    end
    local host, port, path = text:match("^http://([^/]-):?(%d*)(/.*)$")
    if not host or host == "" then
        return nil, "give http://HOST:PORT/metrics or unix:/path.sock:/metrics, not " .. text
    end
    return { host = host, port = tonumber(port) or 80, path = path, name = host }
end

-- The collector shows a new row at 0 first, to each scraper once: it has to know them apart behind this nginx too.
local function client(headers)
    local agent = headers["user-agent"]
    return (type(agent) == "string" and agent:sub(1, MOST_AGENT) or "") .. " at " .. ngx.var.remote_addr
end

local function request_text(address)
    local served = ngx.get_phase() == "content"
    local headers = served and ngx.req.get_headers() or {}
    local accept, timeout = headers.accept, headers["x-prometheus-scrape-timeout-seconds"]
    return "GET " .. address.path .. " HTTP/1.0\r\nHost: " .. address.name .. "\r\n"
        .. (served and "User-Agent: " .. client(headers) .. "\r\n" or "")
        .. (type(accept) == "string" and "Accept: " .. accept .. "\r\n" or "")
        .. (type(timeout) == "string" and "X-Prometheus-Scrape-Timeout-Seconds: " .. timeout .. "\r\n" or "") .. "\r\n"
end

-- The status and the headers by their names in lower case; nil and why.
local function read_head(sock)
    local line, err = sock:receive("*l")
    local status = line and line:match("^HTTP/1%.[01] (%d%d%d)")
    if not status then
        return nil, err or "it is no HTTP server"
    end
    local headers = {}
    for _ = 1, MOST_HEADERS do
        line, err = sock:receive("*l")
        if not line then
            return nil, err
        elseif line == "" then
            return tonumber(status), headers
        end
        local name, value = line:match("^([^:]+):%s*(.-)%s*$")
        if name then
            headers[name:lower()] = value
        end
    end
    return nil, "too many headers"
end

-- The body up to the end of the connection; all of it where its length was announced.
local function read_body(sock, length)
    local chunks, bytes = {}, 0
    repeat
        local chunk, err, partial = sock:receive(CHUNK_BYTES)
        chunk = chunk or partial or ""
        bytes = bytes + #chunk
        chunks[#chunks + 1] = chunk
        if bytes > MOST_BYTES then
            return nil, "the page is larger than " .. MOST_BYTES .. " bytes"
        elseif err and err ~= "closed" then
            return nil, err
        end
    until err
    if length and length ~= bytes then
        return nil, "the page broke off"
    end
    return chunks
end

local function exchange(sock, address)
    local sent, err = sock:send(request_text(address))
    if not sent then
        return nil, err
    end
    local status, headers = read_head(sock)
    if not status then
        return nil, headers
    elseif status ~= 200 then
        return nil, "it answers with status " .. status
    end
    local chunks
    chunks, err = read_body(sock, tonumber(headers["content-length"]))
    if not chunks then
        return nil, err
    end
    return { content_type = headers["content-type"] or "text/plain", chunks = chunks }
end

local function connect(address)
    local sock = tcp()
    sock:settimeouts(CONNECT_MS, SEND_MS, READ_MS)
    local ok, err
    if address.port then
        ok, err = sock:connect(address.host, address.port)
    else
        ok, err = sock:connect(address.host)
    end
    return ok and sock, err
end

local function fetch(address)
    local sock, err = connect(address)
    if not sock then
        failed_at, failure = monotonic(), err
        return nil, err
    end
    local page
    page, err = exchange(sock, address)
    sock:close()
    return page, err
end

-- page: its address (or nil: the variable $resty_metrics_page, or the default). Returns {content_type, chunks}, or nil and
-- why it cannot be had.
function _M.get(page)
    local address, err = read_address(page or stated() or DEFAULT_PAGE)
    local phase = ngx.get_phase()
    if not settings.WAITING_PHASES[phase] then
        return nil, "nothing can be fetched in " .. phase .. ": ask for it in content_by_lua*"
    elseif not address then
        return nil, err
    elseif failed_at and monotonic() - failed_at < PAUSE_SECONDS then
        return nil, failure
    end
    gauges.mark_shared()
    pcall(worker.flush_now)
    local ok, answer, why = pcall(fetch, address)
    if not ok then
        return nil, tostring(answer)
    end
    return answer, why
end

return _M
