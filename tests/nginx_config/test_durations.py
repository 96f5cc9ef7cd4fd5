"""The labels of durations as doctor knows them are those of the Lua module."""

import re

from resty_metrics.nginx_config import durations
from support.nginx import ROOT

LUA = (ROOT / "lua" / "resty" / "metrics" / "durations.lua").read_text()


def of_lua(name: str) -> tuple[str, ...]:
    (listed,) = re.findall(rf"^local {name} = {{(.*?)}}", LUA, re.MULTILINE)
    return tuple(re.findall(r'"(\w+)"', listed))


def test_the_names_are_those_of_the_lua_module() -> None:
    assert of_lua("OURS") == durations.OURS
    assert of_lua("OTEL") == durations.OTEL
