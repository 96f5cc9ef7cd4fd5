"""Which page is looked at, and what does not fit together."""

from pathlib import Path

import pytest
from resty_metrics.commands.client import endpoint as endpoints
from resty_metrics.commands.client.endpoint import Access
from resty_metrics.config.values import ListenAddress, TcpAddress, UnixAddress
from resty_metrics.sources.source import BasicAuth, Tls

URLS = [
    ("http://host:19145/metrics", ("http://host:19145/metrics", None)),
    ("http://host:19145", ("http://host:19145/metrics", None)),
    ("https://host/", ("https://host/metrics", None)),
    ("https://host/other?name=a", ("https://host/other?name=a", None)),
    ("unix:/run/web.sock", ("http://localhost/metrics", "/run/web.sock")),
    ("unix:/run/web.sock:/numbers", ("http://localhost/numbers", "/run/web.sock")),
    ("host:19145", None),
    ("ftp://host/", None),
    ("unix:web.sock", None),
    ("http://user:secret@host/metrics", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "expected"), URLS)
def test_url(text: str, expected: tuple[str, str | None] | None) -> None:
    """``expected`` None: refused, without a word of it."""
    if expected is None:
        with pytest.raises(ValueError, match="give ") as refused:
            endpoints.read_page_url(text)
        assert "secret" not in str(refused.value)
    else:
        found = endpoints.read_page_url(text)
        assert (found.url, found.unix_path) == expected


LISTENING: list[tuple[ListenAddress, str]] = [
    (TcpAddress(None, 19145), "http://127.0.0.1:19145/numbers"),
    (TcpAddress("::", 19145), "http://[::1]:19145/numbers"),
    (TcpAddress("host", 80), "http://host:80/numbers"),
    (UnixAddress(Path("/run/web.sock")), "unix:/run/web.sock:/numbers"),
]


@pytest.mark.parametrize(("address", "expected"), LISTENING)
def test_of_this_machine(address: ListenAddress, expected: str) -> None:
    assert endpoints.listening(address, "/numbers", tls=False).shown == expected


FILE = Path("/secrets/file")
USER: Access = {"basic_auth.username": "a", "basic_auth.password_file": FILE}
APART: list[tuple[str, Access, str]] = [
    ("http://h/", {"tls_config.ca_file": FILE}, "https://"),
    ("http://h/", {"tls_config.insecure_skip_verify": True}, "https://"),
    ("https://h/", {"tls_config.cert_file": FILE}, "together"),
    ("http://h/", {"basic_auth.username": "a"}, "together"),
    ("http://h/", {"basic_auth.password_file": FILE}, "together"),
    (
        "http://h/",
        {**USER, "authorization.credentials_file": FILE},
        "not both",
    ),
]


@pytest.mark.parametrize(("url", "access", "words"), APART)
def test_what_does_not_fit_together(url: str, access: Access, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        endpoints.connection(url, access)


def test_a_guarded_page() -> None:
    tls = {"tls_config.ca_file": FILE, "tls_config.server_name": "name"}
    found = endpoints.connection("https://h/", {**tls, **USER})
    assert (found.tls, found.basic_auth) == (Tls(FILE, server_name="name"), BasicAuth("a", FILE))
