"""HTTP as octets on a connection: what a client library would hide."""

import socket
import ssl

import attrs


@attrs.frozen
class Reply:
    """One reply; header names in lower case."""

    status: int
    version: str
    headers: dict
    body: bytes


class Wire:
    """A connection to 127.0.0.1, plain or under TLS."""

    def __init__(self, port, *, tls=None, source="127.0.0.1", timeout=20):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout, source_address=(source, 0))
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="127.0.0.1")
        self.received = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, octets):
        self.socket.sendall(octets)
        return self

    def line(self):
        """The next line, without its end."""
        return self._until(b"\r\n")

    def reply(self):
        """The next reply, delimited by its Content-Length."""
        block = self._until(b"\r\n\r\n").decode("ascii")
        first, *fields = block.split("\r\n")
        version, status, _ = first.split(" ", 2)
        headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        return Reply(int(status), version, headers, self._take(int(headers["content-length"])))

    def is_closed(self):
        """Whether the server closes the connection without another octet, within the time out."""
        if self.received:
            return False
        try:
            return self.socket.recv(1) == b""
        except (ConnectionResetError, ssl.SSLEOFError):
            return True

    def _until(self, mark):
        while mark not in self.received:
            self._more()
        block, _, self.received = self.received.partition(mark)
        return block

    def _take(self, count):
        while len(self.received) < count:
            self._more()
        taken, self.received = self.received[:count], self.received[count:]
        return taken

    def _more(self):
        octets = self.socket.recv(65536)
        if not octets:
            raise ConnectionError(f"closed after {self.received[:200]!r}")
        self.received += octets


def request(method, target, body=None, *fields, version="HTTP/1.1", host="127.0.0.1"):
    """Return the octets of a request."""
    lines = [f"{method} {target} {version}", f"Host: {host}", *fields]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def exchange(port, octets, **options):
    """Send octets on a connection of their own and return the first reply."""
    with Wire(port, **options) as wire:
        return wire.send(octets).reply()
