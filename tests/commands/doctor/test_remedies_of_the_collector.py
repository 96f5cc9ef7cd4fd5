"""Each remedy about the collector, its files and its sources that is a command or an edit, applied as it is printed."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from support.collector import COMMAND, Collector
from support.doctor import bad, diagnose, heard_of, site
from support.nginx import Nginx
from support.remedy import remedy, sh
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow


def healthy(collector: Collector, nginx: Nginx) -> None:
    wait_until(lambda: bad(diagnose(collector.socket_path, nginx)) == set(), 20, "health")


def test_a_collector_that_ran_before(collector: Collector, nginx: Nginx) -> None:
    """With its own flags: its journal goes on."""
    address = f"--web.listen-address=127.0.0.1:{collector.port}"
    collector.terminate()
    words = remedy(diagnose(collector.socket_path, nginx, address), "collector.process")
    assert words.startswith("start it as it was started before")
    collector.start()
    heard_of(collector)
    healthy(collector, nginx)


def test_a_socket_that_was_removed_comes_back(collector: Collector, nginx: Nginx) -> None:
    """The remedy is to wait, not to restart."""
    collector.socket_path.unlink()
    healthy(collector, nginx)


def test_one_of_several_collectors(socket_path: Path) -> None:
    with Collector(socket_path) as collector, Collector(socket_path.with_name("second.sock")):
        words = remedy(diagnose(None, None), "collector.process")
        flag = re.search(rf"--socket\.path={re.escape(str(socket_path))}", words)
        assert flag is not None
        found = diagnose(None, None, flag[0])
        assert found.report["collector"]["pid"] == collector.pid
        assert "collector.process" not in bad(found)


def test_a_file_that_is_wrong(socket_path: Path) -> None:
    file = socket_path.with_name("own.yml")
    file.write_text("log: {level: info}\n")
    with Collector(socket_path, f"--config.file={file}") as collector, Nginx(socket_path, site()) as nginx:
        heard_of(collector)
        file.write_text("log: {level: wrong}\n")
        words = remedy(diagnose(socket_path, nginx), "collector.configuration")
        check, reload = (bracket[1:-1] for bracket in _brackets(words))
        assert _fails(check)
        file.write_text("log: {level: info}\n")
        sh(check)
        sh(reload)
        healthy(collector, nginx)


def test_a_file_that_was_refused(socket_path: Path) -> None:
    """As the collector reports it, beside a file that is right again."""
    file = socket_path.with_name("own.yml")
    file.write_text("log: {level: info}\n")
    with Collector(socket_path, f"--config.file={file}") as collector, Nginx(socket_path, site()) as nginx:
        heard_of(collector)
        file.write_text("log: {level: wrong}\n")
        sh(f"kill -HUP {collector.pid}")
        wait_until(lambda: str(file) in collector.page("/-/ready"), message="the refusal")
        file.write_text("log: {level: info}\n")
        words = remedy(diagnose(socket_path, nginx), "page.configuration")
        (check,) = (bracket[1:-1] for bracket in _brackets(words))
        assert check == f"resty-metrics check-config {file}"
        sh(check)
        reload = re.search(r"kill -HUP \d+", words)
        assert reload is not None
        assert reload[0] == f"kill -HUP {collector.pid}"
        sh(reload[0])
        healthy(collector, nginx)


def _brackets(words: str) -> list[str]:
    return re.findall(r"\([^()]*\)", words)


def _fails(command: str) -> bool:
    words = command.replace("resty-metrics ", f"{COMMAND} ")
    return subprocess.run(shlex.split(words), capture_output=True, check=False).returncode != 0


STATUS = (
    "location = /status { stub_status; } location = /denied { deny all; stub_status; } "
    "location = /other { return 200 x; }"
)
SOURCES = [
    ("/status", "start nginx, or correct"),
    ("/denied", "allow this machine"),
    ("/other", "it leads to another page"),
]


@pytest.mark.parametrize(("path", "words"), SOURCES)
def test_a_source_that_cannot_be_read(socket_path: Path, path: str, words: str) -> None:
    http = site(STATUS)
    right = f"http://127.0.0.1:{http.partition('listen 127.0.0.1:')[2].partition(';')[0]}"
    wrong = f"http://127.0.0.1:{free_port()}" if path == "/status" else right
    with Nginx(socket_path, http) as nginx:
        with Collector(socket_path, f"--source.stub-status={wrong}{path}"):
            assert words in remedy(diagnose(socket_path, nginx), "source.stub_status")
        with Collector(socket_path, f"--source.stub-status={right}/status") as collector:
            heard_of(collector)
            healthy(collector, nginx)


def test_a_state_directory_that_was_removed(collector: Collector, nginx: Nginx) -> None:
    """The collector may be faster than the one who applies the remedy."""
    words: list[str] = []

    def lost() -> bool:
        found = diagnose(collector.socket_path, nginx)
        if "journal" in bad(found):
            words.append(remedy(found, "journal"))
        return bool(words)

    shutil.rmtree(collector.state_dir)
    wait_until(lost, 30, "the lost journal")
    assert "create the directory again" in words[0]
    collector.state_dir.mkdir(exist_ok=True)
    wait_until(lambda: bad(diagnose(collector.socket_path, nginx)) == set(), 60, "health")
