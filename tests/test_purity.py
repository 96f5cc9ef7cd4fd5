"""The core does no I/O: the modules that are not named as the shell import nothing of the world outside."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.nginx import ROOT

COLLECTOR = ROOT / "collector" / "resty_metrics"
SHELL = {
    "__main__.py", "app.py", "commands/check_config.py", "commands/cli.py", "commands/client/choice.py",
    "commands/client/fetch.py", "commands/cost/command.py", "commands/cost/session.py",
    "commands/doctor/examination.py",
    "commands/doctor/observe/collector.py", "commands/doctor/observe/nginx.py",
    "commands/doctor/observe/nginx_commands.py", "commands/doctor/observe/nginx_lua.py",
    "commands/doctor/observe/probe.py",
    "commands/doctor/observe/security.py", "commands/doctor/observe/web.py", "commands/doctor/settings.py",
    "commands/doctor/watch/__init__.py", "commands/doctor/watch/connector.py", "commands/doctor/watch/fanotify.py",
    "commands/doctor/watch/holder.py", "commands/doctor/watch/levels.py", "commands/doctor/watch/observer.py",
    "commands/doctor/watch/output.py", "commands/doctor/watch/session.py", "commands/healthcheck.py",
    "commands/install/commands.py", "commands/install/error_logs.py", "commands/install/export.py",
    "commands/install/flow.py", "commands/install/interruption.py", "commands/install/nginx.py",
    "commands/install/package.py", "commands/install/privilege.py", "commands/install/prospect.py",
    "commands/install/request.py", "commands/install/transaction.py",
    "commands/options.py", "commands/top/looking.py", "commands/top/session.py", "commands/top/terminal.py",
    "config/file.py", "config/load.py", "endpoint/binding.py", "endpoint/credentials.py",
    "endpoint/descriptors.py", "endpoint/guard.py", "endpoint/probe.py",
    "ingest/listener.py", "journal/expiring.py", "journal/files.py", "journal/journal.py",
    "journal/private.py", "journal/reading.py",
    "journal/recovery.py", "journal/safe_count.py", "journal/store.py", "journal/tenure.py", "journal/turns.py",
    "journal/writer.py", "kernel/attribution.py", "kernel/namespaces.py", "kernel/paths.py", "kernel/processes.py",
    "kernel/sock_diag.py", "kernel/users.py", "live/sampler.py",
    "observer/observer.py", "observer/users.py", "page/process_metrics.py", "page/scrape.py",
    "page/showing.py", "page/waiting.py", "process/authorities.py", "process/backlog.py",
    "process/ending.py", "process/files.py",
    "process/hangup.py", "process/late.py", "process/lock.py", "process/log.py", "process/passage.py",
    "process/service_manager.py", "process/standard_streams.py", "process/tuning.py", "reload.py",
    "sources/client.py", "sources/credentials.py", "sources/fetch.py", "sources/resolver.py",
    "sources/source_metrics.py", "sources/threads.py", "web/connection.py", "web/door.py", "web/front.py",
    "web/library.py", "web/link.py", "web/listening.py", "web/policy.py", "web/secure.py", "web/server.py",
    "web/tls.py", "web/users.py",
}  # fmt: skip
SHELL_MODULES = tuple(f"resty_metrics.{name.removesuffix('.py').replace('/', '.')}." for name in SHELL)
OUTSIDE = {
    "aiohttp", "asyncio", "concurrent", "datetime", "fcntl", "http", "importlib", "io", "logging", "multiprocessing",
    "os", "random", "secrets", "select", "shutil", "signal", "socket", "sqlite3", "subprocess", "sys", "tempfile",
    "threading", "time", "urllib", "uvloop",
}  # fmt: skip
MODULES = sorted(str(path.relative_to(COLLECTOR)) for path in COLLECTOR.rglob("*.py"))
LUA = ROOT / "lua" / "resty" / "metrics"
PURE_LUA = ("datagram", "decode", "deletion", "encode", "overflow", "prefix", "rows", "sender", "tick")


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
    assert not [one for one in imported(COLLECTOR / name) if f"{one}.".startswith(SHELL_MODULES)]


def test_an_import_of_the_shell_is_found() -> None:
    assert [name for name in imported(COLLECTOR / "app.py") if f"{name}.".startswith(SHELL_MODULES)]


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
