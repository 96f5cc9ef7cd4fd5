"""The bytes of a connection that its client has sent and nobody has read yet, cut behind each head of a request.

aiohttp's parser gets no byte behind the head of the request that is being answered, so it never holds a second one.
Where a head ends is the same for both: llhttp, which aiohttp runs in its strict form, takes nothing but CR LF CR LF.
"""

MOST_HEAD_BYTES = 16 * 1024
_END = b"\r\n\r\n"
_LINE_ENDS = b"\r\n"
_POISON = b"\0"  # no head may have one, so the parser refuses it


class Inbox:
    """``whole``: the head under way was handed out to its end; ``closed``: it never will be, as if ``too_large``."""

    def __init__(self) -> None:
        self.whole = False
        self.closed = False
        self.too_large = False
        self._waiting = bytearray()
        self._given = 0
        self._tail = b""

    @property
    def size(self) -> int:
        """Return the bytes that wait, and those of the head under way, which the parser has."""
        return len(self._waiting) + self._given

    def feed(self, data: bytes) -> None:
        """Add what the client sent, while it can still be read."""
        if not self.closed:
            self._waiting += data

    def take(self) -> bytes:
        """Return what may go to the parser now: nothing behind the end of a head until ``clear`` was called.

        A head that is too large ends in a byte that the parser refuses.
        """
        if self.whole or self.closed:
            return b""
        if not self._given:
            self._waiting = self._waiting.lstrip(_LINE_ENDS)  # empty lines in front of a request, which RFC 9112 allows
        place = (self._tail + self._waiting).find(_END)
        self.whole = place >= 0
        end = place + len(_END) - len(self._tail) if self.whole else len(self._waiting)
        if self._given + end > MOST_HEAD_BYTES:
            self.whole, self.too_large = False, True
            self.close()
            return _POISON
        return self._cut(end)

    def clear(self) -> None:
        """Have the next head begin."""
        self.whole, self._given, self._tail = False, 0, b""

    def close(self) -> None:
        """Drop what waits, and all that comes."""
        self.closed = True
        self._waiting.clear()

    def _cut(self, end: int) -> bytes:
        part = bytes(self._waiting[:end])
        del self._waiting[:end]
        self._given += end
        self._tail = (self._tail + part)[-len(_END) + 1 :]
        return part
