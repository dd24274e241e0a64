"""A small SCEP server on loopback, made from the server side of `message/`; each fault of a server can be switched on."""

import contextlib
import hashlib
import os
import threading
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import attrs
from cryptography.hazmat.primitives.asymmetric import rsa

from scepd.ca.ceremony import Ceremony
from scepd.message.algorithms import PKCS1V15, Cipher, CryptoPolicy, Digest
from scepd.message.capabilities import capabilities
from scepd.message.certrep import ReplySigner, certs_only, failure, pending, success
from scepd.message.csr import parse_csr
from scepd.message.enveloped import decrypt
from scepd.message.names import CA_CERTIFICATE_TYPE, CA_RA_CERTIFICATE_TYPE, MessageType, Operation
from scepd.message.query import decode_message, parse_query
from scepd.message.request import parse_message, verify_message
from scepd.records import Template
from scepd.refusal import FailInfo
from scepd.x509.certificate import IssuerCertificate, draft_certificate, new_serial
from scepd.x509.draft import seal
from scepd.x509.names import from_text

CHALLENGE = "open sesame, says the test"
POLICY = CryptoPolicy(digests=frozenset(Digest), ciphers=frozenset(Cipher))


@cache
def rsa_key(name):
    """Return the RSA key of that name, one per run."""
    return rsa.generate_private_key(65537, 2048)


@attrs.frozen
class Authority:
    """A CA with an RA pair, all in memory, certified by the ceremony."""

    name: str
    ca_key: object
    ca_der: bytes
    sign_der: bytes
    decrypt_der: bytes

    @property
    def sign_key(self):
        return rsa_key(f"{self.name} sign")

    @property
    def decrypt_key(self):
        return rsa_key(f"{self.name} decrypt")

    @property
    def fingerprint(self):
        return hashlib.sha256(self.ca_der).hexdigest()

    def issue(self, csr, *, spki=None, now=None, purposes=("clientAuth",)):
        template = Template(
            csr.subject, (), frozenset({"digitalSignature", "keyEncipherment"}), purposes, timedelta(days=30)
        )
        issuer = IssuerCertificate.load(self.ca_der)
        moment = now or datetime.now(UTC)
        draft = draft_certificate(template, spki or csr.spki_der, issuer, serial=new_serial(os.urandom), now=moment)
        return seal(draft.der, self.ca_key, issuer.public_key)


@cache
def authority(name="devices"):
    """Return the authority of that name."""
    ca_key = rsa_key(f"{name} ca")
    ceremony = Ceremony(ca_key, datetime.now(UTC), os.urandom)
    ca_der = ceremony.found_ca(from_text(f"CN={name} CA"), timedelta(days=365))
    issuer = IssuerCertificate.load(ca_der)
    pair = (("sign", rsa_key(f"{name} sign")), ("decrypt", rsa_key(f"{name} decrypt")))
    certificates = [
        ceremony.certify_ra(issuer, from_text(f"CN={name} RA {role}"), key.public_key(), role) for role, key in pair
    ]
    return Authority(name, ca_key, ca_der, *certificates)


@attrs.define
class Responder:
    """What the server does; a test sets what it wants to be wrong."""

    authority: Authority = attrs.field(factory=authority)
    capabilities: bytes = attrs.field(factory=lambda: capabilities(CryptoPolicy(), renewal=False, next_ca=False))
    served: list | None = None  # certificates of GetCACert
    single: bool = False  # one bare certificate
    pending: int = 0  # how many answers say so
    status: int = 200
    signer: object = None  # (certificate, key) in place of the RA's
    nonce: object = None  # what replaces the echo
    transaction: object = None
    issuer: object = None  # another authority's
    spki: bytes | None = None
    cipher: object = None
    issued_at: object = None
    requests: list = attrs.field(factory=list)  # (HTTP method, PKIMessage)

    def answer(self, method, query, body):
        """Return (status, media type, body)."""
        asked = parse_query(query, method)
        if asked.operation is Operation.GetCACaps:
            return (200, "text/plain", self.capabilities) if self.capabilities else (404, "text/plain", b"no")
        if asked.operation is Operation.GetCACert:
            return self._certificates()
        message = parse_message(body if method == b"POST" else decode_message(asked.raw_message))
        self.requests.append((method.decode(), message))
        if self.status != 200:
            return self.status, "text/plain", b"not now\x1b[31m"
        return 200, "application/x-pki-message", self._reply(message)

    def _certificates(self):
        if self.single:
            return 200, CA_CERTIFICATE_TYPE, self.authority.ca_der
        ours = [self.authority.sign_der, self.authority.decrypt_der, self.authority.ca_der]
        return 200, CA_RA_CERTIFICATE_TYPE, certs_only(self.served if self.served is not None else ours)

    def _reply(self, message):
        verify_message(message, POLICY)
        bent = attrs.evolve(
            message,
            sender_nonce=self.nonce or message.sender_nonce,
            transaction_id=self.transaction or message.transaction_id,
        )
        certificate_der, key = self.signer or (self.authority.sign_der, self.authority.sign_key)
        common = {"signer": ReplySigner(certificate_der, key), "now": datetime.now(UTC), "random": os.urandom}
        content = decrypt(message.content, self.authority.decrypt_der, self.authority.decrypt_key, POLICY)
        if self.pending:
            self.pending -= 1
            self.kept = content if message.message_type == MessageType.PKCSReq else self.kept
            return pending(bent, policy=POLICY, **common)
        csr = parse_csr(content if message.message_type == MessageType.PKCSReq else self.kept)
        if csr.challenge is None or csr.challenge.reveal() != CHALLENGE:
            return failure(bent, FailInfo.badRequest, "challenge rejected", policy=POLICY, **common)
        by = self.issuer or self.authority
        issued = by.issue(csr, spki=self.spki, now=self.issued_at)
        cipher = self.cipher or Cipher.AES128
        return success(bent, [issued, by.ca_der], cipher=cipher, transport=PKCS1V15, **common)

    kept: bytes = b""


@contextlib.contextmanager
def serving(responder):
    """Serve on a free port of loopback; yield the SCEP URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self._answer(b"GET", b"")

        def do_POST(self):
            self._answer(b"POST", self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, method, body):
            query = self.path.partition("?")[2].encode()
            status, media_type, content = responder.answer(method, query, body)
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/scep"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
