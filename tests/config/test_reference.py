"""docs/configuration.md: every key, flag, variable and default, held against what the code has."""

import re

import click
import pytest
import yaml
from resty_metrics.commands.cli import check_config, serve
from resty_metrics.config.declaration import Readers
from resty_metrics.config.declared import SETTINGS, SOURCE, keys
from resty_metrics.config.names import variable
from resty_metrics.config.read import read
from resty_metrics.config.settings import Settings
from resty_metrics.config.show import as_yaml
from resty_metrics.config.values import read_file_path, read_state_dir
from resty_metrics.reload import RESTART
from resty_metrics.sources.errors import REASONS
from resty_metrics.sources.source import DEFAULT_TIMEOUT, Source
from support.nginx import ROOT

OF_SOURCES = {setting.flag: setting.key for setting in SOURCE if setting.flag}
TEXT = (ROOT / "docs" / "configuration.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.partition("\n| key |")[2].partition("\n\n")[0].splitlines()[2:]
]


def flags() -> list[str]:
    return [option.opts[0] for option in serve.params if isinstance(option, click.Option)]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_every_key_has_a_row() -> None:
    assert sorted(key for row in ROWS for key in quoted(row[0])) == sorted(keys())


def test_every_flag_has_a_row_with_its_variable() -> None:
    listed = {flag: name for row in ROWS for flag, name in zip(quoted(row[3]), quoted(row[4]), strict=False)}
    documented = {flag: name for flag, name in listed.items() if flag.startswith("--")}
    assert documented == {flag: variable(flag) for flag in flags()}
    for option in serve.params:
        assert isinstance(option, click.Option)
        assert option.envvar == variable(option.opts[0])


@pytest.mark.parametrize("row", [row for row in ROWS if row[0]], ids=lambda row: row[0])
def test_the_default_and_whether_it_is_repeatable(row: list[str]) -> None:
    key, *_ = quoted(row[0])
    section, _, name = key.partition(".")
    if section != "sources[]":
        default = yaml.safe_load(as_yaml(Settings()))[section].get(name)
        assert quoted(row[2]) == [
            str(value) for value in (default if isinstance(default, list) else [default]) if value
        ]
        (flag,) = quoted(row[3])
        (option,) = [value for value in serve.params if flag in value.opts]
        assert isinstance(option, click.Option)
        assert option.multiple == row[3].endswith(", repeatable")
    elif name == "derived":
        assert quoted(row[2]) == [str(Source("vts", None, "", None).derived).lower()]
    elif name == "timeout":
        assert quoted(row[2]) == [f"{DEFAULT_TIMEOUT:g}s"]


def test_each_row_is_as_declared() -> None:
    """Flag, whether it is repeatable, and the default; that of a switch is off, in one word or another."""
    rows = {quoted(row[0])[0]: row for row in ROWS if row[0]}
    declared = {setting.key: setting for setting in SETTINGS} | {
        f"sources[].{setting.key}": setting for setting in SOURCE
    }
    for key, setting in declared.items():
        _, _, default, flag, _ = rows[key]
        if setting.flag is not None:
            assert quoted(flag) == [setting.flag]
            assert flag.endswith(", repeatable") == setting.repeatable
        if setting.needed and "." not in setting.key:
            assert default == "needed"
        elif not setting.switch:
            assert quoted(default) == ([] if setting.default is None else [setting.default]), key


def test_what_needs_a_restart() -> None:
    (sentence,) = re.findall(
        r"^A reload .+?, except for (.+?), which need a restart\.$", TEXT, re.MULTILINE | re.DOTALL
    )
    assert quoted(sentence) == [setting.key for setting in SETTINGS if not setting.reloadable]
    assert list(RESTART.values()) == [setting.flag for setting in SETTINGS if not setting.reloadable]


def test_the_flag_of_a_connection_stands_with_its_key() -> None:
    listed = {flag: quoted(row[0]) for row in ROWS for flag in quoted(row[3])}
    assert {flag: listed[flag] for flag in OF_SOURCES} == {
        flag: [f"sources[].{key}"] for flag, key in OF_SOURCES.items()
    }


def test_every_reason_is_there() -> None:
    table = TEXT.partition("| reason | |")[2]
    assert sorted(re.findall(r"^\| `(\w+)` ", table, re.MULTILINE)) == sorted(REASONS)


def test_check_config_takes_what_serve_takes() -> None:
    assert [parameter for parameter in check_config.params if isinstance(parameter, click.Option)] == serve.params


def test_the_example_is_right() -> None:
    example = re.search(r"\n((?:    .*\n)*    socket:\n(?:    .*\n)+)", TEXT)
    assert example is not None
    text = re.sub(r"^    ", "", example[1], flags=re.MULTILINE)
    _, document = read(text, Readers(lambda _: 1, read_state_dir, read_file_path))
    assert document.problems == []
    assert len(document.tree["sources"]) == 2
