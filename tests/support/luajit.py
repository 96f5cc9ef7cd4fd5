"""The pure Lua modules under plain LuaJIT."""

import shutil
import subprocess
from typing import Any

import msgpack  # type: ignore[import-untyped]
from support.nginx import ROOT

LUAJIT = shutil.which("luajit") or "luajit2"


def ask(*commands: list[Any]) -> list[Any]:
    """The results of commands of tests/lua/run.lua, in one process. Strings come back as bytes."""
    asked = msgpack.packb(commands, use_bin_type=False, unicode_errors="surrogateescape")
    words = [LUAJIT, str(ROOT / "tests" / "lua" / "run.lua"), str(ROOT)]
    done = subprocess.run(words, input=asked, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    results: list[Any] = msgpack.unpackb(done.stdout, raw=True, strict_map_key=False)
    return results


def counted(codes: list[str]) -> list[bool]:
    """Run each chunk with a stand-in of resty.metrics, and return whether it called log."""
    words = [LUAJIT, str(ROOT / "tests" / "support" / "counting.lua")]
    done = subprocess.run(
        words, input="\n----8<----\n".join(codes) + "\n", capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return [line == "1" for line in done.stdout.split()]
