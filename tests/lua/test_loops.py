"""No loop of ours is one that LuaJIT may come back to for ever: while memory is lacking, or in a finalizer."""

import subprocess
from pathlib import Path

import pytest
from support.luajit import LUAJIT
from support.nginx import ROOT

FILES = sorted((ROOT / "lua").rglob("*.lua"))

# A worker whose memory has an end: the loop is compiled, then goes over values of other types, for which nothing more
# can be compiled. It must come to its end.
WITHOUT_MEMORY = """
local ffi = require "ffi"
ffi.cdef "int setrlimit(int resource, const unsigned long *limits);"
local ADDRESS_SPACE, KIB = 9, 1024
local each, exit, protected, rep = EACH, os.exit, pcall, string.rep
local numbers, mixed = {}, {}
for i = 1, 20 do
    numbers["k" .. i], mixed["k" .. i] = i, i % 2 == 0 and i or "text"
end
local function loop(values)
    local sum = 0
    for _, value in each(values) do
        if type(value) == "string" then sum = sum + #value else sum = sum + 1 end
    end
    return sum
end
for _ = 1, 20 do loop(numbers) end
local rounds = 0
local function go()
    while rounds < 20000 do
        rounds = rounds + 1
        loop(mixed)
    end
end
jit.off(go)
local sizes, size, kept = { 5000, 500, 100, 30, 8 }, 0, {}
local function eat()
    for i = 1, 1e7 do kept = { rep("x", size) .. i .. size, kept } end
end
local limits = ffi.new("unsigned long[2]")
local size_now = tonumber(io.open("/proc/self/status"):read("*a"):match("VmSize:%s+(%d+)")) * KIB
limits[0], limits[1] = size_now + SLACK * KIB, size_now + SLACK * KIB
ffi.C.setrlimit(ADDRESS_SPACE, limits)
collectgarbage("stop")
for i = 1, #sizes do
    size = sizes[i]
    protected(eat)
end
while rounds < 20000 do protected(go) end
exit(7)
"""
SECONDS = 20


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT / "lua")))
def test_no_loop_is_compiled_to_the_instruction_for_pairs(path: Path) -> None:
    listed = subprocess.run([LUAJIT, "-bl", path], capture_output=True, timeout=20, check=True).stdout
    assert [line for line in listed.splitlines() if b"ISNEXT" in line or b"ITERN" in line] == []


def test_a_loop_as_ours_ends_while_memory_is_lacking(tmp_path: Path) -> None:
    """LuaJIT itself may end the process for want of memory; it must not go on for ever."""
    ended = set()
    for slack in range(0, 400, 25):
        script = tmp_path / "loop.lua"
        script.write_text(WITHOUT_MEMORY.replace("EACH", "pairs").replace("SLACK", str(slack)))
        ended.add(subprocess.run([LUAJIT, script], capture_output=True, timeout=SECONDS, check=False).returncode)
    assert 7 in ended
