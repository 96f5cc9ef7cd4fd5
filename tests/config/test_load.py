"""What flags, environment and file say together, and again whenever it is asked for."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from resty_metrics.commands.cli import main
from resty_metrics.config.declared import SOURCE
from resty_metrics.config.file import read_file
from resty_metrics.config.flags import layer
from resty_metrics.config.load import Inputs, load
from resty_metrics.config.names import variable
from resty_metrics.config.problem import ConfigError
from resty_metrics.config.settings import Settings, merged
from resty_metrics.config.show import as_yaml
from resty_metrics.config.values import TcpAddress, UnixAddress
from resty_metrics.sources.source import Authorization, BasicAuth, Connection, Source, Tls, parse_source
from support.certificates import Authority
from support.collector import COMMAND

OF_SOURCES = [setting.flag for setting in SOURCE if setting.flag]
EVERYTHING = """
socket:
  path: /run/x/c.sock
  mode: 0640
  allow_uid: [daemon, 1000]
state:
  dir: none
rows:
  expire: 6h
web:
  listen_address: ["127.0.0.1:1", "[::1]:2", "unix:/run/x/web.sock", ":3"]
  telemetry_path: /numbers
  config_file: web.yml
log:
  level: debug
  format: json
sources:
  - kind: vts
    name: edge
    url: https://edge.example:8443/vts/format/json
    timeout: 1500ms
    derived: false
    host: status.example
    tls_config:
      ca_file: tls/ca.pem
      cert_file: /tls/cert.pem
      key_file: tls/key.pem
      server_name: inner.example
      insecure_skip_verify: true
    basic_auth:
      username: someone
      password_file: password
  - kind: stub_status
    url: unix:/run/x/nginx.sock:/stub_status
    authorization:
      credentials_file: token
"""


def settings_of(directory: Path) -> Settings:
    edge = Connection(
        1.5,
        "status.example",
        Tls(directory / "tls/ca.pem", Path("/tls/cert.pem"), directory / "tls/key.pem", "inner.example", True),
        basic_auth=BasicAuth("someone", directory / "password"),
    )
    inner = Connection(authorization=Authorization(directory / "token"))
    return Settings(
        Path("/run/x/c.sock"),
        0o640,
        (1, 1000),
        None,
        21_600.0,
        (
            Source("vts", "edge", "https://edge.example:8443/vts/format/json", None, edge, False),
            Source("stub_status", None, "http://localhost/stub_status", "/run/x/nginx.sock", inner),
        ),
        (
            TcpAddress("127.0.0.1", 1),
            TcpAddress("::1", 2),
            UnixAddress(Path("/run/x/web.sock")),
            TcpAddress(None, 3),
        ),
        "/numbers",
        directory / "web.yml",
        "debug",
        "json",
    )


def written(directory: Path, text: str) -> Path:
    path = directory / "resty-metrics.yml"
    path.write_text(text)
    return path


def test_every_key_of_the_file_is_a_setting(tmp_path: Path) -> None:
    """Relative paths are those beside the file."""
    assert load(Inputs({}, written(tmp_path, EVERYTHING))) == settings_of(tmp_path)


def test_what_is_shown_reads_back_the_same(tmp_path: Path) -> None:
    for settings in (Settings(), settings_of(tmp_path)):
        assert load(Inputs({}, written(tmp_path, as_yaml(settings)))) == settings


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    assert load(Inputs({}, written(tmp_path, ""))) == Settings()


def test_it_is_read_anew_each_time(tmp_path: Path) -> None:
    """And what flags say holds whatever the file says then; one that is wrong changes nothing of that."""
    inputs = Inputs({"log_level": "error"}, written(tmp_path, "log: {format: json}"))
    assert (load(inputs).log_level, load(inputs).log_format) == ("error", "json")
    written(tmp_path, "log: {format: xml}")
    with pytest.raises(ConfigError, match=r"resty-metrics\.yml:1: log\.format: 'xml'"):
        load(inputs)
    written(tmp_path, "log: {format: logfmt, level: debug}")
    assert (load(inputs).log_level, load(inputs).log_format) == ("error", "logfmt")


def test_the_first_layer_that_has_a_list_has_it_whole() -> None:
    assert merged({"socket_allow_uid": (1,)}, {"socket_allow_uid": (2, 3), "log_level": "debug"}) == Settings(
        socket_allow_uid=(1,), log_level="debug"
    )


def unreadable(path: Path) -> None:
    path.unlink()


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def no_utf8(path: Path) -> None:
    path.write_bytes(b"log:\n  level: \xff\n")


def too_large(path: Path) -> None:
    path.write_text("#" * (1024 * 1024 + 1))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (unreadable, "yml: cannot be read: No such file or directory"),
        (a_directory, "yml: cannot be read: Is a directory"),
        (no_utf8, "yml:2: the file is not UTF-8"),
        (too_large, "yml: the file is larger than 1048576 bytes"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, harm: object, words: str) -> None:
    path = written(tmp_path, "")
    harm(path)  # type: ignore[operator]
    with pytest.raises(ConfigError) as caught:
        read_file(path)
    assert str(caught.value) == str(path).removesuffix("yml") + words


def test_users_and_directories_of_the_machine(tmp_path: Path) -> None:
    path = written(tmp_path, f"socket: {{allow_uid: no-such-user}}\nstate: {{dir: {tmp_path}/resty-metrics.yml}}")
    with pytest.raises(ConfigError) as caught:
        read_file(path)
    first, second = caught.value.problems
    assert (first.line, first.key) == (1, "socket.allow_uid[0]")
    assert (second.line, second.key) == (2, "state.dir")
    assert "is not a directory" in second.words


HTTP_STUB = parse_source("http://h/", "stub_status")
HTTP, HTTPS = parse_source("http://h/", "vts"), parse_source("a=https://h/", "vts")
ONE_SOURCE: dict[str, object] = {"source_vts": (HTTP,)}
FLAGS: list[tuple[dict[str, object], list[str]]] = [
    ({"source_host": "h", "source_timeout": 1.0}, ["--source.host", "--source.timeout"]),
    (ONE_SOURCE | {"source_tls_ca_file": Path("c")}, ["--source.tls.ca-file"]),
    ({"source_stub_status": (HTTP_STUB,), "source_vts_derived": False}, ["--source.vts.derived"]),
    ({"source_vts": (HTTPS,), "source_tls_cert_file": Path("c")}, ["--source.tls.cert-file"]),
    ({"source_vts": (HTTPS,), "source_tls_key_file": Path("c")}, ["--source.tls.key-file"]),
    (ONE_SOURCE | {"source_basic_auth_username": "u"}, ["--source.basic-auth.username"]),
    (ONE_SOURCE | {"source_basic_auth_password_file": Path("p")}, ["--source.basic-auth.password-file"]),
    (
        ONE_SOURCE
        | {
            "source_basic_auth_username": "u",
            "source_basic_auth_password_file": Path("p"),
            "source_bearer_token_file": Path("t"),
        },
        ["--source.bearer-token-file"],
    ),
]


@pytest.mark.parametrize(("values", "named"), FLAGS)
def test_flags_that_do_not_fit_each_other(values: dict[str, object], named: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        layer(values)
    assert [problem.key for problem in caught.value.problems] == named


def test_flags_of_connections_are_for_every_source_of_flags() -> None:
    values = {
        "source_stub_status": (parse_source("http://g/", "stub_status"),),
        "source_vts": (HTTPS,),
        "source_timeout": 2.0,
        "source_tls_ca_file": Path("/ca"),
        "source_bearer_token_file": Path("/token"),
    }
    sources = layer(values)["sources"]
    expected = Connection(2.0, None, Tls(ca_file=Path("/ca")), None, Authorization(Path("/token")))
    assert [source.connection for source in sources] == [expected, expected]
    assert [source.kind for source in sources] == ["stub_status", "vts"]


# check-config ---------------------------------------------------------------------------------------------------------


def check(*arguments: str, environment: Mapping[str, str] | None = None) -> Result:
    """Without the variable that every test has."""
    variables: dict[str, str | None] = {"RESTY_METRICS_STATE_DIR": None, **(environment or {})}
    return CliRunner().invoke(main, ["check-config", *arguments], env=variables)


def in_force(*arguments: str, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    done = check(*arguments, environment=environment)
    assert (done.exit_code, done.stderr) == (0, "")
    shown: dict[str, Any] = yaml.safe_load(done.stdout)
    return shown


# (key, flag, in the file, in the environment, by the flag), each as it is shown
PRECEDENCE = [
    ("socket.path", "/f/c.sock", "/e/c.sock", "/g/c.sock"),
    ("socket.mode", "0600", "0640", "0660"),
    ("socket.allow_uid", "1", "2", "3"),
    ("state.dir", "/f", "/e", "/g"),
    ("web.listen_address", ":1", ":2", ":3"),
    ("web.telemetry_path", "/f", "/e", "/g"),
    ("log.level", "debug", "warning", "error"),
    ("log.format", "json", "logfmt", "json"),
]


@pytest.mark.parametrize(
    ("key", "in_file", "in_environment", "by_flag"), PRECEDENCE, ids=[case[0] for case in PRECEDENCE]
)
def test_a_flag_over_its_variable_over_the_file_over_the_default(
    tmp_path: Path, key: str, in_file: str, in_environment: str, by_flag: str
) -> None:
    section, _, name = key.partition(".")
    path = written(tmp_path, f"{section}: {{{name}: '{in_file}'}}")
    flag = f"--{section}.{name.replace('_', '-')}={by_flag}"
    variable = {f"RESTY_METRICS_{section}_{name}".upper(): in_environment}

    def value(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
        result = in_force(*arguments, environment=environment)[section][name]
        return ",".join(map(str, result)) if isinstance(result, list) else str(result)

    default = value()
    assert default not in (in_file, by_flag)
    assert value(str(path)) == in_file
    assert value(environment={"RESTY_METRICS_CONFIG_FILE": str(path)}) == in_file
    assert value(str(path), environment=variable) == in_environment
    assert value(str(path), flag, environment=variable) == by_flag


def test_sources_of_flags_take_the_place_of_the_files(tmp_path: Path) -> None:
    path = written(tmp_path, "sources: [{kind: vts, name: f, url: 'http://f/'}]")
    shown = in_force(str(path), "--source.stub-status=g=http://g/", "--source.timeout=2s")
    assert shown["sources"] == [{"kind": "stub_status", "name": "g", "url": "http://g/", "timeout": "2s"}]


def test_without_a_file_flags_and_environment_are_checked() -> None:
    assert yaml.safe_dump(in_force(), sort_keys=False) == yaml.safe_dump(
        yaml.safe_load(as_yaml(Settings())), sort_keys=False
    )


def test_all_that_is_wrong_and_status_1(tmp_path: Path) -> None:
    path = written(tmp_path, "log: {level: x}\nweb: {config_file: web.yml}\nsoket: {}\n")
    done = check(str(path))
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        f"{path}:1: log.level: 'x': give one of debug, info, warning, error",
        f"{path}:2: web.config_file: '{tmp_path}/web.yml' cannot be read: No such file or directory",
        f"{path}:3: soket: unknown key. Did you mean socket?",
    ]


@pytest.mark.parametrize("by_variable", [False, True])
def test_every_flag_of_a_connection_is_the_key_of_the_same_meaning(tmp_path: Path, by_variable: bool) -> None:
    authority = Authority(tmp_path)
    client = authority.issue("client")
    for name in ("password", "token"):
        (tmp_path / name).write_text("word")
    values_by_flag = {
        "--source.vts": "a=https://h/ b=https://g/",
        "--source.vts.derived": "false",
        "--source.timeout": "250ms",
        "--source.host": "status.example:81",
        "--source.tls.ca-file": str(authority.file),
        "--source.tls.cert-file": str(client.certificate),
        "--source.tls.key-file": str(client.key),
        "--source.tls.server-name": "inner.example",
        "--source.tls.insecure-skip-verify": "true",
        "--source.basic-auth.username": "someone",
        "--source.basic-auth.password-file": str(tmp_path / "password"),
    }
    shown = {
        "timeout": "0.25s",
        "host": "status.example:81",
        "derived": False,
        "tls_config": {
            "ca_file": str(authority.file),
            "cert_file": str(client.certificate),
            "key_file": str(client.key),
            "server_name": "inner.example",
            "insecure_skip_verify": True,
        },
        "basic_auth": {"username": "someone", "password_file": str(tmp_path / "password")},
    }
    words = [f"--source.vts={url}" for url in values_by_flag["--source.vts"].split()]
    words += [f"{flag}={text}" for flag, text in values_by_flag.items() if flag != "--source.vts" and text != "true"]
    words.append("--source.tls.insecure-skip-verify")
    result = (
        in_force(environment={variable(flag): text for flag, text in values_by_flag.items()})
        if by_variable
        else in_force(*words)
    )
    assert result["sources"] == [
        {"kind": "vts", "name": "a", "url": "https://h/", **shown},
        {"kind": "vts", "name": "b", "url": "https://g/", **shown},
    ]
    (bearer,) = in_force("--source.vts=http://h/", f"--source.bearer-token-file={tmp_path}/token")["sources"]
    assert bearer["authorization"] == {"type": "Bearer", "credentials_file": f"{tmp_path}/token"}
    assert {*values_by_flag, "--source.bearer-token-file"} == {"--source.vts", *OF_SOURCES}


def test_files_that_a_source_cannot_use(tmp_path: Path) -> None:
    """They are tried as a connection would use them; by flags as well."""
    (tmp_path / "empty").touch()
    (tmp_path / "word").write_text("hunter2 \x01")
    source = "- {kind: vts, name: %s, url: 'https://h/', %s}\n"
    path = written(
        tmp_path,
        "sources:\n"
        + source % ("a", "tls_config: {ca_file: word}")
        + source % ("b", "basic_auth: {username: u, password_file: empty}")
        + source % ("c", "authorization: {credentials_file: word}")
        + source % ("d", "tls_config: {cert_file: empty, key_file: word}"),
    )
    done = check(str(path))
    assert done.exit_code == 1
    assert [line.partition(f" {tmp_path}")[0] for line in done.stderr.splitlines()] == [
        f"{path}:2: sources[0].tls_config:",
        f"{path}:3: sources[1].basic_auth:",
        f"{path}:4: sources[2].authorization:",
        f"{path}:5: sources[3].tls_config:",
    ]
    assert "hunter2" not in done.stderr
    done = check("--source.vts=https://h/", "--source.vts=a=https://g/", f"--source.bearer-token-file={tmp_path}/none")
    assert (done.exit_code, done.stderr) == (1, f"{tmp_path}/none cannot be read: No such file or directory\n")


def test_serve_refuses_a_wrong_file_with_status_2_and_touches_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, f"socket: {{path: {tmp_path}/run/c.sock}}\nlog: {{level: x}}\nstate: {{dir: y}}\n")
    done = subprocess.run([COMMAND, "serve", f"--config.file={path}"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert [line.split(": ")[1] for line in done.stderr.splitlines()] == ["log.level", "state.dir"]
    assert [left.name for left in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve", "--source.vts=http://user:hunter2@h/"),
        ("serve", "--source.vts=http://user:hun/ter2@h/"),
        ("serve", "--source.vts", "ftp://user:hunter2@h/"),
        ("serve", "--source.vtss=http://user:hunter2@h/"),
        ("serve", "http://user:hunter2@h/"),
        ("serve", "--log.level=http://user:hunter2@h/"),
        ("serve", "--web.listen-address=http://user:hunter2@h/"),
        ("serve", "--source.vts=http://h/", "--source.basic-auth.username=user:hunter2"),
        ("http://user:hunter2@h/",),
        ("--http://user:hunter2@h/",),
        ("check-config", "http://user:hunter2@h/"),
        ("check-config", "--source.stub-status=a=https://hunter2@h/"),
        ("doctor", "--source.stub-status=a=https://hunter2@h/"),
    ],
)
def test_no_message_repeats_the_password_of_a_url(arguments: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code in (1, 2)
    assert done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert "ter2" not in done.stdout + done.stderr


def test_a_url_with_a_password_says_where_it_belongs() -> None:
    done = CliRunner().invoke(main, ["serve", "--source.vts=http://user:hunter2@h/"])
    assert "--source.vts" in done.stderr
    assert "basic_auth" in done.stderr
