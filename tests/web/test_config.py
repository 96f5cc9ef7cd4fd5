"""The web configuration file: what is taken, and what is refused with which words at which line."""

import subprocess
from pathlib import Path

import pytest
from resty_metrics.config.problem import ConfigError
from resty_metrics.web.config import CLIENT_AUTH, WebConfig, read
from support.certificates import LOCAL, Authority

PATH = Path("/etc/web.yml")
HASH = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"
TLS = "tls_server_config:\n  cert_file: a.pem\n  key_file: a.key\n"


def parsed(text: str) -> WebConfig:
    return read(text, PATH)[0]


def test_all_there_is() -> None:
    text = f"""
tls_server_config:
  cert_file: a.pem
  key_file: a.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.pem
  client_allowed_sans: [prometheus.example, 10.0.0.1]
  min_version: TLS12
  max_version: TLS13
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
  curve_preferences: [X25519]
http_server_config:
  http2: true
  headers:
    Strict-Transport-Security: max-age=31536000
    X-Frame-Options: deny
    X-XSS-Protection:
basic_auth_users:
  alice: {HASH}
  "böb": '{HASH}'
rate_limit:
  interval: 1m30s
  burst: 20
"""
    config = parsed(text)
    tls = config.tls_server_config
    assert tls is not None
    assert (tls.cert_file, tls.key_file, tls.client_ca_file) == (Path("a.pem"), Path("a.key"), Path("ca.pem"))
    assert (tls.client_auth_type, tls.client_allowed_sans) == ("required", ["prometheus.example", "10.0.0.1"])
    assert tls.prefer_server_cipher_suites is False
    assert config.http_server_config.headers == {
        "Strict-Transport-Security": "max-age=31536000",
        "X-Frame-Options": "deny",
    }
    assert config.basic_auth_users == {"alice": HASH.encode(), "böb": HASH.encode()}
    assert (config.rate_limit.interval, config.rate_limit.burst) == (90.0, 20)


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "tls_server_config:\nbasic_auth_users:\n", "tls_server_config: {}"]
)
def test_nothing_asked_is_plain_http(text: str) -> None:
    assert parsed(text) == WebConfig()


def test_a_certificate_in_the_file_itself() -> None:
    tls = parsed("tls_server_config:\n  cert: |\n    PEM\n  key: |\n    KEY\n").tls_server_config
    assert tls is not None
    assert (tls.cert, tls.key, tls.files) == ("PEM\n", "KEY\n", [])


@pytest.mark.parametrize("text", ["0", "1s", "500ms", "1h2m3s", "1.5s"])
def test_durations_of_go(text: str) -> None:
    expected = {"0": 0.0, "1s": 1.0, "500ms": 0.5, "1h2m3s": 3723.0, "1.5s": 1.5}[text]
    assert parsed(f"rate_limit: {{interval: {text}, burst: 1}}").rate_limit.interval == pytest.approx(expected)


# text, line, key, part of the words
WRONG = [
    ("tls_config: {}", 1, "tls_config", "unknown key. Known keys: tls_server_config,"),
    (f"{TLS}  cert_fil: x", 4, "tls_server_config.cert_fil", "unknown key. Known keys: cert,"),
    ("- a", 1, "", "give keys and values: tls_server_config"),
    ("tls_server_config: yes", 1, "tls_server_config", "give keys and values"),
    ("tls_server_config: {min_version: TLS13, key: x}", 1, "tls_server_config", "requires cert_file (or cert)"),
    ("tls_server_config:\n  cert_file: a", 1, "tls_server_config", "requires key_file (or key)"),
    (f"{TLS}  cert: x", 4, "tls_server_config.cert", "give cert or cert_file, not both"),
    (f"{TLS}  min_version: TLS11", 4, "tls_server_config.min_version", "only TLS12 and TLS13"),
    (f"{TLS}  max_version: SSL3", 4, "tls_server_config.max_version", "give one of TLS12, TLS13"),
    (f"{TLS}  min_version: TLS13\n  max_version: TLS12", 4, "tls_server_config.min_version", "above max_version"),
    (f"{TLS}  client_auth_type: RequireAnyClientCert", 4, "tls_server_config.client_auth_type", "always verifies"),
    (f"{TLS}  client_auth_type: RequestClientCert", 4, "tls_server_config.client_auth_type", "always verifies"),
    (f"{TLS}  client_auth_type: require", 4, "tls_server_config.client_auth_type", "give one of NoClientCert"),
    (f"{TLS}  client_ca_file: ca.pem", 4, "tls_server_config.client_ca_file", "does nothing without client_auth_type"),
    (f"{TLS}  client_allowed_sans: []", 4, "tls_server_config.client_allowed_sans", "does nothing without"),
    (f"{TLS}  client_allowed_sans: a", 4, "tls_server_config.client_allowed_sans", "give a list"),
    (f"{TLS}  cipher_suites:\n  - RC4-SHA", 5, "tls_server_config.cipher_suites[0]", "unknown cipher suite"),
    (
        f"{TLS}  max_version: TLS12\n  cipher_suites: [TLS_AES_128_GCM_SHA256]",
        5,
        "tls_server_config.cipher_suites",
        "none of them is for TLS12",
    ),
    (f"{TLS}  curve_preferences: [P256]", 4, "tls_server_config.curve_preferences[0]", "give one of CurveP256"),
    (f"{TLS}  curve_preferences: [CurveP256, X25519]", 4, "tls_server_config.curve_preferences", "give one curve"),
    (f"{TLS}  prefer_server_cipher_suites: 1", 4, "tls_server_config.prefer_server_cipher_suites", "true or false"),
    ("http_server_config: {http3: true}", 1, "http_server_config.http3", "unknown key. Known keys: http2, headers"),
    ("http_server_config:\n  headers:\n    X-A: b", 3, "http_server_config.headers.X-A", "header cannot be set"),
    ("http_server_config:\n  headers: {X-Frame-Options: DENY}", 2, "http_server_config.headers", "deny or sameorigin"),
    ("http_server_config:\n  headers: {X-XSS-Protection: |\n      a\n      b\n}", 2, "", "invalid YAML"),
    (
        "http_server_config:\n  headers:\n    X-XSS-Protection: |\n      a\n",
        3,
        "http_server_config.headers",
        "one line",
    ),
    ("basic_auth_users:\n  alice:", 2, "basic_auth_users.alice", "give a bcrypt hash"),
    ("basic_auth_users:\n  alice: secret", 2, "basic_auth_users.alice", "not a bcrypt hash; create one with htpasswd"),
    (f"basic_auth_users:\n  a: {HASH}\n  a: {HASH}", 3, "basic_auth_users.a", "duplicate key"),
    ("basic_auth_users: [alice]", 1, "basic_auth_users", "give keys and values"),
    ("rate_limit: {interval: 1}", 1, "rate_limit.interval", "give a duration"),
    ("rate_limit:\n  interval: 1s", 1, "rate_limit.burst", "no request would ever be served"),
    ("rate_limit: {burst: -1}", 1, "rate_limit.burst", "give a number"),
    ("a: [", 1, "", "invalid YAML"),
]


@pytest.mark.parametrize(("text", "line", "key", "words"), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_named(text: str, line: int, key: str, words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parsed(text)
    (problem,) = raised.value.problems
    assert (problem.line, words in problem.words) == (line, True), problem
    assert key in problem.key


# Of the keys that Debian's exporter-toolkit knows. Those that it takes and we refuse are in docs/web.md.
SAME = [
    ("tls_server_config: {{cert_file: {c}, key_file: {k}}}", True),
    ("tls_server_config: {{cert_file: {c}, key_file: {k}, client_auth_type: RequireAndVerifyClientCert,"
     " client_ca_file: {c}}}", True),
    ("tls_server_config: {{cert_file: {c}, key_file: {k}, min_version: TLS12, max_version: TLS13,"
     " cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256], curve_preferences: [X25519]}}", True),
    ("http_server_config: {{http2: false, headers: {{X-Frame-Options: deny}}}}", True),
    (f"basic_auth_users: {{{{alice: {HASH}}}}}", True),
    ("tls_server_config: {{cert_file: {c}}}", False),
    ("tls_server_config: {{cert_file: {c}, key_file: {k}, min_version: SSL3}}", False),
    ("tls_server_config: {{cert_file: {c}, key_file: {k}, client_auth_type: require}}", False),
    ("tls_server_config: {{cert_file: {c}, key_file: {k}, client_ca_file: {c}}}", False),
    ("tls_server_config: {{cert_file: {c}, key_file: {k}, cipher_suites: [RC4-SHA]}}", False),
    ("tls_server_config: {{cert_file: {c}, key_file: {k}, curve_preferences: [P256]}}", False),
    ("http_server_config: {{headers: {{X-A: b}}}}", False),
    ("http_server_config: {{http3: true}}", False),
    ("tls_config: {{}}", False),
]  # fmt: skip


@pytest.mark.parametrize(("text", "good"), SAME, ids=range(len(SAME)))
def test_it_is_what_exporter_toolkit_takes(text: str, good: bool, tmp_path: Path) -> None:
    """By Prometheus's own check of such a file."""
    pair, path = Authority(tmp_path).issue("server", LOCAL), tmp_path / "web.yml"
    path.write_text(text.format(c=pair.certificate, k=pair.key))
    promtool = subprocess.run(
        ["promtool", "check", "web-config", str(path)], capture_output=True, text=True, check=False
    )
    assert (promtool.returncode == 0) == good, promtool.stdout + promtool.stderr
    try:
        read(path.read_text(), path)
    except ConfigError:
        assert not good
    else:
        assert good


def test_all_that_is_wrong_is_said_and_nothing_secret() -> None:
    with pytest.raises(ConfigError) as raised:
        parsed("tls_server_config:\n  key: hunter2\n  min_version: x\nbasic_auth_users:\n  alice: hunter2\nb: c\n")
    assert [problem.key for problem in raised.value.problems] == [
        "tls_server_config.min_version",
        "basic_auth_users.alice",
        "b",
    ]
    assert "hunter2" not in str(raised.value)


def test_no_authentication_of_clients_that_does_not_verify() -> None:
    assert set(CLIENT_AUTH.values()) == {"none", "optional", "required"}
