"""The health check of a container: the page's server has to answer, by HTTP or TLS, whatever credentials it demands.

No certificate is checked, nothing secret is sent, and nothing is imported that takes a while.
"""

import http.client
import socket
import ssl

from resty_metrics.config.values import ListenAddress, UnixAddress

SECONDS = 2.0


class _Unix(http.client.HTTPConnection):
    """A connection for HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(SECONDS)
        self.sock.connect(self._path)


class _UnixByTls(_Unix):
    def connect(self) -> None:
        super().connect()
        self.sock = _unverified().wrap_socket(self.sock, server_hostname="localhost")


def answers(address: ListenAddress) -> bool:
    """Return whether the server answers with a status below 500, or demands a client's certificate."""
    if isinstance(address, UnixAddress):
        return _healthy(_Unix(str(address.path)), False) or _healthy(_UnixByTls(str(address.path)), True)
    host = address.near_host
    plain = http.client.HTTPConnection(host, address.port, timeout=SECONDS)
    return _healthy(plain, False) or _healthy(
        http.client.HTTPSConnection(host, address.port, timeout=SECONDS, context=_unverified()), True
    )


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _healthy(connection: http.client.HTTPConnection, by_tls: bool) -> bool:
    secured = False
    try:
        connection.connect()
        secured = by_tls
        connection.request("GET", "/-/healthy")
        return connection.getresponse().status < 500
    except TimeoutError:
        return False
    except ssl.SSLError as error:
        return secured or error.reason == "SSLV3_ALERT_HANDSHAKE_FAILURE"
    except (OSError, http.client.HTTPException):
        return secured  # closed after the handshake: it demands a client's certificate
    finally:
        connection.close()
