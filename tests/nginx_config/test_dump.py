"""The output of nginx -T as one tree."""

import pytest
from resty_metrics.nginx_config.dump import Configuration, ConfigurationError, Directive, read, split


def dump(**files: str) -> str:
    """``nginx.conf`` and more, as nginx shows them; a double underscore in a name is a slash."""
    return "".join(
        f"# configuration file /etc/nginx/{name.replace('__', '/')}.conf:\n{text}\n" for name, text in files.items()
    )


def places(directives: tuple[Directive, ...]) -> list[str]:
    found = []
    for one in directives:
        found.append(f"{one.place.removeprefix('/etc/nginx/')} {one.name}")
        found.extend(places(one.block or ()))
    return found


def test_files_are_split_at_their_marks() -> None:
    assert split(dump(nginx="a;\n", more="b;\n")) == {
        "/etc/nginx/nginx.conf": "a;\n\n",
        "/etc/nginx/more.conf": "b;\n\n",
    }


def test_line_numbers_are_those_of_the_file() -> None:
    tree = read(dump(nginx="# first\nhttp {\n  server {\n    listen 80;\n  }\n}\n"))
    assert places(tree.directives) == ["nginx.conf:2 http", "nginx.conf:3 server", "nginx.conf:4 listen"]


def test_includes_stand_where_they_are_included_each_time() -> None:
    tree = read(
        dump(
            nginx="http {\n include sites/*.conf;\n include /etc/nginx/snippet.conf; }\n",
            sites__a="server { include snippet.conf; }\n",
            sites__b="server { }\n",
            snippet="gzip on;\n",
        )
    )
    assert places(tree.directives) == [
        "nginx.conf:1 http",
        "sites/a.conf:1 server",
        "snippet.conf:1 gzip",
        "sites/b.conf:1 server",
        "snippet.conf:1 gzip",
    ]


@pytest.mark.parametrize(
    ("pattern", "included"),
    [("x*.conf", False), ("*/*.conf", False), ("sites/.*", True), ("sites/*", False), ("sites/.a.conf", True)],
)
def test_a_star_matches_as_nginx_does(pattern: str, included: bool) -> None:
    tree = read(dump(nginx=f"include {pattern};\n", **{"sites__.a": "gzip on;\n"}))
    assert bool(tree.directives) == included


LUA = [
    ("braces", 'log_by_lua_block { local t = { "}" } -- }\n}', ' local t = { "}" } -- }\n'),
    ("no blank before the brace", "log_by_lua_block{ x() }", " x() "),
    ("on the next line", "log_by_lua_block\n{ x() }", " x() "),
    ("an apostrophe in a comment", "log_by_lua_block { -- don't\n}", " -- don't\n"),
    ("long brackets", "exit_worker_by_lua_block { --[[ } ' ]] }", " --[[ } ' ]] "),
    ("empty", "log_by_lua_block {}", ""),
]


@pytest.mark.parametrize(("name", "text", "code"), LUA, ids=[name for name, _, _ in LUA])
def test_lua_blocks(name: str, text: str, code: str) -> None:
    tree = read(dump(nginx=f"http {{ {text} server {{ }} }}\n"))
    hook, server = tree.blocks("http")[0].block or ()
    assert (hook.args, hook.block, server.name) == ((code,), None, "server")


def test_set_by_lua_block_has_an_argument() -> None:
    tree = read(dump(nginx="set_by_lua_block $x { return {} }\n"))
    assert tree.directives[0].args == ("$x", " return {} ")


def test_lines_go_on_after_a_lua_block() -> None:
    tree = read(dump(nginx="http {\nlog_by_lua_block {\n a()\n\n}\nserver {\n}\n}\n"))
    assert places(tree.directives) == ["nginx.conf:1 http", "nginx.conf:2 log_by_lua_block", "nginx.conf:6 server"]


def test_odd_but_valid_text() -> None:
    text = """http {
        map "" $x { default "a;b}c"; '{' 1; }
        if ($http_x ~* "^\\{a}$") { return 200 'it is'; }
        location ~ "^/a{2}$" { } location @named { } # }
        log_by_lua 'ngx.log(ngx.ERR, "}")';
        server_name ~^(?<x>.+)\\.example$ "${x}";
    }"""
    tree = read(dump(nginx=text))
    block = tree.blocks("http")[0].block
    assert block is not None
    assert [one.name for one in block] == ["map", "if", "location", "location", "log_by_lua", "server_name"]


BAD = [
    ("nothing", "", "showed no configuration file"),
    ("a brace too many", dump(nginx="http { } }\n"), "nginx.conf"),
    ("a brace too few", dump(nginx="http {\n"), "nginx.conf"),
    ("an include of itself", dump(nginx="include nginx.conf;\n"), "deep"),
]


@pytest.mark.parametrize(("name", "text", "message"), BAD, ids=[name for name, _, _ in BAD])
def test_what_cannot_be_read_is_said(name: str, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read(text)


def test_a_configuration_is_a_value() -> None:
    assert read(dump(nginx="gzip on;\n")) == Configuration(
        "/etc/nginx/nginx.conf", (Directive("gzip", ("on",), "/etc/nginx/nginx.conf", 1),)
    )
