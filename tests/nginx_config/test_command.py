"""How an nginx was started, from its master's title, and what -V tells."""

import pytest
from resty_metrics.nginx_config import build, command

TITLES = [
    ("nginx: master process /usr/sbin/nginx", ["/usr/sbin/nginx"]),
    ("nginx: master process nginx -p /x -c /x/nginx.conf", ["nginx", "-p", "/x", "-c", "/x/nginx.conf"]),
    ("nginx: master process nginx -g user a; pid b; -c c", ["nginx", "-g", "user a; pid b;", "-c", "c"]),
    ("nginx: master process nginx -p/x -q", ["nginx", "-p/x", "-q"]),
    ("nginx: master process nginx -g daemon off; -q", ["nginx", "-g", "daemon off;", "-q"]),
    ("nginx: master process nginx -qp ./my site/ -c a.conf", ["nginx", "-qp", "./my site/", "-c", "a.conf"]),
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
    [
        (["n", "-p", "/x"], "/x"),
        (["n", "-p/x"], "/x"),
        (["n", "-c", "/y"], None),
        (["n", "-p"], None),
        (["n", "-qp", "/x"], "/x"),
        (["n", "-qp/x"], "/x"),
        (["n", "-p", "/x", "-p", "/y"], "/y"),
        (["n", "-c", "-p", "-q"], None),
        (["nsenter", "-t", "1", "-p", "nginx", "-p", "/x"], "/x"),
    ],
)
def test_values(words: list[str], value: str | None) -> None:
    assert command.value_of(words, "-p") == value


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["n", "-p", "./", "-c", "a"], ["n", "-p", "/srv", "-c", "a"]),
        (["n", "-p../x"], ["n", "-p/srv/../x"]),
        (["n", "-qp", "/x"], ["n", "-qp", "/x"]),
        (["n", "-c", "a"], ["n", "-c", "a"]),
    ],
)
def test_an_absolute_prefix(words: list[str], expected: list[str]) -> None:
    assert command.with_absolute_prefix(words, "/srv") == expected


@pytest.mark.parametrize(
    ("words", "stays"),
    [
        (["nginx"], True),
        (["nginx", "-g", "daemon off; master_process off;"], True),
        (["nginx", "-t"], False),
        (["nginx", "-qt", "-c", "/x"], False),
        (["nginx", "-s", "reload"], False),
        (["nginx", "-V"], False),
        (["nginx", "-c", "-t"], True),
    ],
)
def test_a_command_that_serves(words: list[str], stays: bool) -> None:
    assert command.stays(words) is stays


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
