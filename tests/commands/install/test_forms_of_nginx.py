"""install and uninstall on configurations of unusual form, with a real nginx."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.collector import COMMAND, Collector
from support.debian import Debian, environment, run, words
from support.own_nginx import OwnNginx
from support.wait import wait_until

pytestmark = pytest.mark.slow

APP = """BEGIN
pid nginx.pid;
error_log logs/error.log info;
events { }
http {
    HTTP
    include conf.d/*.conf;
    server { listen 127.0.0.1:PORT; server_name a.example; location / { return 200 ok; } }
}
"""


@pytest.fixture
def collector(socket_path: Path) -> Iterator[Collector]:
    with Collector(socket_path) as running:
        yield running


def installed(debian: Debian, collector: Collector) -> str:
    done = run("install", debian, collector)
    assert done.status == 0, done.text
    assert "counted: a request to " in done.out
    return done.out


def uninstalled(debian: Debian, collector: Collector) -> str:
    """Nothing of ours is left, and nginx serves as before."""
    done = run("uninstall", debian, collector)
    assert done.status == 0, done.text
    assert debian.nginx("-t").returncode == 0
    assert "resty_metrics" not in debian.nginx("-T").stdout
    assert not debian.share.exists()
    assert len(debian.workers()) == 2
    return done.out


def test_relative_paths(collector: Collector, socket_path: Path) -> None:
    files = {"app.conf": APP, "conf.d/own.conf": "server_tokens off;\n", "logs/error.log": ""}
    with OwnNginx(files, ["-p", "./", "-c", "app.conf", "-e", "logs/error.log"], socket_path) as nginx:
        flags = [
            f"--nginx.command={nginx.command}", f"--share-dir={nginx.directory}/installed",
            f"--socket.path={socket_path}", f"--web.listen-address=127.0.0.1:{collector.port}", "--yes",
        ]  # fmt: skip
        snippet = nginx.directory / "conf.d" / "resty-metrics.conf"
        for command, there in (("install", True), ("uninstall", False)):
            done = subprocess.run(
                [COMMAND, command, *flags],
                capture_output=True, text=True, cwd=nginx.directory, env=environment(), check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
            assert snippet.exists() is there
            assert (nginx.directory / "installed").exists() is there


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_that_are_not_utf8(collector: Collector, encoding: str) -> None:
    """Also where the terminal takes ASCII alone: what cannot be shown is escaped."""
    debian = Debian(includes=False)
    old, debian.etc = debian.etc, debian.etc.with_name(os.fsdecode(b"caf\xe9"))
    old.rename(debian.etc)
    name = debian.etc / os.fsdecode(b"\xff.conf")
    name.write_bytes(b"server { server_name \xe9 \xc3\xa9; listen unix:/tmp/none-%d.sock; }" % os.getpid())
    raw = os.fsencode(debian.conf.read_text()).replace(os.fsencode(old), os.fsencode(debian.etc))
    raw = raw.replace(b"\tsendfile on;", b"\tinclude \xff.conf;\n\tsendfile on;")
    debian.conf.write_bytes(raw)
    debian.share = debian.directory / "share-é"
    with debian:
        for command in ("install", "uninstall"):
            done = subprocess.run(
                [*words(command, debian, collector), "--yes"], capture_output=True, check=False,
                env={**environment(), "PYTHONIOENCODING": encoding}, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
            assert done.stderr == b""
            assert rb"caf\xe9/nginx.conf" in done.stdout
            assert (b"include " + os.fsencode(debian.share) in debian.conf.read_bytes()) is (command == "install")
        assert debian.conf.read_bytes() == raw
        assert not debian.share.exists()


def test_comments_that_look_like_marks(collector: Collector) -> None:
    """As in a file that was made of the output of nginx -T."""
    with Debian(includes=False) as debian:
        before = debian.conf.read_text()
        marks = f"# configuration file {debian.conf}:\n# configuration file /x:\n"
        text = marks + before.replace("http {", "http {\n# configuration file /etc/nginx/mime.types:") + marks
        debian.conf.write_text(text)
        installed(debian, collector)
        assert debian.conf.read_text().startswith(marks)
        uninstalled(debian, collector)
        assert debian.conf.read_text() == text


def test_code_cache_off_in_one_location(collector: Collector) -> None:
    with Debian(server="location /x { lua_code_cache off; return 200; }") as debian:
        assert "lua_code_cache off in server shop.example, location /x: requests there cannot be counted" in installed(
            debian, collector
        )


UNCLEAR = [
    ("a branch", "log_by_lua_block { if ngx.var.arg_x then require('resty.metrics').log() end }", "depends on"),
    ("a module", "log_by_lua_block { pcall(require, 'my.log') }", "my.log, whose file was not found"),
    ("a variable", "log_by_lua_file {prefix}/$host.lua;", "name has a variable"),
]


@pytest.mark.parametrize(("name", "hook", "words"), UNCLEAR, ids=[one[0] for one in UNCLEAR])
def test_a_hook_that_cannot_be_told_is_named_and_stops_nothing(
    collector: Collector, name: str, hook: str, words: str
) -> None:
    with Debian(server=f"location /own {{ {hook.replace('{prefix}', '/nonexistent')} return 200; }}") as debian:
        said = installed(debian, collector)
        assert "may replace ours" in said
        assert words in said


def test_a_hook_of_http_that_cannot_be_told_is_decided_by_the_proof(collector: Collector) -> None:
    lua = 'local name = "resty." .. (ngx.var.nothing or "metrics") require(name).log()'
    with Debian() as debian:
        hook = f'lua_package_path "{debian.share}/lua/?.lua;;";\nlog_by_lua_block {{ {lua} }}\n'
        debian.conf.write_text(debian.conf.read_text().replace("sendfile on;", hook))
        debian.reload()
        installed(debian, collector)
        assert "own-hook.conf" in debian.snippet.read_text()
    with Debian(http="log_by_lua_block { require(ngx.var.nothing or 'ngx.errlog').get_logs() }") as debian:
        before = debian.tree()
        done = run("install", debian, collector)
        assert done.status == 1
        assert "was not on the page" in done.error
        assert debian.tree() == before


def reindented(text: str) -> str:
    return re.sub(r"(?m)^[ \t]+", lambda blanks: "  " * len(blanks[0].expandtabs(4)), text)


OURS = re.compile(
    r"""(?:include\s+\S+nginx.conf.d/(?:resty-metrics|lifecycle|upstreams).conf'?\s*;"""
    r"""|geo\s+.resty_metrics_socket\s*\{[^}]*\}|init_worker_by_lua_block\s*\{[^}]*\}\s*\})"""
)


def without_ours(text: str) -> str:
    return OURS.sub("", text)


def quoted(text: str) -> str:
    return re.sub(r"include (\S+nginx.conf.d/\S+.conf);", r"include   '\1' ;", text)


def in_one_line(text: str) -> str:
    return OURS.sub(lambda found: f" {found[0]} ", re.sub(r"http \{\s*", "http { ", text))


def spread(text: str) -> str:
    def lines(piece: re.Match[str]) -> str:
        return re.sub(r"\s+|(?<=[(;])|(?=[;)])", "\n", piece[0])

    return OURS.sub(lines, text)


def with_crlf(text: str) -> str:
    return text.replace("\n", "\r\n")


@pytest.mark.parametrize("rewrite", [reindented, without_ours, quoted, in_one_line, spread, with_crlf])
def test_uninstall_after_another_tool_wrote_the_file(collector: Collector, rewrite: Callable[[str], str]) -> None:
    with Debian(includes=False) as debian:
        installed(debian, collector)
        after = rewrite(debian.conf.read_bytes().decode())
        debian.conf.write_bytes(after.encode())
        said = uninstalled(debian, collector)
        assert ("they were removed already" in said) is (rewrite is without_ours)
        left = debian.conf.read_bytes().decode()
        assert left.split() == without_ours(after).split()


def test_uninstall_after_the_snippet_was_removed(collector: Collector) -> None:
    with Debian() as debian:
        installed(debian, collector)
        debian.snippet.unlink()
        assert f"{debian.snippet} was removed already" in uninstalled(debian, collector)


def test_uninstall_after_the_main_file_got_another_name(collector: Collector) -> None:
    with Debian() as debian:
        installed(debian, collector)
        main = debian.etc / "main.conf"
        debian.conf.rename(main)
        flags = [one.replace(str(debian.conf), str(main)) for one in words("uninstall", debian, collector, "--yes")]
        debian.stop()
        done = subprocess.run(flags, capture_output=True, text=True, env=environment(), check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert not debian.snippet.exists()
        assert not debian.share.exists()
        main.rename(debian.conf)
        debian.start()


def test_uninstall_after_the_socket_was_moved_to_another_file(collector: Collector) -> None:
    with Debian(includes=False) as debian:
        before = debian.conf.read_text()
        installed(debian, collector)
        line = re.search(r"\s*geo [^\n]*", debian.conf.read_text())
        assert line is not None
        moved = debian.etc / "conf.d" / "moved.conf"
        moved.write_text(f"{line[0].strip()}\n")
        text = debian.conf.read_text().replace(line[0], "")
        debian.conf.write_text(text.replace("sendfile on;", f"sendfile on; include {moved};"))
        dry, done = run("uninstall", debian, collector, "--dry-run"), run("uninstall", debian, collector)
        assert done.status == dry.status == 0, done.text
        for said in (dry.out, done.out):
            assert f"note: {moved}:1: geo $resty_metrics_socket stays" in said
        assert debian.nginx("-t").returncode == 0
        assert debian.conf.read_text() == before.replace("sendfile on;", f"sendfile on; include {moved};")


def test_uninstall_after_part_of_our_files_was_removed(collector: Collector) -> None:
    with Debian() as debian:
        installed(debian, collector)
        (debian.share / "lua" / "resty" / "metrics" / "load.lua").unlink()
        (debian.share / "nginx.conf.d" / "vts.conf").unlink()
        uninstalled(debian, collector)
        wait_until(lambda: not debian.share.exists(), message="no directory")
