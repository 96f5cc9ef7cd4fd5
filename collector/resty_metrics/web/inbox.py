"""The bytes that a client has sent and aiohttp's parser has not read yet, cut after each head of a request.

The parser gets no byte beyond the head of the request that is being answered, so it never holds a second one. Both
agree on where a head ends: llhttp, which aiohttp runs in its strict form, accepts nothing but CR LF CR LF.
"""

MOST_HEAD_BYTES = 16 * 1024
_END = b"\r\n\r\n"
_LINE_ENDS = b"\r\n"
_POISON = b"\0"  # not allowed in a head, so the parser refuses it


class Inbox:
    """A queue of one connection's bytes.

    ``whole``: the current head was handed out to its end. ``closed``: it never will be, because it is ``too_large``
    or because the parser refused it.
    """

    def __init__(self) -> None:
        self.whole = False
        self.closed = False
        self.too_large = False
        self._waiting = bytearray()
        self._handed_out = 0
        self._tail = b""

    @property
    def size(self) -> int:
        """Return how many bytes wait, with those of the current head that the parser has."""
        return len(self._waiting) + self._handed_out

    def feed(self, data: bytes) -> None:
        """Add bytes that the client sent; drop them if the inbox is closed."""
        if not self.closed:
            self._waiting += data

    def take(self) -> bytes:
        """Return the bytes that may go to the parser now: after the end of a head, none until ``clear`` is called.

        A head that is too large ends in a byte that the parser refuses.
        """
        if self.whole or self.closed:
            return b""
        if not self._handed_out:
            self._waiting = self._waiting.lstrip(_LINE_ENDS)  # RFC 9112 allows empty lines before a request
        place = (self._tail + self._waiting).find(_END)
        self.whole = place >= 0
        end = place + len(_END) - len(self._tail) if self.whole else len(self._waiting)
        if self._handed_out + end > MOST_HEAD_BYTES:
            self.whole, self.too_large = False, True
            self.close()
            return _POISON
        return self._cut(end)

    def clear(self) -> None:
        """Begin the next head."""
        self.whole, self._handed_out, self._tail = False, 0, b""

    def close(self) -> None:
        """Drop the bytes that wait, and all that follow."""
        self.closed = True
        self._waiting.clear()

    def _cut(self, end: int) -> bytes:
        part = bytes(self._waiting[:end])
        del self._waiting[:end]
        self._handed_out += end
        self._tail = (self._tail + part)[-len(_END) + 1 :]
        return part
