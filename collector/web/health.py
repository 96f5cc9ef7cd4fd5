"""The container's health check: does the page's server answer, by HTTP or by TLS, whatever it wants to be shown.

    python3 -m collector.web.health [HOST:PORT]

Exit status 0: it answers. No certificate is checked, nothing secret is sent.
"""

import http.client
import ssl
import sys

ADDRESS = "127.0.0.1:19145"
SECONDS = 2.0


def answers(address: str) -> bool:
    """Whether there is an answer below status 500, or a demand for a client's certificate."""
    return any(map(_asked, (http.client.HTTPConnection(address, timeout=SECONDS), _by_tls(address))))


def _by_tls(address: str) -> http.client.HTTPConnection:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(address, timeout=SECONDS, context=context)


def _asked(connection: http.client.HTTPConnection) -> bool:
    secured = False
    try:
        connection.connect()
        secured = isinstance(connection, http.client.HTTPSConnection)
        connection.request("GET", "/-/healthy")
        return connection.getresponse().status < 500
    except TimeoutError:
        return False
    except ssl.SSLError as error:
        return secured or error.reason == "SSLV3_ALERT_HANDSHAKE_FAILURE"
    except (OSError, http.client.HTTPException):
        return secured  # closed behind the handshake: it wants a client's certificate
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if answers(*sys.argv[1:] or [ADDRESS]) else 1)
