"""How a real nginx is asked: over TLS, with a certificate, a password or a token, by a unix socket, under another name.

Files are changed under the feet of one client, as rotation does.
"""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import uvloop
from resty_metrics.sources.errors import SourceReason
from resty_metrics.sources.fetch import Fetcher, Scrape
from resty_metrics.sources.source import Authorization, BasicAuth, Connection, Tls, parse_source
from support.certificates import Authority, Certificate
from support.nginx import Nginx, shared_directory
from support.wait import free_port, wait_until

USER, PASSWORD, TOKEN = "someone", "pass:wörd", "abc.DEF-123=="

SITE = """
    log_format asked '$uri $connection $connection_requests $ssl_client_s_dn $remote_user $host';
    access_log {{prefix}}/asked.log asked;
    server {{
        listen 127.0.0.1:{tls} ssl;
        server_name status.example;
        ssl_certificate {server.certificate};
        ssl_certificate_key {server.key};
        location = /stub_status {{ stub_status; }}
    }}
    server {{
        listen 127.0.0.1:{verifying} ssl;
        ssl_certificate {server.certificate};
        ssl_certificate_key {server.key};
        ssl_client_certificate {authority.file};
        ssl_verify_client on;
        location = /stub_status {{ stub_status; }}
    }}
    server {{
        listen 127.0.0.1:{plain} default_server;
        listen unix:{{prefix}}/web.sock;
        location = /stub_status {{ stub_status; }}
        location = /basic {{ auth_basic "status"; auth_basic_user_file {{prefix}}/users; stub_status; }}
        location = /bearer {{ if ($http_authorization != "Bearer {token}") {{ return 401; }} stub_status; }}
        location = /redirect {{ return 302 http://127.0.0.1:{plain}/stub_status; }}
        location = /named {{ return 404; }}
    }}
    server {{
        listen 127.0.0.1:{plain};
        server_name named.example;
        location = /named {{ stub_status; }}
    }}
"""


@dataclass
class Stage:
    """An nginx with its ports, and what it trusts and shows."""

    nginx: Nginx
    authority: Authority
    stranger: Authority
    tls: int
    verifying: int
    plain: int

    def requests_for(self, uri: str) -> list[list[str]]:
        """Of each request for it: connection, requests on it, the client's certificate, user, host."""
        path = self.nginx.prefix / "asked.log"
        lines = [line.split() for line in path.read_text().splitlines()]
        return [line[1:] for line in lines if line[0] == uri]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    directory = shared_directory()
    authority, stranger = Authority(directory), Authority(directory, "other")
    server = authority.issue("status.example", "DNS:status.example,IP:127.0.0.1")
    tls, verifying, plain = (free_port() for _ in range(3))
    site = SITE.format(tls=tls, verifying=verifying, plain=plain, server=server, authority=authority, token=TOKEN)
    nginx = Nginx(directory / "none.sock", site, include="")
    words = ["openssl", "passwd", "-apr1", PASSWORD]
    hashed = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
    (nginx.prefix / "users").write_text(f"{USER}:{hashed}\n")
    with nginx:
        yield Stage(nginx, authority, stranger, tls, verifying, plain)
    shutil.rmtree(directory)


def open_sockets() -> int:
    """How many this process has."""
    return sum("socket:" in os.path.realpath(link) for link in Path("/proc/self/fd").iterdir())


def fetched(url: str, connection: Connection, times: int = 1) -> list[Scrape]:
    """By one client, on the loop that the collector has."""

    async def run() -> list[Scrape]:
        before = open_sockets()
        fetcher = Fetcher(replace(parse_source(url, "stub_status"), connection=connection))
        scrapes = [await fetcher.fetch(5) for _ in range(times)]
        await fetcher.close()
        while open_sockets() > before:  # noqa: ASYNC110 - TLS says good-bye to nginx, which close() does not wait for
            await asyncio.sleep(0.001)
        return scrapes

    return uvloop.run(run())


def outcome(url: str, connection: Connection) -> tuple[SourceReason | None, str]:
    (scrape,) = fetched(url, connection)
    assert (scrape.families[0].name == "nginx_up") == (not scrape.up)
    return scrape.reason, scrape.words


# TLS ------------------------------------------------------------------------------------------------------------------


def test_a_certificate_of_a_given_authority(stage: Stage) -> None:
    url = f"https://127.0.0.1:{stage.tls}/stub_status"
    assert outcome(url, Connection(tls=Tls(ca_file=stage.authority.file))) == (None, "")


@pytest.mark.parametrize(
    ("host", "tls", "words"),
    [
        ("127.0.0.1", Tls(), "unable to get local issuer certificate"),
        ("127.0.0.1", Tls(ca_file=Path("other")), "unable to get local issuer certificate"),
        ("localhost", Tls(ca_file=Path("authority")), "not valid for 'localhost'"),
        ("127.0.0.1", Tls(ca_file=Path("authority"), server_name="else.example"), "not valid for 'else.example'"),
    ],
)
def test_a_certificate_that_is_not_accepted(stage: Stage, host: str, tls: Tls, words: str) -> None:
    if tls.ca_file is not None:
        tls = replace(tls, ca_file={"authority": stage.authority, "other": stage.stranger}[tls.ca_file.name].file)
    reason, message = outcome(f"https://{host}:{stage.tls}/stub_status", Connection(tls=tls))
    assert reason == "tls"
    assert words in message


@pytest.mark.parametrize("verified", [True, False])
def test_a_name_in_the_certificate_that_is_not_the_urls(stage: Stage, verified: bool) -> None:
    tls = (
        Tls(ca_file=stage.authority.file, server_name="status.example") if verified else Tls(insecure_skip_verify=True)
    )
    assert outcome(f"https://localhost:{stage.tls}/stub_status", Connection(tls=tls)) == (None, "")


def test_a_client_certificate(stage: Stage) -> None:
    url, trust = f"https://127.0.0.1:{stage.verifying}/stub_status", Tls(ca_file=stage.authority.file)
    client, stranger = stage.authority.issue("client"), stage.stranger.issue("stranger")

    def shown(certificate: Certificate) -> Connection:
        return Connection(tls=replace(trust, cert_file=certificate.certificate, key_file=certificate.key))

    before = len(stage.requests_for("/stub_status"))
    assert outcome(url, Connection(tls=trust)) == ("status", "HTTP status 400")
    assert outcome(url, shown(stranger)) == ("status", "HTTP status 400")
    assert outcome(url, shown(client)) == (None, "")
    wait_until(lambda: len(stage.requests_for("/stub_status")) == before + 3, message="nginx's log")
    assert [line[2] for line in stage.requests_for("/stub_status")[before:]] == ["-", "CN=stranger", "CN=client"]


def test_a_client_certificate_that_is_renewed(stage: Stage, tmp_path: Path) -> None:
    """One client: of a stranger first, then ours, half of a pair in between, then gone, then back."""
    certificate, key = tmp_path / "client.pem", tmp_path / "client.key"
    ours, stranger = stage.authority.issue("renewed"), stage.stranger.issue("unknown")
    tls = Tls(ca_file=stage.authority.file, cert_file=certificate, key_file=key)
    source = replace(
        parse_source(f"https://127.0.0.1:{stage.verifying}/stub_status", "stub_status"), connection=Connection(tls=tls)
    )

    async def run() -> list[SourceReason | None]:
        fetcher = Fetcher(source)
        reasons = [(await fetcher.fetch(5)).reason]
        stranger.copy_to(certificate, key)
        reasons.append((await fetcher.fetch(5)).reason)
        Certificate(ours.certificate, stranger.key).copy_to(certificate, key)
        reasons.append((await fetcher.fetch(5)).reason)
        ours.copy_to(certificate, key)
        reasons.append((await fetcher.fetch(5)).reason)
        key.unlink()
        reasons.append((await fetcher.fetch(5)).reason)
        ours.copy_to(certificate, key)
        reasons.append((await fetcher.fetch(5)).reason)
        await fetcher.close()
        return reasons

    assert uvloop.run(run()) == ["credentials", "status", "credentials", None, "credentials", None]


def test_an_authority_that_is_renewed(stage: Stage, tmp_path: Path) -> None:
    trusted = tmp_path / "ca.pem"
    connection = Connection(tls=Tls(ca_file=trusted))
    source = replace(parse_source(f"https://127.0.0.1:{stage.tls}/stub_status", "stub_status"), connection=connection)

    async def run() -> list[SourceReason | None]:
        fetcher, reasons = Fetcher(source), []
        for authority in (stage.stranger, stage.authority, stage.stranger):
            trusted.write_bytes(authority.file.read_bytes())
            reasons.append((await fetcher.fetch(5)).reason)
        await fetcher.close()
        return reasons

    assert uvloop.run(run()) == ["tls", None, "tls"]


def nothing(path: Path) -> None:
    path.unlink(missing_ok=True)


def no_pem(path: Path) -> None:
    path.write_text("secret")


def a_pipe(path: Path) -> None:
    subprocess.run(["mkfifo", str(path)], check=True)


@pytest.mark.parametrize("make", [nothing, no_pem, a_pipe, Path.mkdir])
@pytest.mark.parametrize("field", ["ca_file", "cert_file", "key_file"])
def test_a_file_of_tls_that_is_none(stage: Stage, tmp_path: Path, make: object, field: str) -> None:
    path = tmp_path / "file"
    make(path)  # type: ignore[operator]
    ours = stage.authority.issue("whole")
    whole = {"ca_file": stage.authority.file, "cert_file": ours.certificate, "key_file": ours.key, field: path}
    tls = Tls(whole["ca_file"], whole["cert_file"], whole["key_file"])
    reason, words = outcome(f"https://127.0.0.1:{stage.verifying}/stub_status", Connection(tls=tls))
    assert reason == "credentials"
    assert str(path) in words
    assert "secret" not in words


def test_a_key_with_a_passphrase_asks_nobody(stage: Stage, tmp_path: Path) -> None:
    ours, locked = stage.authority.issue("locked"), tmp_path / "locked.key"
    words = ["openssl", "ec", "-in", str(ours.key), "-aes256", "-passout", "pass:secret", "-out", str(locked)]
    subprocess.run(words, check=True, capture_output=True)
    tls = Tls(stage.authority.file, ours.certificate, locked)
    assert outcome(f"https://127.0.0.1:{stage.verifying}/stub_status", Connection(tls=tls))[0] == "credentials"


# passwords and tokens -------------------------------------------------------------------------------------------------


def test_a_password_that_is_renewed(stage: Stage, tmp_path: Path) -> None:
    """One client, one connection: it is read at each fetch, without the end of its line."""
    path = tmp_path / "password"
    source = parse_source(f"http://127.0.0.1:{stage.plain}/basic", "stub_status")
    source = replace(source, connection=Connection(basic_auth=BasicAuth(USER, path)))

    async def run() -> list[SourceReason | None]:
        fetcher, reasons = Fetcher(source), []
        for content in (None, "", "\n", "wrong", f"{PASSWORD}\n", f"{PASSWORD}\r\n", PASSWORD, f"{PASSWORD}\nmore\n"):
            if content is not None:
                path.write_text(content)
            reasons.append((await fetcher.fetch(5)).reason)
        await fetcher.close()
        return reasons

    refused: list[SourceReason | None] = ["credentials"] * 3
    assert uvloop.run(run()) == [*refused, "status", None, None, None, "credentials"]
    wait_until(lambda: len(stage.requests_for("/basic")) == 4, message="nginx's log")
    assert [line[3] for line in stage.requests_for("/basic")] == [USER] * 4
    assert len({line[0] for line in stage.requests_for("/basic")[1:]}) == 1


def test_a_token(stage: Stage, tmp_path: Path) -> None:
    url, path = f"http://127.0.0.1:{stage.plain}/bearer", tmp_path / "token"
    connection = Connection(authorization=Authorization(path))
    assert outcome(url, Connection()) == ("status", "HTTP status 401")
    for content, reason in (
        (f"{TOKEN}\n", None),
        ("other", "status"),
        ("a\x01b", "credentials"),
        ("tökén", "credentials"),
    ):
        path.write_text(content)
        actual, words = outcome(url, connection)
        assert actual == reason
        assert content not in words


@pytest.mark.parametrize("make", [nothing, a_pipe, Path.mkdir])
def test_a_secret_that_cannot_be_read(stage: Stage, tmp_path: Path, make: object) -> None:
    path = tmp_path / "secret"
    make(path)  # type: ignore[operator]
    url = f"http://127.0.0.1:{stage.plain}/stub_status"
    for connection in (Connection(basic_auth=BasicAuth("u", path)), Connection(authorization=Authorization(path))):
        reason, words = outcome(url, connection)
        assert reason == "credentials"
        assert str(path) in words


# the rest -------------------------------------------------------------------------------------------------------------


def test_a_unix_socket(stage: Stage) -> None:
    assert outcome(f"unix:{stage.nginx.prefix}/web.sock:/stub_status", Connection()) == (None, "")


def test_the_host_header_chooses_the_server(stage: Stage) -> None:
    url = f"http://127.0.0.1:{stage.plain}/named"
    assert outcome(url, Connection()) == ("status", "HTTP status 404")
    assert outcome(url, Connection(host="named.example")) == (None, "")


def test_a_redirect_is_not_followed(stage: Stage) -> None:
    before = len(stage.requests_for("/stub_status"))
    assert outcome(f"http://127.0.0.1:{stage.plain}/redirect", Connection()) == ("status", "HTTP status 302")
    assert outcome(f"http://127.0.0.1:{stage.plain}/stub_status", Connection()) == (None, "")
    wait_until(lambda: len(stage.requests_for("/stub_status")) == before + 1, message="one request, ours")


@pytest.mark.parametrize("scheme", ["http", "https", "unix"])
def test_the_connection_is_kept(stage: Stage, scheme: str) -> None:
    address = {
        "http": f"http://127.0.0.1:{stage.plain}",
        "https": f"https://127.0.0.1:{stage.tls}",
        "unix": f"unix:{stage.nginx.prefix}/web.sock:",
    }[scheme]
    before = len(stage.requests_for("/stub_status"))
    tls = Tls(ca_file=stage.authority.file)
    assert [scrape.reason for scrape in fetched(f"{address}/stub_status", Connection(tls=tls), 3)] == [None] * 3
    wait_until(lambda: len(stage.requests_for("/stub_status")) == before + 3, message="nginx's log")
    lines = stage.requests_for("/stub_status")[before:]
    assert len({line[0] for line in lines}) == 1
    assert [line[1] for line in lines] == ["1", "2", "3"]


def test_the_environments_proxy_is_not_asked(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert outcome(f"http://127.0.0.1:{stage.plain}/stub_status", Connection()) == (None, "")
