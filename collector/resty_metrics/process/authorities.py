"""The system's certificate authorities, which aiohttp reads twice while it is imported, keeping 2.5 MB.

None of our code uses that copy: a source by HTTPS makes a context of its own (sources/client.py), and the server checks
its clients by an authority that its configuration names.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_FILE = "SSL_CERT_FILE"  # OpenSSL's: SSL_CTX_load_verify_locations(3)


@contextmanager
def left_unread() -> Iterator[None]:
    """Have OpenSSL find no file of authorities while this lasts. No other thread may run yet."""
    before = os.environ.get(_FILE)
    os.environ[_FILE] = os.devnull
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FILE]
        else:
            os.environ[_FILE] = before
