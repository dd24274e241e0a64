"""Gated profiles behind real TLS sockets on loopback, and clients that hold certificates."""

import base64
import contextlib
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta

import attrs
from cryptography.hazmat.primitives import serialization
from twisted.internet import threads
from twisted.internet.defer import succeed
from twisted.internet.epollreactor import EPollReactor
from twisted.python import threadable

from scepd.app.gates import anchors_of
from scepd.app.listeners import approach_of, make_factory
from scepd.config.listener_settings import ListenerSettings, TlsSettings
from scepd.enroll.reply import Answer
from scepd.message import tlv
from scepd.records import Certificate, CertificateState, Secret
from scepd.web.client_certificate import Gate, Register, name_and_key
from scepd.web.limits import Occupancy
from scepd.web.scep import Endpoint, Phase, ScepResource
from scepd.web.site import ScepSite
from scepd.x509.bundle import read_bundle
from scepd.x509.client import ClientTrust
from tests.web.harness import read_replies
from tests.x509.factory import SERVER, make, root

TODAY = datetime.now(UTC)
DATES = {"begin": TODAY - timedelta(days=1), "end": TODAY + timedelta(days=30)}
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def factory_root(name, **fields):
    return root(name, **{**DATES, **fields})


def device(issuer, name, **fields):
    return issuer.issue(name, **{**DATES, **fields})


class Now:
    def now(self):
        return datetime.now(UTC)


@attrs.define
class Room:
    """A gated profile whose enrolment room tells who came."""

    name: str
    trust: ClientTrust
    rows: dict = attrs.field(factory=dict)
    issuer: object = None
    came: list = attrs.field(factory=list)
    gated: bool = True

    def endpoint(self):
        issuers = {} if self.issuer is None else {name_and_key(self.issuer.certificate): "devices"}
        register = Register(issuers, lambda issuer, serial: succeed(self.rows.get((issuer, serial))))
        gate = Gate(lambda: self.trust, Now(), register) if self.gated else None
        phase = Phase(b"POSTPKIOperation", b"0", "application/x-x509-ca-cert")
        return Endpoint(self.name, lambda: phase, self.answer, answer_raw=self.answer, gate=gate)

    def answer(self, body, origin):
        self.came.append((body, origin))
        return succeed(Answer(b"reply", "issued"))


def row(holder, state=CertificateState.ISSUED, der=None):
    certificate = holder.certificate
    return Certificate(
        issuer="devices", serial=certificate.serial_number, state=state, profile="p", subject="", names=(),
        public_key=b"", not_before=TODAY, not_after=TODAY, der=holder.der if der is None else der, transaction=None,
        created=TODAY,
    )  # fmt: skip


def bundle(*anchors):
    return read_bundle(b"".join(anchor.pem for anchor in anchors))


class Serving:
    """Rooms on one listener with a reactor of its own."""

    def __init__(self, rooms, *, certificates="optional", tls=True, **listener):
        self.before = threadable.ioThread
        self.reactor = EPollReactor()
        self.own = make("localhost", extensions=(SERVER,), **DATES)
        settings = ListenerSettings(
            name="mtls", addresses=(), serves=("scep",), client_certificates=certificates,
            tls=TlsSettings(self.own.pem, Secret(self.own.key_pem.decode())) if tls else None, **listener,
        )  # fmt: skip
        endpoints = {room.name: room.endpoint() for room in rooms}
        site = ScepSite(
            ScepResource(endpoints), self.reactor, random=lambda n: b"r" * n, occupancy=Occupancy(),
            approach=approach_of(settings, Now()),
        )  # fmt: skip
        self.site = site
        hints = anchors_of(endpoint.gate for endpoint in endpoints.values() if endpoint.gate is not None)
        factory = make_factory(settings, site, hints)
        self.thread = threading.Thread(target=self.reactor.run, kwargs={"installSignalHandlers": False}, daemon=True)
        self.thread.start()
        self.port = self.call(lambda: self.reactor.listenTCP(0, factory, interface="127.0.0.1").getHost().port)

    def call(self, function, *arguments):
        return threads.blockingCallFromThread(self.reactor, function, *arguments)

    def stop(self):
        self.reactor.callFromThread(self.reactor.stop)
        self.thread.join(10)
        threadable.ioThread = self.before


@contextlib.contextmanager
def serving(rooms, **fields):
    server = Serving(rooms, **fields)
    try:
        yield server
    finally:
        server.stop()


def context(tmp_path, holder=None, *chain, version="1.3"):
    """Return a client's context; the server is not what is tested here."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.minimum_version = made.maximum_version = VERSIONS[version]
    made.set_ciphers("DEFAULT@SECLEVEL=0")
    if holder is not None:
        file = tmp_path / f"{id(holder)}.pem"
        file.write_bytes(holder.pem + b"".join(one.pem for one in chain) + holder.key_pem)
        made.load_cert_chain(file)
    return made


@contextlib.contextmanager
def connected(server, tls, **options):
    with socket.create_connection(("127.0.0.1", server.port), 10) as plain:
        if tls is None:
            yield plain
            return
        with tls.wrap_socket(plain, **options) as connection:
            yield connection


def exchange(connection, path, *fields, method="GET", body=b"", host="localhost"):
    lines = [f"{method} {path} HTTP/1.1".encode(), f"Host: {host}".encode(), *fields]
    if body:
        lines.append(b"Content-Length: %d" % len(body))
    connection.sendall(b"\r\n".join([*lines, b"", b""]) + body)
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536) or b"\r\n\r\n"
    (reply,) = read_replies(data) if data.strip() else (None,)
    return reply


def get(server, tls, path, *fields, **options):
    with connected(server, tls, **options) as connection:
        return exchange(connection, path, *fields)


def impostor_context(tmp_path, holder, other, version):
    """Return the context of a client that has the certificate of one and the key of another.

    The key file claims the public key of the certificate, which OpenSSL believes; what it signs with is the other's.
    """
    point = holder.certificate.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    scalar = other.key.private_numbers().private_value.to_bytes(32, "big")
    key = tlv.sequence(
        tlv.integer(1),
        tlv.octet_string(scalar),
        tlv.explicit(0, tlv.oid("1.2.840.10045.3.1.7")),
        tlv.explicit(1, tlv.bit_string(point)),
    )
    pem = b"-----BEGIN EC PRIVATE KEY-----\n" + base64.encodebytes(key) + b"-----END EC PRIVATE KEY-----\n"
    made = context(tmp_path, version=version)
    file = tmp_path / "impostor.pem"
    file.write_bytes(holder.pem + pem)
    made.load_cert_chain(file)
    return made
