"""The site over real sockets: a reactor of its own in a thread, the stall detector fatal."""

import contextlib
import datetime as dt
import socket
import ssl
import struct
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet import threads
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.ssl import CertificateOptions, PrivateCertificate
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python import threadable

from scepd.observe.stall import StallDetector
from scepd.web.limits import HttpLimits, Occupancy
from scepd.web.site import ScepSite

from .harness import Echo, read_replies

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


class Big(Echo):
    body = b"x" * (16 << 20)

    def render(self, request):
        if request.path == b"/big":
            return self.body
        return super().render(request)


class Running:
    """A site on loopback."""

    def __init__(self):
        self.reactor = EPollReactor()
        self.stalls = []
        self.detector = StallDetector(self.reactor, self.stalls.append, limit=0.5)
        self.root = Big()
        self.occupancy = Occupancy(per_network=20)
        limits = HttpLimits(head=2, write=1, linger=1)
        self.site = ScepSite(
            self.root, self.reactor, random=lambda n: b"r" * n, occupancy=self.occupancy, limits=limits
        )
        self.thread = threading.Thread(target=self.reactor.run, kwargs={"installSignalHandlers": False}, daemon=True)

    def start(self):
        self.reactor.callWhenRunning(self.detector.start)
        self.thread.start()
        self.port = self.call(self._listen, self.site)

    def call(self, function, *args):
        return threads.blockingCallFromThread(self.reactor, function, *args)

    def _listen(self, factory):
        return self.reactor.listenTCP(0, factory, interface="127.0.0.1").getHost().port

    def start_tls(self):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
        certificate = builder.sign(key, hashes.SHA256())
        pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        mine = PrivateCertificate.loadPEM(pem)
        options = CertificateOptions(privateKey=mine.privateKey.original, certificate=mine.original)
        return self.call(self._listen, TLSMemoryBIOFactory(options, False, self.site, clock=self.reactor))

    def stop(self):
        self.call(self.detector.stop)
        self.reactor.callFromThread(self.reactor.stop)
        self.thread.join(10)
        assert self.stalls == []

    def connect(self, *, port=None, source="127.0.0.1"):
        connection = socket.create_connection(("127.0.0.1", port or self.port), 10, source_address=(source, 0))
        return contextlib.closing(connection)


@pytest.fixture
def running():
    before = threadable.ioThread
    server = Running()
    server.start()
    yield server
    server.stop()
    threadable.ioThread = before


def receive(connection):
    data = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65536):
            data += piece
    return data


def until(condition, seconds=8):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    assert condition()


def test_a_connection_is_kept_over_a_real_socket(running):
    with running.connect() as connection:
        for _ in range(3):
            connection.sendall(GET)
            (reply,) = read_replies(connection.recv(65536))
            assert reply.body == b"GET /a "


def test_C018_an_uploading_client_reads_its_413(running):
    with running.connect() as connection:
        connection.sendall(b"POST /a HTTP/1.1\r\nContent-Length: 600000\r\n\r\n")
        for _ in range(60):
            connection.sendall(b"x" * 10_000)
        (reply,) = read_replies(receive(connection))
        assert reply.status == 413
    until(lambda: running.occupancy.connections == 0)
    assert running.root.asked == []


def test_C018_a_client_that_never_stops_uploading_is_cut_off(running):
    with running.connect() as connection:
        connection.sendall(b"POST /a HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n")
        with pytest.raises(ConnectionError):
            for _ in range(4000):
                connection.sendall(b"x" * 65_536)
    until(lambda: running.occupancy.connections == 0)


def test_S69_trickling_clients_do_not_hinder_another_network(running):
    with contextlib.ExitStack() as stack:
        trickling = [stack.enter_context(running.connect()) for _ in range(40)]
        for connection in trickling:
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"GET /slow HT")
        started = time.monotonic()
        with running.connect(source="127.0.0.2") as connection:
            connection.sendall(GET)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert time.monotonic() - started < 1
        until(lambda: running.occupancy.connections == 0)


def test_S70_a_client_that_does_not_read_is_cut_off(running):
    with running.connect() as connection:
        connection.sendall(b"GET /big HTTP/1.1\r\n\r\n")
        until(lambda: running.occupancy.connections == 1)
        until(lambda: running.occupancy.connections == 0)
        assert len(receive(connection)) < len(Big.body)


def test_a_client_that_leaves_is_noticed_while_its_answer_is_made(running):
    with running.connect() as connection:
        connection.sendall(b"GET /later HTTP/1.1\r\n\r\n")
        until(lambda: running.root.waiting)
        # Gone, not merely done with sending: the close is a reset.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    until(lambda: running.root.waiting[0].gone)
    running.call(running.root.release)
    until(lambda: running.occupancy.connections == 0)


def tls_client(*protocols):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


@pytest.mark.parametrize(
    ("offer", "chosen"), [(["h2", "http/1.1"], "http/1.1"), (["http/1.0"], "http/1.0"), ([], None)]
)
def test_S75_TLS_speaks_http_1_whatever_is_offered(running, offer, chosen):
    port = running.start_tls()
    with running.connect(port=port) as plain, tls_client(*offer).wrap_socket(plain) as connection:
        assert connection.selected_alpn_protocol() == chosen
        connection.sendall(GET)
        assert read_replies(connection.recv(65536))[0].body == b"GET /a "


def test_S75_a_client_that_speaks_h2_alone_gets_no_connection(running):
    port = running.start_tls()
    with running.connect(port=port) as plain, pytest.raises(ssl.SSLError):
        tls_client("h2").wrap_socket(plain)
    until(lambda: running.occupancy.connections == 0)


def test_C024_errors_and_answers_are_the_same_octets_over_TLS(running):
    port = running.start_tls()
    context = tls_client()
    streams = [
        b"GET /a HTTP/1.0\r\n\r\n",
        b"POST /a HTTP/1.1\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc",
        b"PUT /a HTTP/1.1\r\n\r\n",
        b"POST /a HTTP/1.1\r\nContent-Length: 999999\r\n\r\n",
        b"nonsense\r\n\r\n",
    ]
    for stream in streams:
        with running.connect() as connection:
            connection.sendall(stream)
            plain = receive(connection)
        with running.connect(port=port) as connection, context.wrap_socket(connection) as tls:
            tls.sendall(stream)
            secret = receive(tls)
        assert [(r.status, r.body, set(r.headers)) for r in read_replies(plain)] == [
            (r.status, r.body, set(r.headers)) for r in read_replies(secret)
        ]
        assert plain


def test_S71_a_handshake_that_does_not_come_is_cut_off(running):
    port = running.start_tls()
    with running.connect(port=port) as connection:
        until(lambda: running.occupancy.connections == 1)
        started = time.monotonic()
        assert receive(connection) == b""
        assert time.monotonic() - started < 6
    until(lambda: running.occupancy.connections == 0)


def test_S71_a_TLS_connection_beyond_the_bound_is_closed_without_a_handshake(running):
    port = running.start_tls()
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(running.connect(port=port))
        until(lambda: running.occupancy.connections == 20)
        with running.connect(port=port) as connection:
            assert receive(connection) == b""
        assert running.occupancy.turned_away == 1
    until(lambda: running.occupancy.connections == 0)
