"""Fetching a page over HTTP, with the client that sources are fetched with.

Rule: whatever the network or the server does ends as one error, which says what is wrong and what to do.
"""

import asyncio

from resty_metrics.commands.client.endpoint import Endpoint
from resty_metrics.commands.doctor.report import printable
from resty_metrics.process.command_line import command
from resty_metrics.sources.client import Client
from resty_metrics.sources.errors import SourceReason
from resty_metrics.sources.fetch import in_words, reason_of

# The header of a scrape would make us a scraper. Without it the collector gives its sources 5 s.
TIMEOUT_SECONDS = 8.0
BODY_CAP = 256 * 1024 * 1024

_REMEDIES: dict[SourceReason, str] = {
    "tls": "set --tls.ca-file to the authority that signed the certificate, or --tls.server-name to the name in it",
    "credentials": "check that this file exists and can be read",
}
_USER = "give --basic-auth.username and --basic-auth.password-file"


class UnreadableError(Exception):
    """A page that cannot be read. ``evidence``: what was seen; ``remedy``: an instruction."""

    def __init__(self, evidence: str, remedy: str) -> None:
        super().__init__(evidence)
        self.evidence = evidence
        self.remedy = remedy


def complaint(endpoint: Endpoint, evidence: str, remedy: str) -> str:
    """Return the line for a page that cannot be read, as a command prints it before it ends with status 1."""
    return f"{endpoint.shown}: {printable(evidence)} -> {remedy}\n"


class PageClient:
    """A client of one page, which it may fetch again and again."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._client = Client(endpoint, BODY_CAP)
        self._socket_path = endpoint.socket_path

    async def get(self) -> bytes:
        """Fetch the page. Raises UnreadableError."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await self._client.get()
        except Exception as error:
            reason = reason_of(error)
            if reason is None:
                raise
            words = in_words(error, TIMEOUT_SECONDS)
            raise UnreadableError(f"cannot read the page: {words}", self._remedy(reason, words)) from error

    def not_a_page(self, error: ValueError) -> UnreadableError:
        """Return the error for an answer that is not a page. ``error``: the reader's."""
        return UnreadableError(f"the answer {error}", self._check())

    async def close(self) -> None:
        await self._client.close()

    def _remedy(self, reason: SourceReason, words: str) -> str:
        return _USER if words.endswith(" 401") else _REMEDIES.get(reason, self._check())

    def _check(self) -> str:
        """Return the remedy where nothing special is known."""
        if self._socket_path is None:  # the page was given by its URL
            return "check that the collector runs, and that --url is right"
        return f"check that the collector runs: sudo {command('doctor', self._socket_path)}"
