"""``resty-metrics install`` on a real nginx laid out as Debian's: counted, or all as it was; never a broken nginx."""

import fcntl
import os
import pty
import re
import signal
import subprocess
import termios
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.collector import Collector
from support.debian import Debian, environment, run, words
from support.wait import wait_until

pytestmark = pytest.mark.slow

LINE = '(package.loaded["resty.metrics"] or dofile("{share}/lua/resty/metrics/load.lua")).log()'


@pytest.fixture
def collector(socket_path: Path) -> Iterator[Collector]:
    with Collector(socket_path) as running:
        yield running


def get(debian: Debian, path: str = "/") -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{debian.port}{path}", timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def assert_counts(debian: Debian, collector: Collector, path: str = "/") -> None:
    """A request of its own comes to the page."""
    before = sum(collector.request_counts().values())
    assert get(debian, path) == 200
    wait_until(lambda: sum(collector.request_counts().values()) > before, message="the request on the page")


def assert_installed(debian: Debian, collector: Collector, arguments: tuple[str, ...] = ()) -> str:
    done = run("install", debian, collector, *arguments)
    assert done.status == 0, done.text
    assert "counted: a request to " in done.out
    assert debian.nginx("-t").returncode == 0
    assert_counts(debian, collector)
    assert "[emerg]" not in (debian.run / "error.log").read_text()
    return done.out


def assert_untouched(debian: Debian, work: Callable[[], str]) -> str:
    """What was said; everything below etc and usr is as it was, and nginx serves with the workers that it had."""
    before, workers = debian.tree(), debian.workers()
    said = work()
    assert debian.tree() == before
    assert debian.workers() == workers
    assert get(debian) == 200
    return said


def refused(debian: Debian, collector: Collector | None, *arguments: str, yes: bool = True) -> str:
    def work() -> str:
        done = run("install", debian, collector, *arguments, yes=yes)
        assert done.status == 1, done.text
        return done.error

    return assert_untouched(debian, work)


def put_back(debian: Debian, collector: Collector | None) -> str:
    """An install that is taken back: the same files to the byte, and an nginx that serves."""
    before = debian.tree()
    done = run("install", debian, collector)
    assert done.status == 1, done.text
    assert "everything was restored" in done.error
    assert debian.tree() == before
    assert debian.nginx("-t").returncode == 0
    assert get(debian) == 200
    return done.error


def test_a_fresh_debian(collector: Collector) -> None:
    with Debian() as debian:
        before = debian.tree()
        said = assert_installed(debian, collector)
        assert f"+include {debian.share}/nginx.conf.d/resty-metrics.conf;" in said
        assert re.search(r"resty-metrics: \d+ new\n", said)
        after = debian.tree()
        assert {path for path in before if after[path][:1] != before[path][:1]} == set()
        assert str(debian.snippet) in after
        samples = {labels: count for labels, count in collector.request_counts().items() if count}
        assert samples["shop.example", "other", "400"] == 1


def test_all_in_one_file(collector: Collector) -> None:
    """As OpenResty has it: a line is added to the user's file, which keeps its mode, and goes again."""
    with Debian(includes=False) as debian:
        debian.conf.chmod(0o640)
        before = debian.conf.read_bytes()
        said = assert_installed(debian, collector)
        assert "@@" in said
        after = debian.conf.read_bytes()
        assert len(after.splitlines()) == len(before.splitlines()) + 3
        assert b"\nhttp {\n    include " in after
        assert debian.conf.stat().st_mode & 0o7777 == 0o640
        assert run("install", debian, collector).out.startswith("already installed")
        assert debian.conf.read_bytes() == after
        done = run("uninstall", debian, collector)
        assert done.status == 0, done.text
        assert debian.conf.read_bytes() == before
        assert not debian.share.exists()


def test_a_main_file_that_is_a_link_is_written_through(collector: Collector) -> None:
    with Debian(includes=False) as debian:
        real = debian.etc / "real.conf"
        debian.conf.rename(real)
        debian.conf.symlink_to(real)
        assert_installed(debian, collector)
        assert debian.conf.is_symlink()
        assert b"resty-metrics.conf;" in real.read_bytes()


BESIDE = [
    ("http-init-by-lua", "init_by_lua_block { answer = 42 }", ""),
    ("http-init-worker-by-lua", "init_worker_by_lua_block { ngx.timer.at(0, function() end) }", ""),
    ("http-exit-worker", "exit_worker_by_lua_block { local gone = 1 }", ""),
    ("http-package-path", 'lua_package_path "/nowhere/?.lua;;"; lua_package_cpath "/nowhere/?.so;;";', ""),
    ("http-shared-dict", "lua_shared_dict mine 1m;", ""),
    ("location-hook", "", "location /own { log_by_lua_block { own = 1 } return 200; }"),
    ("access-and-header-filter", "header_filter_by_lua_block { ngx.header.x = 1 }", "access_by_lua_block { }"),
]


@pytest.mark.parametrize(("http", "server"), [one[1:] for one in BESIDE], ids=[one[0] for one in BESIDE])
def test_beside_what_the_user_has(collector: Collector, http: str, server: str) -> None:
    with Debian(http=http, server=server) as debian:
        assert_installed(debian, collector)


def test_directives_that_nginx_takes_before_the_first_map_alone(collector: Collector) -> None:
    """The line of install stands in front of them."""
    with Debian(http="map_hash_bucket_size 256; map_hash_max_size 8192;", includes=False) as debian:
        assert_installed(debian, collector)
        text = debian.conf.read_text()
        assert text.index("resty-metrics.conf;") < text.index("map_hash_bucket_size")


def test_a_hook_of_a_location_is_named_with_the_line_to_add(collector: Collector) -> None:
    with Debian(server="location /own {\nlog_by_lua_block {\n local own = 1\n}\n return 200; }") as debian:
        site = debian.etc / "sites-enabled" / "default"
        said = assert_installed(debian, collector)
        assert f"note: {site}:5: log_by_lua_block in server shop.example, location /own replaces ours" in said
        line = LINE.format(share=debian.share)
        assert line in said
        text = site.read_text()
        (debian.etc / "sites-available" / "default").write_text(
            text.replace("log_by_lua_block {\n", f"log_by_lua_block {{\n{line}\n")
        )
        debian.reload()
        assert_counts(debian, collector, "/own")
        said = assert_installed(debian, collector)
        assert "note: " not in said


OWN_HOOKS = [
    ("log_by_lua_block", "log_by_lua_block {{\nlocal own = 1\n}}", "log_by_lua_block {{\n{line}\nlocal own = 1\n}}"),
    ("log_by_lua_file", "log_by_lua_file {etc}/own.lua;", None),
]


@pytest.mark.parametrize(("name", "hook", "with_line"), OWN_HOOKS, ids=[one[0] for one in OWN_HOOKS])
def test_a_hook_in_http_needs_our_line_first(collector: Collector, name: str, hook: str, with_line: str | None) -> None:
    """The user's Lua is never edited: the line is said, and once it is there the include without a hook goes in."""
    with Debian() as debian:
        own = debian.etc / "conf.d" / "own.conf"
        lua = debian.etc / "own.lua"
        lua.write_text("local own = 1\n")
        own.write_text("# mine\n" + hook.format(etc=debian.etc))
        debian.reload()
        said = refused(debian, collector)
        assert f"{own}:2: {name} in http{{}} is your own" in said
        line = LINE.format(share=debian.share)
        assert line in said
        assert (f"as the first line of {lua}: " in said) is (with_line is None)
        if with_line is None:
            lua.write_text(f"{line}\nlocal own = 1\n")
        else:
            own.write_text(with_line.format(line=line))
        said = assert_installed(debian, collector)
        assert f"+include {debian.share}/nginx.conf.d/resty-metrics-own-hook.conf;" in said
        done = run("uninstall", debian, collector)
        assert done.status == 1
        assert "nginx still uses files in" in done.error
        assert (f"{lua}:1" if with_line is None else f"{own}:1 (log_by_lua_block)") in done.error


def test_a_server_whose_hook_shadows_ours_everywhere(collector: Collector) -> None:
    with Debian(server="log_by_lua_block { local own = 1 }") as debian:
        said = refused(debian, collector)
        assert "sites-enabled/default:4: log_by_lua_block in server shop.example replaces ours" in said
        assert LINE.format(share=debian.share) in said


def test_a_broken_configuration(collector: Collector) -> None:
    with Debian() as debian:
        broken = debian.etc / "conf.d" / "broken.conf"
        broken.write_text("no_such_directive on;\n")
        said = refused(debian, collector)
        assert 'unknown directive "no_such_directive"' in said
        assert f"{broken}:1" in said


def test_no_lua_module(collector: Collector) -> None:
    with Debian(modules=()) as debian:
        said = refused(debian, collector)
        assert "apt install libnginx-mod-http-lua" in said


def test_code_cache_off(collector: Collector) -> None:
    with Debian(http="lua_code_cache off;") as debian:
        line = debian.conf.read_text().split("lua_code_cache")[0].count("\n") + 1
        assert f"{debian.conf}:{line}: lua_code_cache off in http" in refused(debian, collector)


def test_the_collector_is_down() -> None:
    with Debian() as debian:
        said = refused(debian, None)
        assert "Cannot connect" in said
        assert "resty-metrics serve" in said
        done = run("install", debian, None, "--without-proof")
        assert done.status == 0, done.text
        assert "not tested" in done.out
        assert get(debian) == 200


@pytest.fixture
def other(shared: Path) -> Iterator[Collector]:
    with Collector(shared / "other.sock") as running:
        yield running


def test_a_request_that_is_not_counted_takes_all_back(collector: Collector, other: Collector) -> None:
    """The page is of one collector, nginx's workers are told to send to another one."""
    with Debian() as debian:
        debian.told_socket = other.socket_path
        before = debian.tree()
        done = run("install", debian, collector)
        assert done.status == 1
        assert f"a request was sent to 127.0.0.1:{debian.port} (server shop.example), but was not on the" in done.error
        assert "everything was restored" in done.error
        assert debian.tree() == before
        assert get(debian) == 200


def test_a_module_that_does_not_load_takes_all_back(collector: Collector) -> None:
    """What it says in nginx's error log is among the reasons."""
    with Debian(
        http='init_by_lua_block { package.preload["resty.metrics"] = function() error("not today") end }'
    ) as debian:
        said = put_back(debian, collector)
        assert "resty-metrics is off in this worker" in said
        assert "not today" in said


def test_what_else_the_reload_applies_is_said(collector: Collector) -> None:
    with Debian() as debian:
        pending = debian.etc / "conf.d" / "pending.conf"
        pending.write_text("server_tokens off;\n")
        soon = time.time() + 10
        os.utime(pending, (soon, soon))
        said = run("install", debian, collector, "--dry-run").out
        assert f"note: {pending} was changed after nginx read it: the reload applies that change too" in said
        assert said.count("note: ") == 1


def test_what_nginx_takes_not_is_taken_back(collector: Collector) -> None:
    """An include that somebody wrote, which install keeps."""
    with Debian() as debian:
        own = debian.share / "nginx.conf.d" / "resty-metrics.conf"
        own.parent.mkdir(parents=True)
        own.write_text("no_such_directive on;\n")
        workers = debian.workers()
        said = put_back(debian, collector)
        assert "nginx -t: " in said
        assert "no_such_directive" in said
        assert debian.workers() == workers


def test_a_dictionary_that_the_include_declares_too(collector: Collector) -> None:
    with Debian(http="lua_shared_dict resty_metrics_spool 1m;") as debian:
        line = debian.conf.read_text().split("lua_shared_dict")[0].count("\n") + 1
        said = refused(debian, collector)
        assert f"{debian.conf}:{line}: the include declares lua_shared_dict resty_metrics_spool" in said


LISTENS = ["127.0.0.1:{port} proxy_protocol", "unix:{run}/nginx.sock", "127.0.0.1:{port} ssl"]


@pytest.mark.parametrize("listen", LISTENS)
def test_whatever_nginx_listens_on(collector: Collector, listen: str, tmp_path: Path) -> None:
    with Debian() as debian:
        key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
        made = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=x",
            "-keyout",
            key,
            "-out",
            certificate,
        ]
        subprocess.run([str(one) for one in made], check=True, capture_output=True)
        where = listen.format(port=debian.port, run=debian.run)
        (debian.etc / "sites-available" / "default").write_text(
            f"server {{ listen {where}; ssl_certificate {certificate}; ssl_certificate_key {key}; return 200; }}\n"
        )
        debian.reload()
        done = run("install", debian, collector)
        assert done.status == 0, done.text
        assert f"counted: a request to {where.split()[0]}" in done.out


def test_not_a_terminal(collector: Collector) -> None:
    with Debian() as debian:
        assert "Give --yes" in refused(debian, collector, yes=False)


def test_dry_run(collector: Collector) -> None:
    with Debian() as debian:

        def work() -> str:
            done = run("install", debian, collector, "--dry-run", yes=False)
            assert done.status == 0
            return done.out

        said = assert_untouched(debian, work)
        assert f"+include {debian.share}/nginx.conf.d/resty-metrics.conf;" in said
        assert "nothing was changed" in said
        assert collector.request_counts().total() == 0


def test_a_dry_run_of_what_would_not_be_done() -> None:
    with Debian() as debian:

        def work() -> str:
            done = run("install", debian, None, "--dry-run")
            assert done.status == 1
            return done.text

        said = assert_untouched(debian, work)
        assert "dry run: nothing was changed" in said
        assert "this would fail:" in said
        assert "resty-metrics serve" in said


@pytest.mark.parametrize(("answer", "status"), [(b"y\n", 0), (b"n\n", 1), (b"\x03", 1), (b"\x04", 1)])
def test_on_a_terminal_it_asks(collector: Collector, answer: bytes, status: int) -> None:
    with Debian() as debian:
        before = debian.tree()
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            words("install", debian, collector),
            stdin=theirs, stdout=theirs, stderr=theirs, env=environment(), start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(theirs)
        said = b""
        while b"Make these changes? [y/N]" not in said:
            said += os.read(ours, 4096)
        assert debian.tree() == before
        os.write(ours, answer)
        # typed again as a person would: Python's input() overlooks a signal that comes as it begins
        wait_until(lambda: process.poll() is not None or (answer == b"\x03" and not os.write(ours, answer)), 60)
        assert process.wait() in ((1, -signal.SIGINT) if answer == b"\x03" else (status,))
        os.close(ours)
        assert debian.snippet.exists() is (status == 0)
        if status:
            assert debian.tree() == before


def in_the_middle(debian: Debian, collector: Collector, other: Collector) -> "subprocess.Popen[bytes]":
    """An install that waits for the page, which never counts: nginx's workers send to another collector."""
    debian.told_socket = other.socket_path
    process = subprocess.Popen(
        words("install", debian, collector, "--yes"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    wait_until(lambda: "RESTY_METRICS" in (debian.run / "access.log").read_text(), message="the request")
    assert debian.snippet.exists()
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_middle_takes_all_back(collector: Collector, number: signal.Signals, other: Collector) -> None:
    with Debian() as debian:
        before = debian.tree()
        process = in_the_middle(debian, collector, other)
        process.send_signal(number)
        said = process.communicate(timeout=60)[1].decode()
        assert process.returncode == 1
        assert f"interrupted by {number.name}" in said
        assert "Traceback" not in said
        assert debian.tree() == before
        assert debian.nginx("-t").returncode == 0
        assert get(debian) == 200


def test_a_collector_that_ends_in_the_middle_takes_all_back(collector: Collector, other: Collector) -> None:
    with Debian() as debian:
        before = debian.tree()
        process = in_the_middle(debian, collector, other)
        collector.kill()
        said = process.communicate(timeout=60)[1].decode()
        assert process.returncode == 1
        assert "Cannot connect" in said
        assert "everything was restored" in said
        assert debian.tree() == before
        assert get(debian) == 200


def test_twice_in_a_row_and_an_upgrade(collector: Collector) -> None:
    with Debian() as debian:
        assert_installed(debian, collector)
        before, workers = debian.tree(), debian.workers()
        done = run("install", debian, collector, yes=False)
        assert done.status == 0, done.text
        assert done.out.startswith("already installed: ")
        assert "counted: " in done.out
        assert (debian.tree(), debian.workers()) == (before, workers)

        older = debian.share / "lua" / "resty" / "metrics" / "hook.lua"
        ours = older.read_bytes()
        older.write_bytes(b"-- older\n" + ours)
        conf = debian.share / "nginx.conf.d" / "resty-metrics.conf"
        mine = conf.read_bytes() + b'map "" $resty_metrics_labels { default ""; }\n'
        conf.write_bytes(mine)
        said = assert_installed(debian, collector)
        assert f"note: {older} was changed after the installation" in said
        assert f"note: {conf} is not the file of this version. It is kept" in said
        assert older.read_bytes() == ours
        assert older.with_name("hook.lua.saved").read_bytes() == b"-- older\n" + ours
        assert conf.read_bytes() == mine
        assert debian.workers().isdisjoint(workers)


def test_installed_by_hand(collector: Collector) -> None:
    with Debian() as debian:
        assert_installed(debian, collector)
        (debian.share / "manifest.json").unlink()
        before = debian.tree()
        assert run("install", debian, collector).out.startswith("already installed")
        assert debian.tree() == before
        said = assert_untouched(debian, lambda: run("uninstall", debian, collector).error)
        assert "Remove by hand: " in said
        assert f"{debian.snippet}:2" in said


def test_uninstall(collector: Collector) -> None:
    with Debian() as debian:
        before = debian.tree()
        assert_installed(debian, collector)
        said = assert_untouched(debian, lambda: run("uninstall", debian, collector, yes=False).error)
        assert "Give --yes" in said
        assert_untouched(debian, lambda: run("uninstall", debian, collector, "--dry-run", yes=False).out)
        done = run("uninstall", debian, collector)
        assert done.status == 0, done.text
        now = debian.tree()
        assert now.keys() - before.keys() <= {str(debian.directory / "usr"), str(debian.share.parent)}
        assert {path: entry[0] for path, entry in before.items()} == {path: now[path][0] for path in before}
        assert debian.nginx("-t").returncode == 0
        assert "resty_metrics" not in debian.nginx("-T").stdout
        done = run("uninstall", debian, collector)
        assert (done.status, done.error) == (0, "")
        assert done.out.startswith("nothing to remove")


def test_uninstall_of_another_directory_names_the_one_in_use(collector: Collector) -> None:
    """Without --share-dir nothing is there to remove, while nginx uses files of ours."""
    with Debian() as debian:
        assert_installed(debian, collector)
        elsewhere = f"--share-dir={debian.directory}/elsewhere"
        done = run("uninstall", debian, collector, elsewhere)
        assert done.status == 1, done.text
        assert f"give --share-dir={debian.share}" in done.error


def test_uninstall_keeps_what_the_user_changed_beside_it(collector: Collector) -> None:
    with Debian() as debian:
        assert_installed(debian, collector)
        mine = debian.snippet.read_bytes() + b"# mine\n"
        debian.snippet.write_bytes(mine)
        done = run("uninstall", debian, collector)
        assert done.status == 0, done.text
        kept = debian.snippet.with_name("resty-metrics.conf.saved")
        assert f"{debian.snippet} was changed after the installation. The changed file is kept as {kept}" in done.out
        assert kept.read_bytes() == mine
        assert not debian.snippet.exists()
        assert not debian.share.exists()


def test_two_nginx_share_the_files(collector: Collector) -> None:
    with Debian() as one, Debian() as two:
        two.share = one.share
        assert_installed(one, collector)
        assert_installed(two, collector)
        done = run("uninstall", one, collector)
        assert f"the files in {one.share} are kept, because {two.conf} uses them" in done.out
        assert_counts(two, collector)
        assert "nginx.conf.d" not in one.nginx("-T").stdout
        assert run("uninstall", two, collector).status == 0
        assert not one.share.exists()


def test_a_directory_that_workers_cannot_reach(collector: Collector) -> None:
    if os.geteuid() != 0:
        pytest.skip("workers run as ourselves")
    with Debian() as debian:
        closed = debian.directory / "closed"
        closed.mkdir(mode=0o700)
        debian.share = closed / "share"
        said = refused(debian, collector)
        assert "nginx's workers run as www-data (uid 33), who may not search" in said
        assert str(closed) in said


def test_nginx_does_not_run(collector: Collector) -> None:
    debian = Debian()
    try:
        before = debian.tree()
        done = run("install", debian, collector)
        assert done.status == 1
        assert "is not running, so no request can be sent" in done.error
        assert debian.tree() == before
        assert run("install", debian, collector, "--without-proof").status == 0
        debian.start()
        assert_counts(debian, collector)
    finally:
        debian.__exit__(None, None, None)
