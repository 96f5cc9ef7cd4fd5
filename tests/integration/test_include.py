"""What the includes may hold, for a configuration that has everything already."""

import crossplane  # type: ignore[import-untyped]
import pytest
from support.nginx import ROOT

# What nginx takes once in http{}: an include that has one breaks a configuration that has its own.
ONCE = {
    "lua_package_path", "lua_package_cpath", "init_by_lua_block", "init_by_lua_file", "init_worker_by_lua_block",
    "init_worker_by_lua_file", "exit_worker_by_lua_block", "exit_worker_by_lua_file", "log_by_lua_block",
    "log_by_lua_file",
}  # fmt: skip
ALLOWED = {
    "resty-metrics.conf": {"lua_shared_dict", "map", "log_by_lua_file"},
    "resty-metrics-own-hook.conf": {"lua_shared_dict", "map"},
    "upstreams.conf": {"map"},
    "lifecycle.conf": {"init_worker_by_lua_block"},
}


@pytest.mark.parametrize("name", ALLOWED)
def test_it_opens_no_listener_and_uses_one_directive_that_nginx_takes_once(name: str) -> None:
    parsed = crossplane.parse(str(ROOT / "nginx.conf.d" / name), single=True, check_ctx=False, check_args=False)
    assert parsed["status"] == "ok", parsed["errors"]
    directives = [block["directive"] for block in parsed["config"][0]["parsed"]]
    assert set(directives) == ALLOWED[name]
    assert sum(directive in ONCE for directive in directives) <= 1
