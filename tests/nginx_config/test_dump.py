"""The output of nginx -T as one tree."""

import pytest
from resty_metrics.nginx_config.dump import Configuration, ConfigurationError, Directive, read


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


def test_line_numbers_are_those_of_the_file() -> None:
    tree = read(dump(nginx="# first\nhttp {\n  server {\n    listen 80;\n  }\n}\n"))
    assert places(tree.directives) == ["nginx.conf:2 http", "nginx.conf:3 server", "nginx.conf:4 listen"]


def test_includes_stand_where_they_are_included_each_time() -> None:
    tree = read(
        dump(
            nginx="http {\n include sites/*.conf;\n include /etc/nginx/snippet.conf; }\n",
            sites__a="server { include snippet.conf; }\n",
            snippet="gzip on;\n",
            sites__b="server { }\n",
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
    (include,) = read(dump(nginx=f"include {pattern};\n")).includes
    assert include.names("/etc/nginx/sites/.a.conf") == included


@pytest.mark.parametrize("pattern", ['"/etc/nginx/my sites/*.conf"', r"/etc/nginx/my\ sites/*.conf"])
def test_blanks_in_names(pattern: str) -> None:
    name = "/etc/nginx/my sites/a b.conf"
    main = MARK.format("/etc/nginx/nginx.conf")
    text = f"{main}include {pattern};\n\n{MARK.format(name)}gzip on;\n\n"
    assert [directive.place for directive in read(text).directives] == [f"{name}:1"]


A, B, MARK = "/etc/nginx/a.conf", "/etc/nginx/b.conf", "# configuration file {}:\n"
# Comments that look like the beginning of a file: where they stand, and what is read.
COMMENTS = [
    (
        "of no file",
        {"nginx": f"a;\n{MARK.format('/x')}b;\nhttp {{\n{MARK.format('/y')}c;\n}}\n"},
        ["nginx.conf:1 a", "nginx.conf:3 b", "nginx.conf:4 http", "nginx.conf:6 c"],
    ),
    (
        "nginx -T as the main file",
        {"nginx": f"{MARK.format('/etc/nginx/nginx.conf')}{MARK.format(A)}include a.conf;\n", "a": "a;\n"},
        ["a.conf:1 a"],
    ),
    (
        "of a file that follows",
        {"nginx": f"include a.conf;\n{MARK.format(A)}b;\n", "a": "a;\n"},
        ["a.conf:1 a", "nginx.conf:3 b"],
    ),
    (
        "of a file that follows, in a block",
        {"nginx": f"http {{ include a.conf;\n{MARK.format(A)}b; }}\n", "a": "a;\n"},
        ["nginx.conf:1 http", "a.conf:1 a", "nginx.conf:3 b"],
    ),
    (
        "of a file that was shown before",
        {"nginx": "include a.conf; include b.conf;\n", "a": "a;\n", "b": f"b;\n{MARK.format(A)}c;\n"},
        ["a.conf:1 a", "b.conf:1 b", "b.conf:3 c"],
    ),
    (
        "of each other",
        {
            "nginx": "include a.conf; include b.conf;\n", "a": f"{MARK.format(B)}a;\n", "b": f"{MARK.format(A)}b;\n"
        },
        ["a.conf:2 a", "b.conf:2 b"],
    ),
    (
        "of a file that was shown before, in a block",
        {"nginx": "include a.conf; include b.conf;\n", "a": "a;\n", "b": f"b {{\n{MARK.format(A)}c;\n}}\n"},
        ["a.conf:1 a", "b.conf:1 b", "b.conf:3 c"],
    ),
    (
        "of a file that was shown before, in Lua code",
        {"nginx": "include a.conf; include b.conf;\n", "a": "a;\n",
         "b": f"log_by_lua_block {{ local s = [[\n{MARK.format(A)}]] }}\nc;\n"},
        ["a.conf:1 a", "b.conf:1 log_by_lua_block", "b.conf:4 c"],
    ),
    (
        "of a file that was removed since",
        {
            "nginx": f"http {{ include d/*.conf; }}\n{MARK.format('/etc/nginx/d/z.conf')}stream {{ }}\n",
            "d__a": "a;\n",
        },
        ["nginx.conf:1 http", "d/a.conf:1 a", "nginx.conf:3 stream"],
    ),
    (
        "many times",
        {"nginx": f"include a.conf;\n{MARK.format(A) * 40}b;\n", "a": f"{MARK.format(A) * 40}a;\n"},
        ["a.conf:41 a", "nginx.conf:42 b"],
    ),
    (
        "in Lua code",
        {"nginx": "http { include a.conf; include b.conf; }\n",
             "a": f"log_by_lua_block {{ local s = [[\n{MARK.format(B)}]] }}\n", "b": "b;\n"},
        ["nginx.conf:1 http", "a.conf:1 log_by_lua_block", "b.conf:1 b"],
    ),
    (
        "in a quoted word",
        {"nginx": f"include b.conf;\nreturn 200 '\n{MARK.format(B)}';\n", "b": "b;\n"},
        ["b.conf:1 b", "nginx.conf:2 return"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "files", "expected"), COMMENTS, ids=[one[0] for one in COMMENTS])
def test_a_comment_that_looks_like_the_beginning_of_a_file(
    name: str, files: dict[str, str], expected: list[str]
) -> None:
    assert places(read(dump(**files)).directives) == expected


def test_an_include_with_a_comment_in_it_is_followed() -> None:
    tree = read(dump(nginx="include # a.conf;\n  'a.conf';\n", a="a;\n"))
    assert places(tree.directives) == ["a.conf:1 a"]


def test_a_thousand_comments() -> None:
    """A file that begins with the output of nginx -T of another machine."""
    marks = "".join(MARK.format(f"/etc/nginx/sites/{at}.conf") for at in range(1000))
    tree = read(dump(nginx=f"{marks}a;\n{'server_tokens off;' * 1000}\ninclude b.conf;\n", b="b;\n"))
    assert len(tree.directives) == 1002


def test_relative_paths_begin_at_the_working_directory() -> None:
    text = "# configuration file ./app.conf:\ninclude conf.d/*.conf;\n\n# configuration file ./conf.d/a.conf:\na;\n\n"
    tree = read(text, "/srv/app")
    assert (tree.main_file, tree.includes[0].pattern) == ("/srv/app/app.conf", "/srv/app/conf.d/*.conf")
    assert tree.directives[0].place == "/srv/app/conf.d/a.conf:1"
    above = read("# configuration file ../up/app.conf:\na;\n\n", "/srv/app")
    assert above.main_file == "/srv/app/../up/app.conf"


def test_bytes_that_are_not_utf8_are_kept() -> None:
    raw = b"# configuration file /n.conf:\ninclude \xe9\x85.d/*.conf;\n\n"
    raw += b"# configuration file /\xe9\x85.d/\xff.conf:\na \xa0;\n\n"
    tree = read(raw.decode("utf-8", "surrogateescape"))
    assert [one.place for one in tree.directives] == ["/\udce9\udc85.d/\udcff.conf:1"]
    assert tree.directives[0].args == ("\udca0",)


@pytest.mark.parametrize("blank", ["\u00a0", "\u0085", "\u2003", "\u3000", "\x1c"])
def test_a_blank_that_nginx_does_not_know_is_a_letter(blank: str) -> None:
    assert read(dump(nginx=f"server_name a{blank}b;\n")).directives[0].args == (f"a{blank}b",)


LUA = [
    ("braces", 'log_by_lua_block { local t = { "}" } -- }\n}', ' local t = { "}" } -- }\n'),
    ("no blank before the brace", "log_by_lua_block{ x() }", " x() "),
    ("on the next line", "log_by_lua_block\n{ x() }", " x() "),
    ("an apostrophe in a comment", "log_by_lua_block { -- don't\n}", " -- don't\n"),
    ("long brackets", "exit_worker_by_lua_block { --[[ } ' ]] }", " --[[ } ' ]] "),
    ("empty", "log_by_lua_block {}", ""),
    ("a comment before the brace", "log_by_lua_block # mine\n{ x() }", " x() "),
    ("a comment with braces before the brace", "log_by_lua_block # { a }\n  #{ }\n { x() }", " x() "),
    ("a comment at once", "log_by_lua_block\t#{\n{ x() }", " x() "),
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
    ("a Lua block without its end", dump(nginx="http { log_by_lua_block { x(\n}"), "nginx.conf"),
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
