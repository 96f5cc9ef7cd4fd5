"""How an nginx was started, from its master's title, and what -V tells."""

import pytest
from resty_metrics.nginx_config import build, command

TITLES = [
    ("nginx: master process /usr/sbin/nginx", ["/usr/sbin/nginx"]),
    ("nginx: master process nginx -p /x -c /x/nginx.conf", ["nginx", "-p", "/x", "-c", "/x/nginx.conf"]),
    ("nginx: master process nginx -g user a; pid b; -c c", ["nginx", "-g", "user a; pid b;", "-c", "c"]),
    ("nginx: master process nginx -p/x -q", ["nginx", "-p/x", "-q"]),
]


@pytest.mark.parametrize(("title", "words"), TITLES)
def test_the_words_of_a_master(title: str, words: list[str]) -> None:
    assert command.is_master(title)
    assert command.of_master(title) == words


@pytest.mark.parametrize(
    ("title", "serves"),
    [
        ("nginx: worker process", True),
        ("nginx: worker process is shutting down", False),
        ("nginx: cache manager process", False),
        ("nginx: master process nginx", False),
    ],
)
def test_who_serves(title: str, serves: bool) -> None:
    assert command.serving(title) is serves


@pytest.mark.parametrize(
    ("words", "value"),
    [(["n", "-p", "/x"], "/x"), (["n", "-p/x"], "/x"), (["n", "-c", "/y"], None), (["n", "-p"], None)],
)
def test_values(words: list[str], value: str | None) -> None:
    assert command.value_of(words, "-p") == value


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("nginx: [warn] w\nnginx: [emerg] e\nnginx: configuration file x test failed\n", "nginx: [emerg] e"),
        ("no such option\n", "no such option"),
        ("", "it said nothing"),
    ],
)
def test_the_reason(stderr: str, reason: str) -> None:
    assert command.reason(stderr) == reason


ARGUMENTS = (
    "nginx version: x\nconfigure arguments: --with-cc-opt='-g -O2' --prefix=/opt/n --user=web --pid-path=/run/n.pid"
)


def test_settings_of_the_build() -> None:
    assert [build.setting(ARGUMENTS, name) for name in ("prefix", "user", "pid-path")] == [
        "/opt/n",
        "web",
        "/run/n.pid",
    ]
    assert build.setting("configure arguments: '", "user") == "nobody"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("--add-module=../ngx_lua-0.10.25", (0, 10, 25)),
        ("--add-dynamic-module=/src/lua-nginx-module-v0.10.9", (0, 10, 9)),
        ("--add-module=../ngx_lua_upstream-0.07", None),
    ],
)
def test_the_version_of_ngx_lua(text: str, version: tuple[int, ...] | None) -> None:
    assert build.ngx_lua_version(text) == version


def test_the_version_of_the_module() -> None:
    assert build.module_version('local _M = { _VERSION = "1.2.3" }') == "1.2.3"
    assert build.module_version("return 1") is None
