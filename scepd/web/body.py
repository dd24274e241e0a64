"""The body of an HTTP/1.1 request (RFC 9112 sections 6 and 7), collected in memory up to a cap and never beyond it."""

import re

from scepd.web.head import RequestRefused

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})(?:;[\t\x20-\x7e]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}:[\t\x20-\x7e\x80-\xff]*")
_LINE_MAXIMUM = 256
_TRAILERS_MAXIMUM = 4096


class LengthBody:
    """A body whose octets were announced by Content-Length, which is within the cap."""

    def __init__(self, length: int) -> None:
        """Keep how many octets are still to come."""
        self.data = bytearray()
        self._left = length

    def feed(self, buffer: bytearray) -> bool:
        """Take what belongs to the body from the front of `buffer`; return whether the body is complete."""
        piece = buffer[: self._left]
        del buffer[: len(piece)]
        self.data += piece
        self._left -= len(piece)
        return self._left == 0


class ChunkedBody:
    """A body in the chunked transfer coding; extensions are overlooked, trailers checked and dropped."""

    def __init__(self, maximum: int) -> None:
        """Keep the cap in octets."""
        self.data = bytearray()
        self._maximum = maximum
        self._left = 0
        self._trailers = 0
        self._step = self._read_size

    def feed(self, buffer: bytearray) -> bool:
        """Take what belongs to the body from the front of `buffer`; return whether the body is complete.

        Raises `RequestRefused` for anything that is no chunk (400) or exceeds the cap (413).
        """
        while True:
            state = self._step(buffer)
            if state is not None:
                return state

    def _line(self, buffer: bytearray) -> bytes | None:
        """Take one line from the buffer, without its CRLF; None while it is incomplete."""
        end = buffer.find(b"\r\n", 0, _LINE_MAXIMUM + 2)
        if end < 0:
            if len(buffer) > _LINE_MAXIMUM or b"\n" in buffer:
                raise RequestRefused(400, "chunk line malformed")
            return None
        line = bytes(buffer[:end])
        del buffer[: end + 2]
        return line

    def _read_size(self, buffer: bytearray) -> bool | None:
        line = self._line(buffer)
        if line is None:
            return False
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise RequestRefused(400, "chunk size malformed")
        self._left = int(match[1], 16)
        if len(self.data) + self._left > self._maximum:
            raise RequestRefused(413, "body too large")
        self._step = self._read_data if self._left else self._read_trailer
        return None

    def _read_data(self, buffer: bytearray) -> bool | None:
        piece = buffer[: self._left]
        del buffer[: len(piece)]
        self.data += piece
        self._left -= len(piece)
        if self._left:
            return False
        self._step = self._read_end
        return None

    def _read_end(self, buffer: bytearray) -> bool | None:
        if len(buffer) < 2 and b"\r\n".startswith(buffer):
            return False
        if not buffer.startswith(b"\r\n"):
            raise RequestRefused(400, "chunk does not end where it said")
        del buffer[:2]
        self._step = self._read_size
        return None

    def _read_trailer(self, buffer: bytearray) -> bool | None:
        line = self._line(buffer)
        if line is None:
            return False
        if not line:
            return True
        self._trailers += len(line)
        if self._trailers > _TRAILERS_MAXIMUM or _TRAILER.fullmatch(line) is None:
            raise RequestRefused(400, "trailer malformed")
        return None


Body = LengthBody | ChunkedBody
