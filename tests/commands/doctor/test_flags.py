"""The flags of a running collector."""

from pathlib import Path

import click
import pytest
from resty_metrics.commands.cli import doctor, serve
from resty_metrics.commands.doctor import flags
from resty_metrics.commands.doctor.settings import merged, own_settings
from resty_metrics.config.load import Inputs
from resty_metrics.sources.source import Tls

SERVE = ("python", "/opt/bin/resty-metrics", "serve")
CASES = [
    ("none", (), {}, {}),
    ("with an equal sign", ("--socket.path=/x",), {}, {"--socket.path": ("/x",)}),
    ("as two words", ("--socket.path", "/x"), {}, {"--socket.path": ("/x",)}),
    ("the last holds", ("--socket.path=/x", "--socket.path=/y"), {}, {"--socket.path": ("/y",)}),
    ("repeatable", ("--source.vts=a", "--source.vts=b"), {}, {"--source.vts": ("a", "b")}),
    ("a variable", (), {"RESTY_METRICS_SOCKET_PATH": "/x"}, {"--socket.path": ("/x",)}),
    ("a repeatable variable", (), {"RESTY_METRICS_SOURCE_VTS": "a b"}, {"--source.vts": ("a", "b")}),
    ("the flag wins", ("--state.dir=/a",), {"RESTY_METRICS_STATE_DIR": "/b"}, {"--state.dir": ("/a",)}),
    ("an empty variable", (), {"RESTY_METRICS_SOCKET_PATH": ""}, {}),
    ("no word behind it", ("--socket.path",), {}, {}),
    ("others are left alone", ("--log.level=debug", "--socket.pathological=1"), {}, {}),
]


@pytest.mark.parametrize(("name", "words", "environment", "expected"), CASES, ids=[one[0] for one in CASES])
def test_flags(
    name: str, words: tuple[str, ...], environment: dict[str, str], expected: dict[str, tuple[str, ...]]
) -> None:
    assert flags.of((*SERVE, *words), environment) == expected


def test_only_serve_collects() -> None:
    assert flags.serves(SERVE)
    assert not flags.serves(("resty-metrics", "-V"))


def options(command: click.Command) -> dict[str, click.Option]:
    return {option.opts[0]: option for option in command.params if isinstance(option, click.Option)}


def test_doctor_has_the_flags_of_serve_that_are_taken() -> None:
    """The same objects, so that name, variable, default and check cannot drift apart."""
    shared = {flag: option for flag, option in options(doctor).items() if options(serve).get(flag) is option}
    assert tuple(shared) == flags.SHARED
    assert {flag for flag in flags.SHARED if options(serve)[flag].multiple} == flags.REPEATABLE
    for flag, option in shared.items():
        assert (option.name, option.envvar) == (flags.name(flag), flags.variable(flag))


def test_its_own_flags() -> None:
    assert set(options(doctor)) - set(flags.SHARED) == {"--nginx.command", "--json", "--problems", "--watch"}


@pytest.mark.parametrize(
    ("text", "expected"), [("true", True), ("1", True), ("y", True), ("false", False), ("0", False)]
)
def test_a_switch_of_the_environment_is_read_as_serve_reads_it(tmp_path: Path, text: str, expected: bool) -> None:
    """By click, which has more words for it than the file. And a path is relative to where the collector started."""
    environment = {
        "RESTY_METRICS_SOURCE_TLS_INSECURE_SKIP_VERIFY": text,
        "RESTY_METRICS_SOURCE_TLS_CA_FILE": "ca.pem",
        "RESTY_METRICS_SOURCE_VTS": "https://h/",
    }
    settings, taken = merged(own_settings(Inputs({}, None), None), flags.of(SERVE, environment), tmp_path, {})
    (source,) = settings.sources
    assert source.connection.tls == Tls(tmp_path / "ca.pem", insecure_skip_verify=expected)
    assert taken["--source.tls.insecure-skip-verify"] == (text,)
