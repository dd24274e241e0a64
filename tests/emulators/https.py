"""Real HTTPS servers on loopback, in threads, with certificates of their own CA: they answer as a test tells them."""

import contextlib
import socket
import ssl
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import attrs
import trustme


@attrs.define
class Received:
    """One request as it came; its headers by their names in lower case."""

    method: str
    path: str
    headers: dict
    body: bytes


@attrs.define
class Reply:
    """What to answer: `wait` seconds before, `drip` seconds between octets, `endless` megabytes of body, `cut` octets only."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict = attrs.field(factory=dict)
    wait: float = 0.0
    drip: float = 0.0
    endless: int = 0
    cut: int | None = None
    silent: bool = False


class HttpsServer:
    """Keeps what it received, and answers with what `answer(received)` returns.

    With `authority` and `port` of one that was closed it takes that one's place.
    """

    def __init__(self, answer, *, authority=None, host="localhost", newest=None, plain=False, port=0):
        self.answer = answer
        self.received = []
        self.connections = 0
        self.authority = authority or trustme.CA()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.emulator = self
        if not plain:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            if newest is not None:
                context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
                context.set_ciphers("ALL:@SECLEVEL=0")
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)
                    context.maximum_version = newest
            self.authority.issue_cert(host).configure_cert(context)
            self._server.context = context
        self.scheme = "http" if plain else "https"
        self.host = host
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def trust_pem(self):
        return self.authority.cert_pem.bytes()

    def url(self, path="/hook", host=None):
        return f"{self.scheme}://{host or self.host}:{self.port}{path}"

    def close(self):
        self._server.leaving.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        self.server.emulator.connections += 1
        super().setup()

    def serve(self):
        length = int(self.headers.get("Content-Length", 0))
        received = Received(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, self.rfile.read(length))
        self.server.emulator.received.append(received)
        self._write(self.server.emulator.answer(received))
        self.close_connection = True

    do_GET = do_POST = serve

    def _write(self, reply):
        if reply.silent:
            return
        self.server.leaving.wait(reply.wait)
        self.send_response(reply.status)
        headers = {"Content-Type": "application/json", **reply.headers}
        if not reply.endless:
            headers.setdefault("Content-Length", str(len(reply.body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        for _ in range(reply.endless):
            self.wfile.write(b" " * 1_000_000)
        self._write_body(reply)

    def _write_body(self, reply):
        if not reply.drip:
            self.wfile.write(reply.body[: reply.cut])
            return
        for octet in reply.body:
            if self.server.leaving.wait(reply.drip):
                return
            self.wfile.write(bytes([octet]))

    def log_message(self, *_arguments):
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    context = None

    def __init__(self, *arguments):
        self.leaving = threading.Event()
        super().__init__(*arguments)

    def finish_request(self, request, client_address):
        if self.context is not None:
            request.settimeout(10)
            try:
                request = self.context.wrap_socket(request, server_side=True)
            except (ssl.SSLError, OSError):
                return  # a client that does not trust us
        super().finish_request(request, client_address)

    def handle_error(self, request, client_address):
        """A client may leave whenever it likes."""


class BlackHole:
    """A port at which every packet is lost, as behind a firewall: whoever connects hears nothing."""

    def __init__(self, port=0):
        self._server = socket.create_server(("127.0.0.1", port), backlog=0)
        self.port = self._server.getsockname()[1]
        self._waiting = [socket.socket() for _ in range(8)]  # they fill the queue of those that nobody accepts
        for one in self._waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", self.port))

    def close(self):
        for one in (*self._waiting, self._server):
            one.close()


class ConnectProxy:
    """An HTTP proxy on loopback that knows CONNECT alone; `status` is what it answers."""

    def __init__(self, *, status=b"200 OK", extra=b""):
        self.heads = []
        self._status, self._extra = status, extra
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        self._socket.close()

    def _serve(self):
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._tunnel, args=(client,), daemon=True).start()

    def _tunnel(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        self.heads.append(head)
        client.sendall(b"HTTP/1.1 " + self._status + b"\r\n\r\n" + self._extra)
        if not self._status.startswith(b"200"):
            client.close()
            return
        port = int(head.split(b" ")[1].rpartition(b":")[2])
        server = socket.create_connection(("127.0.0.1", port))
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    finally:
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.close()
