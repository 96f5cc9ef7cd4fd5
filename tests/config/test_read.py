"""The configuration file: what is right is read, and everything that is wrong has its key, its line and what to do."""

from pathlib import Path

import pytest
from resty_metrics.config.declaration import Readers
from resty_metrics.config.document import parse
from resty_metrics.config.problem import ConfigError
from resty_metrics.config.read import read
from resty_metrics.config.values import TcpAddress, UnixAddress, read_state_dir
from resty_metrics.sources.source import read_server_name


def uid(text: str) -> int:
    if not text.isdigit():
        raise ValueError(f"{text!r} is no user")
    return int(text)


READERS = Readers(uid, read_state_dir, Path)


def problems(text: str) -> list[str]:
    _, document = read(text, READERS)
    return str(ConfigError("f", document.problems)).splitlines()


WRONG = [
    ("nothing", "", []),
    ("a comment", "# nothing\n", []),
    ("sections without keys", "socket:\nstate:\nsources:\n", []),
    ("a key without a value", "socket:\n  path:\n", []),
    ("a word", "word", ["f:1: give keys and values: socket, state, rows, web, log, sources"]),
    ("a list", "- a", ["f:1: give keys and values: socket, state, rows, web, log, sources"]),
    ("a key that is near", "socket:\n  moed: 0660", ["f:2: socket.moed: unknown key. Did you mean socket.mode?"]),
    ("a key of elsewhere", "listen_address: x", ["f:1: listen_address: unknown key. Did you mean web.listen_address?"]),
    ("a key of nowhere", "log:\n  x: 1", ["f:2: log.x: unknown key. Known keys: level, format"]),
    ("a key twice", "log:\n  level: info\n  level: debug", ["f:3: log.level: duplicate key, first given in line 2"]),
    ("a value", "socket:\n\n  mode: rwx", ["f:3: socket.mode: 'rwx': give the mode in octal, as in 0666 or 0660"]),
    ("a word for a section", "log: debug", ["f:1: log: give keys and values: level, format"]),
    ("a list for a word", "log: {level: [info]}", ["f:1: log.level: give one value, not a list"]),
    ("a mapping for a word", "log: {level: {a: b}}", ["f:1: log.level: give one value, not a mapping"]),
    ("a mapping for a list", "sources: {a: b}", ["f:1: sources: give a list"]),
    ("no address", "web:\n  listen_address: []", ["f:2: web.listen_address: give at least one"]),
    (
        "one of a list",
        'web:\n  listen_address:\n    - ":1"\n    - "x"',
        ["f:4: web.listen_address[1]: 'x': give HOST:PORT, :PORT, [IPV6]:PORT or unix:/path"],
    ),
    ("a user", "socket:\n  allow_uid: [1, x]", ["f:2: socket.allow_uid[1]: 'x' is no user"]),
    ("a key that is missing", "sources:\n- kind: vts", ["f:2: sources[0].url: this key is required"]),
    (
        "two of a name",
        "sources:\n- {kind: vts, url: 'http://h/'}\n- {kind: vts, url: 'http://g/'}",
        ["f:3: sources[1].name: give each vts source a name of its own; this one has that of sources[0]"],
    ),
    (
        "half a pair",
        "sources:\n- kind: vts\n  url: https://h/\n  tls_config:\n    key_file: k",
        ["f:5: sources[0].tls_config.key_file: requires cert_file as well"],
    ),
    (
        "TLS without https",
        "sources:\n- kind: vts\n  url: http://h/\n  tls_config: {ca_file: c}",
        ["f:4: sources[0].tls_config: requires a URL that begins with https://"],
    ),
    (
        "two ways to be known",
        "sources:\n- kind: vts\n  url: http://h/\n  basic_auth: {username: u, password_file: p}\n"
        "  authorization: {credentials_file: c}",
        ["f:5: sources[0].authorization: give basic_auth or authorization, not both"],
    ),
    (
        "Basic in the wrong place",
        "sources:\n- kind: vts\n  url: http://h/\n  authorization: {type: Basic, credentials_file: c}",
        ["f:4: sources[0].authorization.type: use basic_auth (username, password_file) for Basic"],
    ),
    (
        "a key of vts",
        "sources:\n- {kind: stub_status, url: 'http://h/',\n   derived: no}",
        ["f:3: sources[0].derived: applies only to vts"],
    ),
    ("no YAML", "a: b: c", ["f:1: invalid YAML: mapping values are not allowed here"]),
    ("an unknown alias", "a: *b", ["f:1: invalid YAML: found undefined alias 'b'"]),
    (
        "two documents",
        "---\nlog:\n---\nlog:",
        ["f:3: invalid YAML: expected a single document in the stream but found another document"],
    ),
    (
        "a control character",
        "log:\n  level: \x01",
        ["f:2: invalid YAML: it contains a character that cannot be printed"],
    ),
    ("a NUL", 'state:\n  dir: "/a\\0b"', ["f:2: state.dir: contains NUL or half of a surrogate pair: give text"]),
    (
        "half a pair of UTF-16",
        r'socket: {path: "/a\ud800"}',
        ["f:1: socket.path: contains NUL or half of a surrogate pair: give text"],
    ),
    ("a key with a NUL", r'log: {"a\0": b}', ["f:1: log: a key contains NUL or half of a surrogate pair"]),
    ("depth", "[" * 10_000, ["f: nested too deeply"]),
    ("an alias of itself", "a: &a [*a]", ["f: nested too deeply"]),
    (
        "aliases of aliases",
        "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 10)}]\n" for n in range(9)),
        ["f: more than 100000 values (an alias counts as all that it stands for)"],
    ),
]


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_is_wrong(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


def test_everything_that_is_wrong_at_once() -> None:
    """Wrong values, unknown keys, missing ones, and what lies between keys, in the order of the lines."""
    text = """socket:
  mode: 9
  moed: 1
web:
  telemetry_path: /
sources:
  - kind: vts
    url: ftp://h/
    timeout: 5h
    basic_auth: {username: u}
    authorization: {credentials_file: c}
  - kind: none
    url: http://h/
    tls_config: {cert_file: c}
"""
    assert [line.split(": ")[:2] for line in problems(text)] == [
        ["f:2", "socket.mode"],
        ["f:3", "socket.moed"],
        ["f:5", "web.telemetry_path"],
        ["f:8", "sources[0].url"],
        ["f:9", "sources[0].timeout"],
        ["f:10", "sources[0].basic_auth.password_file"],
        ["f:11", "sources[0].authorization"],
        ["f:12", "sources[1].kind"],
        ["f:14", "sources[1].tls_config"],
        ["f:14", "sources[1].tls_config.cert_file"],
    ]


SECRETS = [
    "sources:\n- {kind: vts, url: 'http://user:hunter2@h/'}",
    "sources:\n- {kind: vts, url: 'http://user:hun/ter2@h/'}",
    "sources:\n- {kind: vts, url: 'https://hunter2@h/'}",
    "sources:\n- {kind: vts, url: 'ftp://user:hunter2@h/'}",
    "sources:\n- {kind: vts, url: 'http://user:hunter2'}",
    "sources:\n- http://user:hunter2@h/",
    "sources:\n- {kind: 'http://user:hunter2@h/', url: 'http://h/'}",
    "web: {listen_address: 'http://user:hunter2@h/'}",
    "'http://user:hunter2@h/': 1",
    "sources:\n- {kind: vts, url: 'http://h/', basic_auth: hunter2}",
    "sources:\n- {kind: vts, url: 'http://h/', basic_auth: {username: 'user:hunter2', password_file: p}}",
    "sources:\n- {kind: vts, url: 'http://h/', basic_auth: {username: u, password: hunter2}}",
    "sources:\n- {kind: vts, url: 'http://h/', authorization: {type: 'Bearer hunter2', credentials_file: c}}",
    "sources:\n- {kind: vts, url: 'http://h/', authorization: hunter2}",
    "sources:\n- {kind: vts, url: 'http://h/', basic_auth: {password: *hunter2}}",
    "sources:\n- {kind: vts, url: 'http://h/', basic_auth: {password: !hunter2! x}}",
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_in_the_wrong_place_is_refused_and_not_repeated(text: str) -> None:
    reported = problems(text)
    assert reported
    assert "hunter2" not in str(reported)
    assert "ter2" not in str(reported)


def test_text_is_as_it_was_written() -> None:
    """YAML would make 432 of the mode, true of the name, and a sexagesimal number of the address."""
    text = """socket: {mode: 0660, allow_uid: 0010}
state: {dir: none}
web: {listen_address: 12:30}
sources:
- {kind: vts, name: on, url: "http://h/", timeout: 1}
"""
    layer, document = read(text, READERS)
    assert document.problems == []
    assert (layer["socket_mode"], layer["socket_allow_uid"], layer["state_dir"]) == (0o660, (10,), None)
    assert layer["web_listen_address"] == (TcpAddress("12", 30),)
    assert (layer["sources"][0].name, layer["sources"][0].connection.timeout) == ("on", 1.0)


def test_one_value_stands_for_a_list_of_one() -> None:
    layer, _ = read("web: {listen_address: 'unix:/x'}", READERS)
    assert layer["web_listen_address"] == (UnixAddress(Path("/x")),)


def test_what_is_wrong_gives_nothing() -> None:
    """No half of a file is taken."""
    layer, document = read("socket: {mode: 0600}\nlog: {level: x}", READERS)
    assert document.problems
    assert layer == {}


def test_lines_of_keys_and_items() -> None:
    document = parse("a:\n  b:\n    - c\n    - {d: 1,\n       e: 2}\n")
    assert document.lines == {
        (): 1, ("a",): 1, ("a", "b"): 2, ("a", "b", 0): 3, ("a", "b", 1): 4,
        ("a", "b", 1, "d"): 4, ("a", "b", 1, "e"): 5,
    }  # fmt: skip
    assert document.line(("a", "b", 1, "missing")) == 4


@pytest.mark.parametrize("name", ["a.example", "_x", "127.0.0.1", "::1", "a" * 63])
def test_a_name_in_a_certificate(name: str) -> None:
    assert read_server_name(name) == name


@pytest.mark.parametrize("name", ["", "a..b", ".a", "a" * 64, "a." * 127 + "b", "a:80", "a b", "[::1]"])
def test_a_name_that_no_certificate_has(name: str) -> None:
    """TLS would raise UnicodeError at each fetch, or take it for another."""
    with pytest.raises(ValueError, match="give the name in the certificate"):
        read_server_name(name)
