-- What a worker knows of its own process and of nginx: clocks, random bytes, its master, nginx's own counters.
--
-- C names are aliased, and structs have no names: another library may have declared its own, and a module whose loading
-- failed half-way for want of memory is loaded again.

local ffi = require "ffi"
local encode = require "resty.metrics.encode"

local C = ffi.C
local io = package.loaded.io  -- Lua code may have removed it
local pcall, tonumber = pcall, tonumber

ffi.cdef [[
int rm_clock_gettime(int clock, void *time) __asm__("clock_gettime");
long rm_getrandom(void *buffer, size_t length, unsigned int flags) __asm__("getrandom");
int rm_getpid(void) __asm__("getpid");
int rm_getppid(void) __asm__("getppid");
uint32_t rm_geteuid(void) __asm__("geteuid");
char *rm_getenv(const char *name) __asm__("getenv");
int rm_setenv(const char *name, const char *value, int overwrite) __asm__("setenv");
extern void *volatile rm_cycle __asm__("ngx_cycle");
long rm_sysconf(int name) __asm__("sysconf");
extern unsigned long *rm_stat_accepted __asm__("ngx_stat_accepted");
extern unsigned long *rm_stat_handled __asm__("ngx_stat_handled");
extern unsigned long *rm_stat_requests __asm__("ngx_stat_requests");
extern unsigned long *rm_stat_active __asm__("ngx_stat_active");
extern unsigned long *rm_stat_reading __asm__("ngx_stat_reading");
extern unsigned long *rm_stat_writing __asm__("ngx_stat_writing");
extern unsigned long *rm_stat_waiting __asm__("ngx_stat_waiting");
]]

local CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_THREAD_CPUTIME, CLOCK_BOOTTIME = 0, 1, 3, 7
local SC_CLK_TCK = 2
local STATS = { "accepted", "handled", "requests", "active", "reading", "writing", "waiting" }

local GRND_NONBLOCK = 1

local time = ffi.new("struct { long seconds; long nanoseconds; }")

local _M = {}

local function clock(which)
    C.rm_clock_gettime(which, time)
    return tonumber(time.seconds) + tonumber(time.nanoseconds) * 1e-9
end

-- Seconds, from the kernel: ngx.now is cached for as long as a slice lasts.
function _M.monotonic()
    return clock(CLOCK_MONOTONIC)
end

function _M.thread_cpu()
    return clock(CLOCK_THREAD_CPUTIME)
end

-- Milliseconds since the epoch.
function _M.wall_ms()
    return math.floor(clock(CLOCK_REALTIME) * 1000)
end

-- The same with its fraction: two workers may do something within one millisecond.
function _M.precise_wall_ms()
    return clock(CLOCK_REALTIME) * 1000
end

function _M.uid()
    return tonumber(C.rm_geteuid())
end

function _M.pid()
    return tonumber(C.rm_getpid())
end

local function open(path)
    if not io then
        return nil, path .. " cannot be opened: Lua code removed io"
    end
    return io.open(path, "rb")
end

-- The system call needs no descriptor. An old C library lacks it, and old kernels and some sandboxes refuse it.
local function getrandom(count)
    local buffer = ffi.new("uint8_t[?]", count)
    return tonumber(C.rm_getrandom(buffer, count, GRND_NONBLOCK)) == count and ffi.string(buffer, count) or nil
end

-- Bytes from the kernel's generator; nil and why where there are none now.
function _M.random(count)
    local ok, bytes = pcall(getrandom, count)
    if ok and bytes then
        return bytes
    end
    local file, err = open("/dev/urandom")
    if not file then
        return nil, err
    end
    bytes = file:read(count)
    file:close()
    if not bytes or #bytes ~= count then
        return nil, "/dev/urandom gave too little"
    end
    return bytes
end

-- Start of a process in clock ticks since boot (proc_pid_stat(5), field 22); nil where /proc hides it.
local function start_of(pid)
    local file = open("/proc/" .. pid .. "/stat")
    local line = file and file:read("*l")
    if file then
        file:close()
    end
    local fields = {}
    for field in (line or ""):gsub("^.*%) ", ""):gmatch("%S+") do  -- the name in parentheses may hold anything
        fields[#fields + 1] = field
    end
    return tonumber(fields[20])
end

-- The master: its pid and its start. The start is 0 where /proc hides it (hidepid, ProtectProc=): then a later master
-- with the same pid cannot be told from this one.
function _M.master()
    local pid = tonumber(C.rm_getppid())
    return { pid = pid, birth = start_of(pid) or 0 }
end

-- This process's own start, in clock ticks since boot and in milliseconds since the epoch; nil where it cannot be read.
function _M.birth()
    local ticks = start_of("self")
    if not ticks then
        return nil
    end
    local age = clock(CLOCK_BOOTTIME) - ticks / tonumber(C.rm_sysconf(SC_CLK_TCK))
    return ticks, math.floor((clock(CLOCK_REALTIME) - age) * 1000)
end

local function cycle()
    return ("%x"):format(tonumber(ffi.cast("uintptr_t", C.rm_cycle)))
end

-- The address of nginx's cycle, which every worker of one configuration has; nil where it cannot be had.
function _M.cycle()
    local ok, address = pcall(cycle)
    return ok and address or nil
end

-- A variable of this process's environment; "" where there is none.
function _M.environment(name)
    local value = C.rm_getenv(name)
    return value ~= nil and ffi.string(value) or ""
end

function _M.set_environment(name, value)
    C.rm_setenv(name, value, 1)
end

local function stat(name)
    return tonumber(C["rm_stat_" .. name][0])
end

-- The numbers behind stub_status as ordered pairs for the wire; nil where nginx was built without them. One that has
-- gone below 0 (a worker that was killed with connections open) is left out.
function _M.stub_status()
    local pairs_list = {}
    for i = 1, #STATS do
        local ok, value = pcall(stat, STATS[i])
        if not ok then
            return nil
        end
        if value <= encode.MAX_EXACT then
            pairs_list[#pairs_list + 1] = STATS[i]
            pairs_list[#pairs_list + 1] = value
        end
    end
    return pairs_list
end

return _M
