-- The socket, by FFI: usable in every phase, in a timer, and in a finalizer while the worker goes away.
--
-- Rules:
-- - Never blocks, but for wait(), which only the finalizer calls.
-- - C names are aliased, and structs have no names: another library may have declared its own, and a module whose loading
--   failed half-way for want of memory is loaded again.
-- - A cdata that is reachable only through a pointer in another cdata is collected, or optimised away: so the message
--   and all it points to are made once, here, and kept.

local ffi = require "ffi"
local bit = require "bit"

local C = ffi.C
local errno, ffi_string, fill, copy = ffi.errno, ffi.string, ffi.fill, ffi.copy

ffi.cdef [[
int rm_socket(int domain, int type, int protocol) __asm__("socket");
int rm_socketpair(int domain, int type, int protocol, int *pair) __asm__("socketpair");
int rm_connect(int fd, const void *address, uint32_t length) __asm__("connect");
long rm_sendmsg(int fd, const void *message, int flags) __asm__("sendmsg");
long rm_recv(int fd, void *buffer, size_t length, int flags) __asm__("recv");
int rm_poll(void *fds, unsigned long count, int timeout_ms) __asm__("poll");
int rm_close(int fd) __asm__("close");
char *rm_strerror(int number) __asm__("strerror");
]]

-- Linux, the same on every architecture that LuaJIT runs on, but MIPS
local AF_UNIX, SOCK_DGRAM = 1, 2
local SOCK_NONBLOCK_CLOEXEC = bit.bor(0x800, 0x80000)
local SOL_SOCKET, SCM_RIGHTS = 1, 1
local MSG_DONTWAIT_NOSIGNAL = bit.bor(0x40, 0x4000)
local MSG_DONTWAIT = 0x40
local POLLIN = 1
local PATH_BYTES = 108
local ANSWER_BUFFER = 64  -- an answer has 40 bytes; a longer one shows as longer

local NAMES = {
    [1] = "EPERM", [2] = "ENOENT", [11] = "EAGAIN", [12] = "ENOMEM", [13] = "EACCES", [20] = "ENOTDIR", [23] = "ENFILE",
    [24] = "EMFILE",
    [32] = "EPIPE", [90] = "EMSGSIZE", [91] = "EPROTOTYPE", [104] = "ECONNRESET", [105] = "ENOBUFS",
    [107] = "ENOTCONN", [109] = "ETOOMANYREFS", [111] = "ECONNREFUSED",
}

local address = ffi.new("struct { uint16_t family; char path[" .. PATH_BYTES .. "]; }")
local iovec = ffi.new("struct { const void *base; size_t length; }")
local rights = ffi.new("struct { size_t length; int level; int type; int fd; int padding; }")
local message = ffi.new([[struct {
    void *name; uint32_t name_length;
    void *iov; size_t iov_length;
    void *control; size_t control_length;
    int flags;
}]])
local pollfd = ffi.new("struct { int fd; short events; short revents; }")
local answer = ffi.new("uint8_t[?]", ANSWER_BUFFER)
message.iov, message.iov_length = iovec, 1
message.control, message.control_length = rights, ffi.sizeof(rights)
rights.length, rights.level, rights.type = ffi.sizeof(rights) - 4, SOL_SOCKET, SCM_RIGHTS

local _M = { keep = { address, iovec, rights, message, pollfd, answer } }
local mt = { __index = _M }

-- The name of the errno that the last call left, and its text.
local function failure()
    local number = errno()
    return NAMES[number] or ("errno_" .. number), ffi_string(C.rm_strerror(number))
end

-- path: of the collector's socket. Returns the transport, or nil and what is wrong.
function _M.new(path)
    local pair = ffi.new("int[2]")
    if C.rm_socketpair(AF_UNIX, SOCK_DGRAM + SOCK_NONBLOCK_CLOEXEC, 0, pair) ~= 0 then
        local _, text = failure()
        return nil, "socketpair: " .. text
    end
    return setmetatable({ path = path, fd = -1, answers_fd = pair[0], passed_fd = pair[1] }, mt)
end

-- What is connected from now on is the socket there.
function _M.redirect(self, path)
    self:close()
    self.path = path
end

function _M.connected(self)
    return self.fd >= 0
end

-- Returns true, or nil with the errno's name (or "setup") and text.
function _M.connect(self)
    if #self.path >= PATH_BYTES then
        return nil, "setup", ("a socket's path has at most %d bytes, this one has %d: %s"):format(PATH_BYTES - 1, #self.path, self.path)
    end
    local fd = C.rm_socket(AF_UNIX, SOCK_DGRAM + SOCK_NONBLOCK_CLOEXEC, 0)
    if fd < 0 then
        return nil, failure()
    end
    fill(address, ffi.sizeof(address))
    address.family = AF_UNIX
    copy(address.path, self.path)
    if C.rm_connect(fd, address, ffi.sizeof(address)) ~= 0 then
        local name, text = failure()
        C.rm_close(fd)
        return nil, name, text
    end
    self.fd = fd
    return true
end

function _M.close(self)
    if self.fd >= 0 then
        C.rm_close(self.fd)
        self.fd = -1
    end
end

-- Sends a frozen batch with the descriptor for answers. Returns true, or nil with the errno's name and text.
function _M.send(self, batch)
    iovec.base, iovec.length = batch.bytes, batch.length
    rights.fd = self.passed_fd
    if C.rm_sendmsg(self.fd, message, MSG_DONTWAIT_NOSIGNAL) < 0 then
        return nil, failure()
    end
    return true
end

-- The next answer: its bytes (valid until the next call) and their number; nil if none is there.
function _M.receive(self)
    local length = C.rm_recv(self.answers_fd, answer, ANSWER_BUFFER, MSG_DONTWAIT)
    if length < 0 then
        return nil
    end
    return answer, tonumber(length)
end

-- Waits until an answer is there, in milliseconds. Blocks: for the finalizer alone.
function _M.wait(self, milliseconds)
    pollfd.fd, pollfd.events = self.answers_fd, POLLIN
    C.rm_poll(pollfd, 1, milliseconds)
end

return _M
