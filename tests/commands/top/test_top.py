"""``resty-metrics top`` on a real nginx under a known load, in a real terminal and in a pipe."""

import json
import os
import pty
import re
import signal
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import bcrypt
import click
import pytest
from click.testing import CliRunner
from resty_metrics.commands.cli import main, top
from resty_metrics.commands.top.tables import COLUMNS
from support.certificates import Authority
from support.collector import COMMAND, Collector
from support.nginx import ROOT, Nginx, shared_directory
from support.pace import Pace
from support.tmux import Tmux
from support.users import NOBODY, as_user
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

# 90 requests/s at a.example, of which two in ten are 404; 15 at b.example of 60 ms, of which one in three is a 500.
SITE = """
include {{share}}/nginx.conf.d/lifecycle.conf;
server {{
    listen 127.0.0.1:{port};
    server_name a.example;
    location / {{ return 200 "a\\n"; }}
    location /missing {{ return 404; }}
}}
server {{
    listen 127.0.0.1:{port};
    server_name b.example;
    location / {{ echo_sleep 0.06; echo b; }}
    location /broken {{ echo_sleep 0.06; echo_status 500; echo b; }}
}}
"""
COLOURED = re.compile(r"\x1b\[[0-9;]*3[0-7]m")
PATHS_A = ("/",) * 8 + ("/missing",) * 2
RATE_A, RATE_B = 90, 15
WITHIN = 0.3  # a flush more or less in six seconds, and a machine that others use


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    path = shared_directory()
    yield path
    subprocess.run(["rm", "-rf", str(path)], check=True)


@pytest.fixture(scope="module")
def busy(directory: Path) -> Iterator[Collector]:
    """A collector whose nginx is under that load."""
    port = free_port()
    web = f"--web.listen-address=unix:{directory}/web.sock"
    with (
        Collector(directory / "collector.sock", web) as collector,
        Nginx(collector.socket_path, SITE.format(port=port)),
        Pace(port, "a.example", RATE_A, PATHS_A),
        Pace(port, "b.example", RATE_B, ("/", "/", "/broken")),
    ):
        wait_until(lambda: len(collector.request_counts()) == 4, message="requests of each kind")
        yield collector


def command(collector: Collector, *words: str) -> list[str]:
    return [COMMAND, "top", f"--url={collector.url}", *words]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RESTY_METRICS_")}
    return subprocess.run(
        words, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL, env=environment, check=False
    )


def column(screen: str, title: str) -> dict[str, str]:
    """The cells under a title of the table of servers, by server, from the top down."""
    lines = screen.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("server "))
    titles = [one for one in re.split(r" {2,}", lines[at].replace(" ↓", "").replace(" ↑", "").strip()) if one]
    rows = [line.split() for line in lines[at + 1 :] if ".example " in line]
    return {row[0]: row[titles.index(title)] for row in rows}


def measured(screen: str) -> bool:
    """Rates are over enough seconds to be held against what was sent."""
    found = re.search(r"rates over (\d+) s", screen)
    return found is not None and int(found[1]) >= 6


def milliseconds(text: str) -> float:
    return float(text.removeprefix("≤").removesuffix("ms"))


@contextmanager
def in_its_place(path: Path) -> Iterator[None]:
    """Something that the collector does not take away: a directory with a file in it."""

    def placed() -> bool:
        try:
            path.unlink(missing_ok=True)
            path.mkdir()
            (path / "file").touch()
        except OSError:  # the collector was the faster one
            return False
        return True

    wait_until(placed, message="a directory in the socket's place")
    yield
    (path / "file").unlink()
    path.rmdir()


def test_a_terminal_that_has_no_size(busy: Collector) -> None:
    """A serial line, or what a script opens: it is taken for one of the usual size."""
    ours, its = pty.openpty()
    process = subprocess.Popen(command(busy), stdin=its, stdout=its, stderr=its)
    os.close(its)
    seen = b""
    while b"req/s" not in seen:
        seen += os.read(ours, 4096)
    os.write(ours, b"q")
    with suppress(OSError):
        while os.read(ours, 4096):
            pass
    assert process.wait(timeout=30) == 0
    os.close(ours)


def test_live(busy: Collector, directory: Path) -> None:
    """Rates are those of the load; sorted by key; a warning comes with a fault and goes with it; q ends it."""
    inherited = {"COLUMNS": "80", "LINES": "24"}  # by who was started by something that exports them
    with Tmux(directory, command(busy, "--interval=500ms"), environment=inherited) as terminal:
        terminal.shows("socket: up", "lua: up", "workers: 2 of 2", "journal: up", "a.example", "[1] servers")

        assert COLOURED.search(terminal.screen(colours=True))

        screen = terminal.until(measured, "rates over 6 s")
        rates = {server: float(rate) for server, rate in column(screen, "req/s").items()}
        assert list(rates) == ["a.example", "b.example"]
        assert rates == pytest.approx({"a.example": RATE_A, "b.example": RATE_B}, rel=WITHIN)
        assert float(column(screen, "5xx")["b.example"].strip("!%")) == pytest.approx(33.3, abs=8)
        assert float(column(screen, "4xx")["a.example"].removesuffix("%")) == pytest.approx(20, abs=5)
        assert 50 <= milliseconds(column(screen, "p50")["b.example"]) <= 250
        assert milliseconds(column(screen, "p50")["a.example"]) < 50

        terminal.keys(">", ">")
        screen = terminal.shows("5xx ↓")
        assert list(column(screen, "5xx")) == ["b.example", "a.example"]
        terminal.keys("r")
        screen = terminal.shows("5xx ↑")
        assert list(column(screen, "5xx")) == ["a.example", "b.example"]
        terminal.keys("3")
        terminal.shows("labels", "a.example GET 404", "b.example GET 500")
        terminal.keys("4")
        terminal.shows("worker ↑", "uptime", "Lua mem")
        terminal.keys("2")
        terminal.shows("No request to an upstream is counted")
        terminal.keys("1", "Space")
        terminal.shows("PAUSED")
        terminal.keys("Space")
        terminal.resize(40, 14)
        terminal.until(lambda seen: "PAUSED" not in seen and "out B/s" not in seen and "5xx" in seen, "a narrow table")
        terminal.resize(80, 24)

        with in_its_place(busy.socket_path):
            terminal.shows("socket: down", "! The socket does not lead to this collector", "sudo resty-metrics doctor")
        terminal.until(lambda seen: "socket: up" in seen and "does not lead" not in seen, "the warning's end")

        busy.kill()
        terminal.shows("! cannot read the page", "cannot connect: connection refused", "a.example")
        busy.start()
        terminal.until(lambda seen: "cannot read" not in seen and "socket: up" in seen, "the page again")

        terminal.keys("q")
        screen = terminal.shows("ENDED 0")
        assert "a.example" not in screen
        assert "Traceback" not in screen


def test_once_in_a_pipe(busy: Collector) -> None:
    done = run(*command(busy, "--once", "--interval=4s", "--sort=5xx"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert list(column(done.stdout, "5xx")) == ["b.example", "a.example"]


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_once_for_somebody_who_reads_nothing(busy: Collector, form: tuple[str, ...]) -> None:
    words = [*command(busy, "--once", "--interval=1s", *form)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 0


def test_json_over_a_unix_socket(busy: Collector, directory: Path) -> None:
    done = run(COMMAND, "top", f"--url=unix:{directory}/web.sock", "--json", "--interval=4s", "--view=rows")
    assert (done.returncode, done.stderr) == (0, "")
    value = json.loads(done.stdout)
    assert value["seconds"] == pytest.approx(4, abs=0.5)
    rates = {row["labels"]: row["rate"] for row in value["rows"]}
    assert rates.keys() == {"a.example GET 200", "a.example GET 404", "b.example GET 200", "b.example GET 500"}
    assert value["total"]["rate"] == pytest.approx(RATE_A + RATE_B, rel=0.4)
    assert sum(rates.values()) == pytest.approx(value["total"]["rate"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_refused_user_and_a_refused_file_are_named(directory: Path, tmp_path: Path) -> None:
    """By a real nginx of that user, and a real reload; the command can be run as it stands."""
    port, configuration = free_port(), tmp_path / "resty-metrics.yml"
    configuration.write_text("socket: {}\n")
    site = f"server {{ listen 127.0.0.1:{port}; location / {{ return 200; }} }}"
    nginx = Nginx(directory / "refusing.sock", f"include {{share}}/nginx.conf.d/lifecycle.conf;\n{site}", workers=1)
    nginx.conf.write_text(nginx.conf.read_text().replace("user www-data;", "user daemon;"))
    with Collector(directory / "refusing.sock", f"--config.file={configuration}") as collector, nginx:
        configuration.write_text("nonsense: 1\n")
        collector.signal(signal.SIGHUP)
        wait_until(
            lambda: collector.value("resty_metrics_refused_file", file=str(configuration), kind="settings"),
            20,
            "the file",
        )
        wait_until(lambda: collector.value("resty_metrics_refused_user", uid="1", user="daemon"), 40, "the user")
        seen = json.loads(run(*command(collector, "--json", "--interval=6s")).stdout)
    warnings = {warning["name"]: warning for warning in seen["warnings"]}
    refusals, refused = warnings["RestyMetricsRefusals"], warnings["RestyMetricsConfigRefused"]
    assert re.search(r"refuses datagrams: \d+ datagrams? of daemon \(uid 1\)$", refusals["seen"])
    assert refusals["remedy"].startswith("If daemon (uid 1) runs nginx's workers")
    assert refused["seen"].endswith(f": {configuration}")
    check = f"resty-metrics check-config {configuration}"
    assert check in refused["remedy"]
    checked = run(COMMAND, *check.split()[1:])
    assert checked.returncode == 1
    assert "nonsense" in checked.stderr


def test_a_site_that_fails_has_its_warning_and_its_mark(busy: Collector) -> None:
    """b.example answers one request in three with 500, a.example none."""
    done = run(*command(busy, "--once", "--interval=6s"))
    found = " ".join(done.stdout.split())
    assert re.search(r"! Requests fail: answers with 5xx over the last 6(\.\d)? s: b\.example: 3\d", found)
    marked = {server: cell.startswith("!") for server, cell in column(done.stdout, "5xx").items()}
    assert marked == {"b.example": True, "a.example": False}


def test_the_collector_of_this_machine_is_found(busy: Collector) -> None:
    done = run(COMMAND, "top", f"--socket.path={busy.socket_path}", "--json", "--interval=500ms")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["url"] == f"{busy.url}/metrics"


def test_no_colours_where_they_are_not_wanted(busy: Collector, directory: Path) -> None:
    with Tmux(directory, command(busy), environment={"NO_COLOR": "1"}) as terminal:
        terminal.shows("socket: up")
        assert not COLOURED.search(terminal.screen(colours=True))


def test_it_ends_when_it_is_told_to(busy: Collector, directory: Path) -> None:
    """And the terminal is as it was: what is typed is echoed, and Ctrl-Z gave the shell its screen back."""
    with Tmux(directory, ["bash", "--norc", "-i"]) as terminal:
        terminal.keys(" ".join(command(busy)), "Enter")
        terminal.shows("socket: up")
        terminal.keys("C-z")
        terminal.shows("Stopped")
        terminal.keys("fg", "Enter")
        terminal.shows("socket: up")
        terminal.keys("C-c")
        terminal.until(lambda seen: "socket: up" not in seen, "the shell's screen")
        terminal.keys("echo status $?; stty -a | grep -o -e ' icanon' -e ' echo '", "Enter")
        terminal.shows("status 0", "\n icanon", "\n echo")


# what goes wrong ------------------------------------------------------------------------------------------------------


def test_nobody_there() -> None:
    done = run(COMMAND, "top", f"--url=http://127.0.0.1:{free_port()}", "--once")
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot read the page" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_another_page(busy: Collector) -> None:
    done = run(COMMAND, "top", f"--url={busy.url}/-/ready", "--once")
    assert (done.returncode, done.stdout) == (1, "")
    assert "is not a page of resty-metrics" in done.stderr


WRONG = [
    (("--view=all",), "--view"),
    (("--once", "--sort=peer"), "The columns of servers are server, rate, 4xx"),
    (("--once", "--interval=1ms"), "--interval"),
    (("--once", "--url=host:19145"), "--url"),
    (("--once", "--url=http://h/", "--tls.ca-file=/ca.pem"), "https://"),
    (("--once", "--url=http://h/", "--basic-auth.username=a"), "--basic-auth.password-file"),
    ((), "standard output is not a terminal: give --once"),
]


@pytest.mark.parametrize(("words", "named"), WRONG)
def test_what_is_wrong_is_named(words: tuple[str, ...], named: str) -> None:
    done = CliRunner().invoke(main, ["top", *words])
    assert (done.exit_code, done.stdout) == (2, "")
    assert named in done.stderr


def test_a_guarded_page(directory: Path, tmp_path: Path) -> None:
    """With TLS of its own authority and a user; which address it has is what the collector says."""
    authority = Authority(tmp_path)
    shown = authority.issue("127.0.0.1", "IP:127.0.0.1")
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    guard, password = tmp_path / "web.yml", tmp_path / "password"
    password.write_text("secret\n")
    guard.write_text(
        f"tls_server_config: {{cert_file: {shown.certificate}, key_file: {shown.key}}}\n"
        f"basic_auth_users: {{reader: {hashed}}}\n"
    )
    guarded = f"--web.config.file={guard}"
    context = ssl.create_default_context(cafile=authority.file)
    with Collector(directory / "guarded.sock", guarded, tls=context, user=("reader", "secret")) as collector:
        words = (COMMAND, "top", f"--socket.path={collector.socket_path}", "--json", "--interval=500ms")
        trusting = (*words, f"--tls.ca-file={authority.file}")
        done = run(*trusting, "--basic-auth.username=reader", f"--basic-auth.password-file={password}")
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["url"] == f"https://127.0.0.1:{collector.port}/metrics"
        for command, seen, remedy in (
            (trusting, "HTTP status 401", "--basic-auth"),
            (words, "verify", "--tls.ca-file"),
        ):
            refused = run(*command)
            assert refused.returncode == 1
            assert seen in refused.stderr
            assert remedy in refused.stderr.partition(" -> ")[2]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("secret", ["--basic-auth.password-file", "--bearer-token-file"])
def test_no_secret_is_sent_where_another_user_says_that_the_page_is(tmp_path: Path, secret: str) -> None:
    """Whoever may hold a lock may say so; with the URL it is the operator's own word."""
    (tmp_path / "secret").write_text("hunter2")
    own = shared_directory()
    os.chown(own, 65534, 65534)
    try:
        with Collector(own / "c.sock", under=as_user(NOBODY)) as theirs:
            words = [COMMAND, "top", "--once", "--interval=500ms", f"--socket.path={theirs.socket_path}"]
            assert run(*words).returncode == 0
            words.append(f"{secret}={tmp_path}/secret")
            if "basic" in secret:
                words.append("--basic-auth.username=reader")
            refused = run(*words)
            assert refused.returncode == 2
            assert f"--url={theirs.url}/metrics" in refused.stderr
            assert run(*words, f"--url={theirs.url}/metrics").returncode == 0
    finally:
        subprocess.run(["rm", "-rf", str(own)], check=True)


def test_each_flag_and_key_is_documented() -> None:
    text = (ROOT / "docs" / "top.md").read_text()
    flags = [option.opts[0] for option in top.params if isinstance(option, click.Option)]
    assert [flag for flag in flags if f"`{flag}`" not in text] == []
    for name, columns in COLUMNS.items():
        assert f"| `{name}` |" in text
        assert " ".join(f"`{one.key}`" for one in columns) in text


def test_a_page_that_nobody_serves_names_only_what_was_given(directory: Path) -> None:
    path, port = directory / "none.sock", free_port()
    by_socket = run(COMMAND, "top", "--once", f"--socket.path={path}", f"--web.listen-address=127.0.0.1:{port}")
    by_url = run(COMMAND, "top", "--once", f"--url=http://127.0.0.1:{port}")
    assert (by_socket.returncode, by_url.returncode) == (1, 1)
    assert f"sudo resty-metrics doctor --socket.path={path}" in by_socket.stderr
    assert "--url" not in by_socket.stderr
    assert "--url is right" in by_url.stderr
