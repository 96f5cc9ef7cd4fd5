"""TLS, client certificates and users, asked by real clients of a real collector."""

import asyncio
import http.client
import os
import signal
import socket
import ssl
import subprocess
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import pytest
from resty_metrics.commands import healthcheck as health
from resty_metrics.commands.doctor.observe.web import get
from resty_metrics.config.problem import ConfigError
from resty_metrics.config.values import TcpAddress, UnixAddress
from resty_metrics.web import policy
from resty_metrics.web.tls import subject_names
from support.certificates import LOCAL, Authority, Certificate
from support.collector import COMMAND, Collector, basic
from support.wait import wait_until

pytestmark = pytest.mark.slow

PASSWORD = "correct horse"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()


@dataclass(frozen=True)
class Site:
    """Certificates, and a web configuration file to be written."""

    directory: Path
    authority: Authority
    server: Certificate
    client: Certificate
    stranger: Certificate
    path: Path

    def write(self, text: str) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.write_text(text)
        fresh.rename(self.path)

    def context(self, client: Certificate | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.authority.file)
        if client is not None:
            context.load_cert_chain(client.certificate, client.key)
        return context


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Site:
    directory = tmp_path_factory.mktemp("tls")
    authority, foreign = Authority(directory, "ca"), Authority(tmp_path_factory.mktemp("other"))
    return Site(
        directory,
        authority,
        authority.issue("server", LOCAL),
        authority.issue("prometheus", "DNS:prometheus.example,IP:10.0.0.1,email:a@b.example,URI:spiffe://x/y"),
        foreign.issue("stranger", "DNS:prometheus.example"),
        directory / "web.yml",
    )


RELOADED = "resty_metrics_config_last_reload_successful"
TLS = "tls_server_config: {cert_file: server.pem, key_file: server.key%s}\n"
MUTUAL = TLS % ", client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem%s"
USERS = f"basic_auth_users: {{prom: {HASH}}}\n"


def serving(site: Site, directory: Path, text: str, *flags: str, client: Certificate | None = None) -> Collector:
    site.write(text)
    tls = site.context(client) if "tls_server_config" in text else None
    user = ("prom", PASSWORD) if "basic_auth_users" in text else None
    return Collector(directory / "c.sock", f"--web.config.file={site.path}", *flags, tls=tls, user=user)


def ask(collector: Collector, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    if collector.tls is None:
        connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=20)
    else:
        connection = http.client.HTTPSConnection("127.0.0.1", collector.port, timeout=20, context=collector.tls)
    with closing(connection):
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        response.read()
    return response


PATHS = ("/", "/metrics", "/-/healthy", "/-/ready", "/-/reload", "/none")


def test_users(certificates: Site, tmp_path: Path) -> None:
    """Every path wants a user, also one that there is not; each answer has the headers of the file."""
    headers = "http_server_config: {headers: {X-Frame-Options: deny}}\n"
    with serving(certificates, tmp_path, USERS + headers) as collector:
        for path in PATHS:
            response = ask(collector, path)
            assert (response.status, response.headers["WWW-Authenticate"]) == (401, "Basic")
            assert response.headers["X-Frame-Options"] == "deny"
            assert ask(collector, path, Authorization=basic("prom", "wrong")).status == 401
            assert ask(collector, path, Authorization=basic("other", PASSWORD)).status == 401
        good = {"Authorization": basic("prom", PASSWORD)}
        assert [ask(collector, path, **good).status for path in PATHS] == [200, 200, 200, 200, 405, 404]
        assert ask(collector, "/-/reload", "POST", **good).status == 403  # without --web.enable-lifecycle
        assert collector.value("resty_metrics_web_refused_requests_total", reason="unauthorized") == 3 * len(PATHS)
        assert collector.log().count("reason=unauthorized") == 1
        assert HASH not in collector.log()


def test_tls_and_no_plain_http(certificates: Site, tmp_path: Path) -> None:
    with serving(certificates, tmp_path, TLS % "") as collector:
        assert ask(collector, "/metrics").status == 200
        assert "address=https://127.0.0.1" in collector.log()
        plain = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=20)
        plain.request("GET", "/metrics")
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            plain.getresponse()
        plain.close()
        closed = "resty_metrics_web_closed_connections_total"
        wait_until(lambda: collector.value(closed, reason="handshake") == 1, message="the handshake that failed")


# more of the server's TLS, what the client can at most or least, whether they agree
AGREED = [
    (", min_version: TLS13", ssl.TLSVersion.TLSv1_2, False),
    (", min_version: TLS13", ssl.TLSVersion.TLSv1_3, True),
    (", max_version: TLS12", ssl.TLSVersion.TLSv1_3, False),
    (", max_version: TLS12", ssl.TLSVersion.TLSv1_2, True),
    (", cipher_suites: [TLS_AES_128_GCM_SHA256]", ssl.TLSVersion.TLSv1_2, False),
    (", cipher_suites: [TLS_AES_128_GCM_SHA256]", ssl.TLSVersion.TLSv1_3, True),
    (", cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]", ssl.TLSVersion.TLSv1_2, True),
    (", curve_preferences: [CurveP521]", ssl.TLSVersion.TLSv1_3, True),
]


def handshake(collector: Collector, context: ssl.SSLContext) -> ssl.SSLSocket | None:

    with socket.create_connection(("127.0.0.1", collector.port), timeout=20) as connection:
        try:
            with context.wrap_socket(connection, server_hostname="localhost") as secured:
                return secured if secured.version() else None
        except (ssl.SSLError, ConnectionError):
            return None


def test_versions_ciphers_and_curves(certificates: Site, tmp_path: Path) -> None:
    """The file is written anew for each, and taken without a restart."""
    with serving(certificates, tmp_path, TLS % "", "--web.enable-lifecycle") as collector:
        for more, version, agree in AGREED:
            certificates.write(TLS % more)
            assert ask(collector, "/-/reload", "POST").status == 200
            context = certificates.context()
            context.minimum_version = context.maximum_version = version
            assert (handshake(collector, context) is not None) == agree, (more, version)
            certificates.write(TLS % "")
            collector.signal(signal.SIGHUP)
            wait_until(lambda: reachable(collector), message="the page, as it was")


def reachable(collector: Collector) -> bool:
    try:
        return ask(collector, "/-/healthy").status == 200
    except OSError:
        return False


def test_only_the_cipher_that_was_asked(certificates: Site, tmp_path: Path) -> None:
    more = ", max_version: TLS12, cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]"
    with serving(certificates, tmp_path, TLS % more) as collector:
        context = certificates.context()
        context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
        assert handshake(collector, context) is None
        context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384")
        assert handshake(collector, context) is not None


@pytest.mark.parametrize("sans", ["", ", client_allowed_sans: [none, prometheus.example]"])
def test_client_certificates(certificates: Site, tmp_path: Path, sans: str) -> None:
    site = certificates
    with serving(site, tmp_path, MUTUAL % sans, client=site.client) as collector:
        assert ask(collector, "/metrics").status == 200
        for certificate in (None, site.stranger):
            collector.tls = site.context(certificate)
            with pytest.raises(OSError):  # noqa: PT011 a reset or an alert
                ask(collector, "/metrics")
        collector.tls = site.context(site.client)
        assert collector.value("resty_metrics_web_closed_connections_total", reason="handshake") == 2


ALLOWED = [
    ("prometheus.example", True),
    ("10.0.0.1", True),
    ("a@b.example", True),
    ("spiffe://x/y", True),
    ("example", False),
    ("PROMETHEUS.example", False),
]


@pytest.mark.parametrize(("name", "allowed"), ALLOWED)
def test_a_clients_alternative_names(certificates: Site, tmp_path: Path, name: str, allowed: bool) -> None:
    site = certificates
    text = MUTUAL % f', client_allowed_sans: ["{name}"]'
    if allowed:
        with serving(site, tmp_path, text, client=site.client) as collector:
            assert ask(collector, "/metrics").status == 200
        return
    with serving(site, tmp_path, MUTUAL % "", "--web.enable-lifecycle", client=site.client) as collector:
        site.write(text)
        assert ask(collector, "/-/reload", "POST").status == 200
        with pytest.raises(OSError):  # noqa: PT011 a reset or an end
            ask(collector, "/metrics")
        wait_until(lambda: "reason=client_san" in collector.log(), message="a line about it")


def test_names_as_go_writes_them() -> None:
    names = [
        ("DNS", "a"),
        ("IP Address", "0:0:0:0:0:0:0:1"),
        ("IP Address", "2001:DB8:0:0:0:0:0:1\n"),
        ("DirName", "x"),
    ]
    assert list(subject_names({"subjectAltName": names})) == ["a", "::1", "2001:db8::1"]
    assert list(subject_names({})) == list(subject_names(None)) == []


def serial(collector: Collector) -> str:

    assert collector.tls is not None
    with (
        socket.create_connection(("127.0.0.1", collector.port), timeout=20) as connection,
        collector.tls.wrap_socket(connection, server_hostname="localhost") as secured,
    ):
        certificate = secured.getpeercert()
        assert certificate is not None
        return str(certificate["serialNumber"])


def test_a_certificate_that_is_renewed_is_used_without_a_word(certificates: Site, tmp_path: Path) -> None:
    """A connection that is open goes on; a pair that does not fit together leaves the old one in force."""
    site = certificates
    renewed, unfit = site.authority.issue("renewed", LOCAL), site.authority.issue("unfit", LOCAL)
    for name in ("used.pem", "used.key"):
        (site.directory / name).write_bytes((site.directory / name.replace("used", "server")).read_bytes())
    text = "tls_server_config: {cert_file: used.pem, key_file: used.key}\n"
    with serving(site, tmp_path, text) as collector:
        assert collector.tls is not None
        before = serial(collector)
        kept = http.client.HTTPSConnection("127.0.0.1", collector.port, timeout=20, context=collector.tls)
        kept.request("GET", "/-/healthy")
        assert kept.getresponse().read() == b"resty-metrics is healthy\n"
        first = kept.sock

        unfit.certificate.rename(site.directory / "used.pem")
        wait_until(lambda: "KEY_VALUES_MISMATCH" in collector.log(), message="a line about the mismatch")
        assert collector.value("resty_metrics_config_last_reload_successful") == 0
        assert serial(collector) == before

        renewed.key.rename(site.directory / "used.key")
        renewed.certificate.rename(site.directory / "used.pem")
        wait_until(lambda: serial(collector) != before, message="the new certificate")
        assert collector.value("resty_metrics_config_last_reload_successful") == 1
        kept.request("GET", "/-/healthy")
        assert kept.getresponse().read() == b"resty-metrics is healthy\n"
        assert kept.sock is first
        kept.close()
        assert collector.log().count("KEY_VALUES_MISMATCH") == 1


def test_a_file_that_comes_later_is_found(certificates: Site, tmp_path: Path) -> None:
    """The web configuration names a certificate before it is there; meanwhile the old one goes on."""
    site = certificates
    with serving(site, tmp_path, TLS % "") as collector:
        before = serial(collector)
        site.write("tls_server_config: {cert_file: later.pem, key_file: later.key}\n")
        wait_until(lambda: collector.value(RELOADED) == 0, message="that it is refused")
        assert serial(collector) == before
        pair = site.authority.issue("later", LOCAL)
        wait_until(lambda: serial(collector) != before, message="the new certificate")
        assert collector.value(RELOADED) == 1
        assert collector.log().count("cannot be read") == 1
        pair.key.unlink()
        wait_until(lambda: collector.value(RELOADED) == 0, message="that it is refused")
        site.write(TLS % "")
        wait_until(lambda: serial(collector) == before, message="the old certificate")


def test_users_are_read_again(certificates: Site, tmp_path: Path) -> None:
    with serving(certificates, tmp_path, USERS) as collector:
        good = basic("prom", PASSWORD)
        assert ask(collector, "/", Authorization=good).status == 200
        certificates.write(USERS.replace("prom", "other"))
        wait_until(lambda: ask(collector, "/", Authorization=good).status == 401, message="the end of a user")
        assert ask(collector, "/", Authorization=basic("other", PASSWORD)).status == 200


def test_a_rate_limit(certificates: Site, tmp_path: Path) -> None:
    with serving(certificates, tmp_path, "rate_limit: {interval: 1h, burst: 5}\n") as collector:
        statuses = [ask(collector, "/").status for _ in range(8)]
        assert statuses == sorted(statuses)
        assert set(statuses) == {200, 429}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tls_server_config: {cert_file: none.pem, key_file: none.key}", "cert_file: cannot be read: No such file"),
        ("tls_server_config: {cert_file: ca.pem, key_file: server.key}", "KEY_VALUES_MISMATCH"),
        ("tls_server_config: {cert_file: server.key, key_file: server.key}", "cannot be used"),
        (MUTUAL.replace("ca.pem", "server.key") % "", "client_ca_file: no certificates that can be used"),
        ("unknown: 1", "web.yml:1: unknown: unknown key"),
        ("a: [", "invalid YAML"),
    ],
)
def test_a_start_with_a_wrong_file_touches_nothing(certificates: Site, tmp_path: Path, text: str, words: str) -> None:
    certificates.write(text)
    arguments = [
        f"--socket.path={tmp_path}/c.sock",
        f"--state.dir={tmp_path}/s",
        f"--web.config.file={certificates.path}",
    ]
    for command, status in (("serve", 2), ("check-config", 1)):
        done = subprocess.run([COMMAND, command, *arguments], capture_output=True, text=True, check=False)
        assert (done.returncode, words in done.stderr) == (status, True), done.stderr
        assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("make", [a_pipe, Path.mkdir])
def test_what_is_no_file_is_not_waited_for(certificates: Site, make: Callable[[Path], None]) -> None:
    """Neither the configuration itself, nor what it names; and no descriptor stays open."""
    path = certificates.directory / make.__name__
    make(path)
    certificates.write(f"tls_server_config: {{cert_file: {path}, key_file: server.key}}")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for wrong in (path, certificates.path):
        with pytest.raises(ConfigError, match="cannot be read: not a regular file"):
            policy.load(wrong)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_key_with_a_passphrase_does_not_ask_for_it(certificates: Site) -> None:
    words = ["openssl", "pkey", "-aes128", "-passout", "pass:x", "-in", str(certificates.server.key)]
    locked = certificates.directory / "locked.key"
    subprocess.run([*words, "-out", str(locked)], check=True, capture_output=True)
    certificates.write("tls_server_config: {cert_file: server.pem, key_file: locked.key}")
    with pytest.raises(ConfigError, match="cannot be used"):
        policy.load(certificates.path)


def test_a_certificate_and_a_key_in_the_file_itself(certificates: Site) -> None:
    def block(path: Path) -> str:
        return "|\n" + "".join(f"    {line}\n" for line in path.read_text().splitlines())

    site = certificates
    site.write(
        f"tls_server_config:\n  cert: {block(site.server.certificate)}  key: {block(site.server.key)}"
        f"  client_auth_type: VerifyClientCertIfGiven\n  client_ca: {block(site.authority.file)}"
    )
    access = policy.load(site.path)
    assert access.tls is not None
    assert access.tls.context.verify_mode is ssl.CERT_OPTIONAL
    assert len(access.tls.context.get_ca_certs()) == 1


@pytest.fixture(params=["plain", "users", "tls", "mutual"])
def secured(request: pytest.FixtureRequest, certificates: Site, tmp_path: Path) -> Iterator[tuple[str, Collector]]:
    text = {"plain": "", "users": USERS, "tls": TLS % "", "mutual": MUTUAL % ""}[request.param]
    unix = f"--web.listen-address=unix:{tmp_path}/web.sock"
    with serving(certificates, tmp_path, text, unix, client=certificates.client) as collector:
        yield request.param, collector


def test_doctor_and_the_health_check_know_who_answers(secured: tuple[str, Collector], tmp_path: Path) -> None:

    kind, collector = secured
    by_tcp = {"users": "a user and a password", "mutual": "a client certificate"}.get(kind)
    by_unix = by_tcp if kind in ("plain", "users") else "TLS on its Unix socket, which doctor does not support"
    for address, wants in (
        (TcpAddress("127.0.0.1", collector.port), by_tcp),
        (UnixAddress(tmp_path / "web.sock"), by_unix),
    ):
        for likely in (False, True):
            answer = asyncio.run(get(address, "/metrics", likely))
            assert (answer.error, answer.wants) == (None, wants)
            assert ("resty_metrics_build_info" in answer.text) == (wants is None)
    assert health.answers(TcpAddress("127.0.0.1", collector.port))
    collector.terminate()
    assert not health.answers(TcpAddress("127.0.0.1", collector.port))
    gone = asyncio.run(get(TcpAddress("127.0.0.1", collector.port), "/metrics"))
    assert gone.error is not None
    assert "refused" in gone.error.lower() or "cannot connect" in gone.error.lower()


def test_a_wrong_password_is_an_error_of_the_client(certificates: Site, tmp_path: Path) -> None:
    with serving(certificates, tmp_path, TLS % "" + USERS) as collector:
        collector._user = ("prom", "wrong")
        with pytest.raises(urllib.error.HTTPError, match="401"):
            collector.page()
