"""The core does no I/O: the modules that are not named as the shell import nothing of the world outside."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.nginx import ROOT

COLLECTOR = ROOT / "collector" / "resty_metrics"
SHELL = {
    "__main__.py", "app.py", "backlog.py", "cli.py", "config/check.py", "config/file.py", "config/load.py",
    "degradation.py", "ending.py", "files.py", "hangup.py", "kept.py", "lock.py", "log.py", "options.py",
    "reload.py", "service_manager.py", "tuning.py", "standard_streams.py",
    "doctor/examination.py", "doctor/settings.py", "doctor/observe/collector.py", "doctor/observe/files.py",
    "doctor/observe/nginx.py", "doctor/observe/probe.py", "doctor/observe/security.py", "doctor/observe/users.py",
    "doctor/observe/web.py",
    "doctor/watch/__init__.py", "doctor/watch/connector.py", "doctor/watch/fanotify.py", "doctor/watch/holder.py",
    "doctor/watch/levels.py", "doctor/watch/observer.py", "doctor/watch/output.py", "doctor/watch/session.py",
    "ingest/credentials.py", "ingest/descriptors.py", "ingest/endpoint.py", "ingest/guard.py", "ingest/listener.py",
    "ingest/passage.py", "ingest/probe.py",
    "install/commands.py", "install/error_logs.py", "install/export.py", "install/flow.py",
    "install/interruption.py", "install/nginx.py", "install/package.py", "install/request.py", "install/transaction.py",
    "journal/files.py", "journal/journal.py", "journal/private.py", "journal/reading.py", "journal/recovery.py",
    "journal/safe_count.py", "journal/store.py", "journal/turns.py", "journal/writer.py",
    "kernel/attribution.py", "kernel/namespaces.py", "kernel/processes.py", "kernel/sock_diag.py",
    "page/process.py",
    "sources/client.py", "sources/credentials.py", "sources/fetch.py", "sources/report.py",
    "sources/resolver.py", "sources/threads.py",
    "top/looking.py", "top/session.py", "top/terminal.py", "top/told.py",
    "web/connection.py", "web/door.py", "web/front.py", "web/health.py", "web/library.py", "web/link.py",
    "web/listening.py", "web/live.py", "web/policy.py", "web/scrape.py", "web/secure.py", "web/server.py",
    "web/tls.py", "web/users.py", "web/waiting.py",
}  # fmt: skip
OUTSIDE = {
    "aiohttp", "asyncio", "concurrent", "datetime", "fcntl", "http", "importlib", "io", "logging", "multiprocessing",
    "os", "random", "secrets", "select", "shutil", "signal", "socket", "sqlite3", "subprocess", "sys", "tempfile",
    "threading", "time", "urllib", "uvloop",
}  # fmt: skip
MODULES = sorted(str(path.relative_to(COLLECTOR)) for path in COLLECTOR.rglob("*.py"))
LUA = ROOT / "lua" / "resty" / "metrics"
PURE_LUA = ("datagram", "decode", "encode", "rows", "stream")


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def pure() -> list[str]:
    return [name for name in MODULES if name not in SHELL]


def test_the_shell_exists() -> None:
    assert set(MODULES) >= SHELL


@pytest.mark.parametrize("name", pure())
def test_a_pure_module_imports_nothing_of_the_world(name: str) -> None:
    names = set(imported(COLLECTOR / name))
    assert not {one.partition(".")[0] for one in names} & OUTSIDE


@pytest.mark.parametrize("name", pure())
def test_a_pure_module_imports_nothing_of_the_shell(name: str) -> None:
    """It would come by the world through the back door."""
    shell = tuple(f"resty_metrics.{name.removesuffix('.py').replace('/', '.')}." for name in SHELL)
    assert not [one for one in imported(COLLECTOR / name) if f"{one}.".startswith(shell)]


WORLDLY = [
    "import os",
    "import os.path",
    "from time import monotonic",
    "def f():\n    import asyncio",
    "import io as x",
]


@pytest.mark.parametrize("code", WORLDLY)
def test_an_import_is_found_wherever_it_stands(tmp_path: Path, code: str) -> None:
    (tmp_path / "code.py").write_text(code)
    assert {one.partition(".")[0] for one in imported(tmp_path / "code.py")} & OUTSIDE


@pytest.mark.parametrize("name", pure())
def test_a_pure_module_opens_no_file(name: str) -> None:
    calls = [node.func for node in ast.walk(ast.parse((COLLECTOR / name).read_text())) if isinstance(node, ast.Call)]
    assert "open" not in [call.id for call in calls if isinstance(call, ast.Name)]


@pytest.mark.parametrize("name", PURE_LUA)
def test_a_pure_lua_module_does_not_know_nginx(name: str) -> None:
    code = "\n".join(line.partition("--")[0] for line in (LUA / f"{name}.lua").read_text().splitlines())
    assert "ngx" not in code
