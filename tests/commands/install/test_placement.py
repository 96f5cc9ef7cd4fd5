"""Where the include goes, and what comes out of a file that it is put into."""

import pytest
from resty_metrics.commands.install import placement
from resty_metrics.commands.install.placement import Line
from resty_metrics.commands.install.refused import RefusedError
from resty_metrics.nginx_config.dump import Configuration, read

MAIN = "/etc/nginx/nginx.conf"
LINES = ["include /s/nginx.conf.d/resty-metrics.conf;", "geo $resty_metrics_socket { default /c.sock; }"]


def configuration(main: str, **files: str) -> Configuration:
    """``files``: below /etc/nginx."""
    shown = {MAIN: main} | {f"/etc/nginx/{name}": text for name, text in files.items()}
    return read("".join(f"# configuration file {path}:\n{text}\n" for path, text in shown.items()))


FILES = [
    ("events {} http { include /etc/nginx/conf.d/*.conf; include sites-enabled/*; }", ["/etc/nginx/conf.d"]),
    ("http { include sites/*.conf; include conf.d/*.conf; }", ["/etc/nginx/sites", "/etc/nginx/conf.d"]),
    ("http { include mime.types; }", []),
    ("http { include conf.d/a.conf; }", []),
    ("http { include conf.d/*/x.conf; }", []),
    ("http { include vhosts/*/*.conf; }", []),
    ("http { include conf.d/a*.conf; }", []),
    ("http { server { include conf.d/*.conf; } }", []),
    ("include conf.d/*.conf; http { }", []),
    ("stream { include conf.d/*.conf; } http { include conf.d/*.conf; }", []),
    ("http { include conf.d/*.conf; server { include conf.d/r*.conf; } }", []),
    ("http { include conf.d/*.conf; include conf.d/*; }", []),
]


@pytest.mark.parametrize(("main", "directories"), FILES)
def test_a_file_of_its_own(main: str, directories: list[str]) -> None:
    assert placement.files(configuration(main=main)) == [f"{one}/resty-metrics.conf" for one in directories]


def test_a_directory_that_an_included_file_includes() -> None:
    found = configuration(main="http { include http.conf; }", **{"http.conf": "include conf.d/*.conf;"})
    assert placement.files(found) == ["/etc/nginx/conf.d/resty-metrics.conf"]


def test_http_may_be_in_another_file() -> None:
    found = configuration(main="events {}\ninclude http.conf;", **{"http.conf": "\n\nhttp { }"})
    assert placement.line(found) == Line("/etc/nginx/http.conf", 3)
    assert placement.line(configuration(main="events {}")) is None


A, B = LINES
ADDED = [
    ("http {\n}\n", 1, f"http {{\n    {A}\n    {B}\n}}\n"),
    ("events {}\nhttp {\n    x on;\n}\n", 2, f"events {{}}\nhttp {{\n    {A}\n    {B}\n    x on;\n}}\n"),
    ("http { # all of it {\n}\n", 1, f"http {{ # all of it {{\n    {A}\n    {B}\n}}\n"),
    ("http { x on; }\n", 1, f"http {{ {A} {B} x on; }}\n"),
    ("events {} http {}", 1, f"events {{}} http {{ {A} {B}}}"),
    ("http\n# http {\n{\n  x on;\n}", 1, f"http\n# http {{\n{{\n    {A}\n    {B}\n  x on;\n}}"),
    ("http {\r\n  x on;\r\n}\r\n", 1, f"http {{\r\n    {A}\r\n    {B}\r\n  x on;\r\n}}\r\n"),
    ("# http {\nhttp{\n}\n", 2, f"# http {{\nhttp{{\n    {A}\n    {B}\n}}\n"),
    ("env A='http {';http {\n}", 1, None),
    ("http {\n x 'a\n", 1, None),
    ("http { # \xe4\xff\n}", 1, f"http {{ # \xe4\xff\n    {A}\n    {B}\n}}"),
    ("http {\n log_by_lua_block { a = [[}]] }\n}", 1,
     f"http {{\n    {A}\n    {B}\n log_by_lua_block {{ a = [[}}]] }}\n}}"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "expected"), ADDED)
def test_lines_behind_http(text: str, line: int, expected: str | None) -> None:
    """``expected`` None: it cannot be told for certain, and is left to a person."""
    before = text.encode("latin-1")
    if expected is None:
        with pytest.raises(RefusedError, match="Add after its opening brace"):
            placement.added(before, Line(MAIN, line), LINES)
        return
    after, put_in = placement.added(before, Line(MAIN, line), LINES)
    assert after == expected.encode("latin-1")
    assert after.replace(put_in, b"") == before


def test_a_file_of_ours_is_read_as_it_is_meant() -> None:
    text = placement.own_file(LINES).decode()
    both = configuration(main="http { include conf.d/*.conf; }", **{"conf.d/resty-metrics.conf": text})
    assert [one.name for one in both.blocks("http")[0].block or ()] == ["geo"]
    assert both.includes[-1].context == ("http",)
