"""The list of the settings: what is written beside it is held to it, and the next setting is an entry of it."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import resty_metrics
import yaml
from resty_metrics.config import names
from resty_metrics.config.declaration import Readers, Setting
from resty_metrics.config.declared import FLAGS, LISTS, SETTINGS, SOURCE, SOURCE_FLAGS
from resty_metrics.config.settings import Settings
from resty_metrics.config.values import read_file_path, read_state_dir
from resty_metrics.sources.source import build, parts

READERS = Readers(int, read_state_dir, read_file_path)


def default_of(setting: Setting) -> Any:
    if setting.default is None:
        return () if setting.repeatable else None
    value = setting.reader(READERS)(setting.default)
    return (value,) if setting.repeatable else value


def test_each_has_a_field() -> None:
    declared = {setting.name for setting in SETTINGS} | {listed.key for listed in LISTS}
    assert {field.name for field in fields(Settings)} == declared


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_a_field_and_its_flag(setting: Setting) -> None:
    """The default of the field is the text of the entry, and a flag has the field's name."""
    assert getattr(Settings(), setting.name) == default_of(setting)
    assert setting.flag is not None
    assert names.name(setting.flag) == setting.name


def test_no_flag_and_no_key_is_declared_twice() -> None:
    assert len({setting.key for setting in SETTINGS}) == len(SETTINGS)
    assert len({setting.key for setting in SOURCE}) == len(SOURCE)
    flags = [setting.flag for setting in (*SETTINGS, *SOURCE_FLAGS, *SOURCE) if setting.flag is not None]
    assert len(FLAGS) == len(flags) + 1  # and --config.file


NEEDED = {"kind": "vts", "url": ("http://h/", None)}
FULL = {
    **NEEDED,
    "basic_auth.username": "u",
    "basic_auth.password_file": Path("p"),
    "authorization.credentials_file": Path("t"),
}


def test_each_key_of_a_source_is_a_part_of_it() -> None:
    """And the other way round: no field of a source is without a key."""
    assert set(parts(build(FULL))) == {setting.key for setting in SOURCE}
    assert parts(build(FULL)).items() >= {**FULL, "url": "http://h/"}.items()


@pytest.mark.parametrize(
    "setting", [setting for setting in SOURCE if not setting.needed], ids=lambda setting: setting.key
)
def test_the_default_of_a_key_of_a_source(setting: Setting) -> None:
    assert parts(build(FULL))[setting.key] == default_of(setting)


# The next setting -----------------------------------------------------------------------------------------------------

# Module, what stands there, and what is written before it: an entry, for whose text there is a reader, and its field.
WRITTEN = [
    (
        "config/declared.py",
        '    _setting("log.level",',
        '    _setting("log.colour", _words("never", "always"), "never", "Colour of a log line.", commands=_DOCTOR),\n',
    ),
    ("config/settings.py", "    log_level: str", '    log_colour: str = "never"\n'),
    (
        "config/declared.py",
        '    _of_source("host",',
        '    _of_source("attempts", _LIMIT, "1", "How often.", "attempts"),\n'
        '    _of_source("tls_config.crl_file", _FILE, None, "Revoked certificates.", "tls.crl-file"),\n',
    ),
    ("sources/source.py", "    timeout: float = ", "    attempts: int = 1\n"),
    ("sources/source.py", "    ca_file: Path", "    crl_file: Path | None = None\n"),
]
QUESTIONS = """
import json
from resty_metrics.commands.cli import doctor, healthcheck, serve
from resty_metrics.commands.doctor import flags
from resty_metrics.reload import RESTART
named = [[option.opts[0] for option in command.params] for command in (serve, doctor, healthcheck)]
print(json.dumps([["--log.colour" in flags for flags in named], RESTART["log_colour"],
    flags.of(["serve", "--log.colour=always"], {})]))
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collector with settings more, one of its own and two of a source."""
    root = tmp_path_factory.mktemp("next")
    collector = root / "resty_metrics"
    shutil.copytree(Path(resty_metrics.__file__).parent, collector, ignore=shutil.ignore_patterns("__pycache__"))
    for module, stands, written in WRITTEN:
        code = (collector / module).read_text()
        assert code.count(stands) == 1
        (collector / module).write_text(code.replace(stands, written + stands))
    return root


def python(package: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    variables = {**os.environ, "PYTHONPATH": str(package), **environment}
    return subprocess.run(
        [sys.executable, *arguments], env=variables, cwd=package, capture_output=True, text=True, timeout=60
    )


def check(package: Path, *arguments: str, **environment: str) -> Any:
    done = python(package, "-m", "resty_metrics", "check-config", *arguments, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    return yaml.safe_load(done.stdout)


def test_the_next_setting_is_a_key_a_variable_and_a_flag(package: Path, tmp_path: Path) -> None:
    assert check(package)["log"] == {"colour": "never", "level": "info", "format": "logfmt"}
    file = tmp_path / "resty-metrics.yml"
    file.write_text("log: {colour: always}\n")
    assert check(package, str(file))["log"]["colour"] == "always"
    assert check(package, str(file), RESTY_METRICS_LOG_COLOUR="never")["log"]["colour"] == "never"
    assert check(package, "--log.colour=always", RESTY_METRICS_LOG_COLOUR="never")["log"]["colour"] == "always"


def test_the_next_key_of_a_source(package: Path, tmp_path: Path) -> None:
    (tmp_path / "revoked").touch()
    file = tmp_path / "resty-metrics.yml"
    file.write_text("sources: [{kind: vts, url: 'https://h/', attempts: 3, tls_config: {crl_file: revoked}}]\n")
    flags = ("--source.vts=https://h/", "--source.attempts=3", f"--source.tls.crl-file={tmp_path}/revoked")
    for arguments in ((str(file),), flags):
        (source,) = check(package, *arguments)["sources"]
        assert (source["attempts"], source["tls_config"]) == (3, {"crl_file": f"{tmp_path}/revoked"})
    assert check(package, "--source.vts=http://h/")["sources"][0]["attempts"] == 1
    assert "--tls.crl-file PATH" in python(package, "-m", "resty_metrics", "top", "--help").stdout


def test_what_is_wrong_with_the_next_setting(package: Path, tmp_path: Path) -> None:
    file = tmp_path / "resty-metrics.yml"
    file.write_text("log:\n  colour: sometimes\n")
    done = python(package, "-m", "resty_metrics", "check-config", str(file))
    assert (done.returncode, done.stderr) == (
        1,
        f"{file}:2: log.colour: 'sometimes': give one of never, always\n",
    )
    file.write_text("log:\n  color: always\n")
    done = python(package, "-m", "resty_metrics", "check-config", str(file))
    assert done.stderr == f"{file}:2: log.color: unknown key. Did you mean log.colour?\n"
    done = python(package, "-m", "resty_metrics", "check-config", RESTY_METRICS_LOG_COLOR="always")
    assert done.stderr == "RESTY_METRICS_LOG_COLOR: unknown setting. Did you mean RESTY_METRICS_LOG_COLOUR?\n"


def test_who_else_knows_the_next_setting(package: Path) -> None:
    """Help, doctor, which takes it from a running collector, and reload, which says that it needs a restart."""
    done = python(package, "-c", QUESTIONS)
    assert json.loads(done.stdout) == [[True, True, False], "--log.colour", {"--log.colour": ["always"]}]
    shown = python(package, "-m", "resty_metrics", "serve", "--help").stdout
    assert "--log.colour [never|always]" in shown
    assert "Each option can also be set by an environment variable" in shown
