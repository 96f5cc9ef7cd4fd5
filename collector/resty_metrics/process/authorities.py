"""The system's certificate authorities: aiohttp reads them as it is imported, twice, and keeps 2.5 MB.

Nothing here uses what it read: a source by HTTPS makes a context of its own (sources/client.py), and the server knows
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
