"""A small SCEP server on loopback, made from the server side of `message/`; each fault of a server can be switched on."""

import contextlib
import hashlib
import os
import threading
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from scepd.ca.ceremony import Ceremony
from scepd.message import tlv
from scepd.message.algorithms import PKCS1V15, Cipher, CryptoPolicy, Digest
from scepd.message.capabilities import capabilities
from scepd.message.certificate import load_certificate
from scepd.message.certrep import ReplySigner, certs_only, failure, pending, success
from scepd.message.csr import parse_csr
from scepd.message.enveloped import decrypt
from scepd.message.lookup import parse_issuer_and_serial
from scepd.message.names import CA_CERTIFICATE_TYPE, CA_RA_CERTIFICATE_TYPE, NEXT_CA_TYPE, MessageType, Operation
from scepd.message.query import decode_message, parse_query
from scepd.message.request import parse_message, verify_message
from scepd.records import Secret, Template
from scepd.refusal import Reason, Reject
from scepd.x509.certificate import IssuerCertificate, draft_certificate, new_serial
from scepd.x509.draft import seal
from scepd.x509.keys import verify_csr
from scepd.x509.names import from_text

CHALLENGE = "open sesame, says the test"
POLICY = CryptoPolicy(digests=frozenset(Digest), ciphers=frozenset(Cipher), ed25519=True)


@cache
def rsa_key(name):
    """Return the RSA key of that name, one per run."""
    return rsa.generate_private_key(65537, 2048)


@cache
def ec_key(name, curve=ec.SECP256R1):
    """Return the EC key of that name, one per run."""
    return ec.generate_private_key(curve())


def _ra_key(name, elliptic):
    return ec_key(name) if elliptic else rsa_key(name)


@attrs.frozen
class Authority:
    """A CA with an RA pair, all in memory, certified by the ceremony; the RA keys of an elliptic one are EC."""

    name: str
    elliptic: bool
    ca_key: object
    ca_der: bytes
    sign_der: bytes
    decrypt_der: bytes

    @property
    def sign_key(self):
        return _ra_key(f"{self.name} sign", self.elliptic)

    @property
    def decrypt_key(self):
        return _ra_key(f"{self.name} decrypt", self.elliptic)

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

    def crl(self, *serials, until=timedelta(days=1), key=None):
        """Return a CRL of those serials, made by cryptography."""
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder(
            x509.load_der_x509_certificate(self.ca_der).subject, now - timedelta(days=2), now + until
        ).add_extension(x509.CRLNumber(7), critical=False)
        for serial in serials:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder(serial, now - timedelta(days=3)).build()
            )
        return builder.sign(key or self.ca_key, hashes.SHA256()).public_bytes(Encoding.DER)


@cache
def authority(name="devices", *, elliptic=False):
    """Return the authority of that name."""
    ca_key = rsa_key(f"{name} ca")
    ceremony = Ceremony(ca_key, datetime.now(UTC), os.urandom)
    ca_der = ceremony.found_ca(from_text(f"CN={name} CA"), timedelta(days=365))
    issuer = IssuerCertificate.load(ca_der)
    pair = [(role, _ra_key(f"{name} {role}", elliptic)) for role in (("sign",) if elliptic else ("sign", "decrypt"))]
    certificates = [
        ceremony.certify_ra(issuer, from_text(f"CN={name} RA {role}"), key.public_key(), role) for role, key in pair
    ]
    return Authority(name, elliptic, ca_key, ca_der, certificates[0], certificates[-1])


@attrs.define
class Responder:
    """What the server does; a test sets what it wants to be wrong."""

    authority: Authority = attrs.field(factory=authority)
    capabilities: bytes = attrs.field(factory=lambda: capabilities(CryptoPolicy(), renewal=True, next_ca=False))
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
    forged: object = None  # makes the certificate in place of the CA
    shown: object = None  # what GetCert shows in place of the certificate that is asked for
    crls: object = None  # what GetCRL shows
    next_ca: bytes | None = None  # the answer to GetNextCACert
    requests: list = attrs.field(factory=list)  # (HTTP method, PKIMessage)
    opened: list = attrs.field(factory=list)  # their contents
    asked: dict = attrs.field(factory=dict)  # PKCS#10 by transactionID
    certificates: dict = attrs.field(factory=dict)  # issued, by serial

    def answer(self, method, query, body):
        """Return (status, media type, body)."""
        asked = parse_query(query, method)
        if asked.operation is Operation.GetCACaps:
            return (200, "text/plain", self.capabilities) if self.capabilities else (404, "text/plain", b"no")
        if asked.operation is Operation.GetCACert:
            return self._certificates()
        if asked.operation is Operation.GetNextCACert:
            return (200, NEXT_CA_TYPE, self.next_ca) if self.next_ca else (404, "text/plain", b"no")
        message = parse_message(body if method == b"POST" else decode_message(asked.raw_message))
        self.requests.append((method.decode(), message))
        if self.status != 200:
            return self.status, "text/plain", b"not now\x1b[31m"
        return 200, "application/x-pki-message", self._reply(message)

    def _certificates(self):
        if self.single:
            return 200, CA_CERTIFICATE_TYPE, self.authority.ca_der
        ours = dict.fromkeys((self.authority.sign_der, self.authority.decrypt_der, self.authority.ca_der))
        return 200, CA_RA_CERTIFICATE_TYPE, certs_only(self.served if self.served is not None else list(ours))

    def _reply(self, message):
        verify_message(message, POLICY)
        bent = attrs.evolve(
            message,
            sender_nonce=self.nonce or message.sender_nonce,
            transaction_id=self.transaction or message.transaction_id,
        )
        certificate_der, key = self.signer or (self.authority.sign_der, self.authority.sign_key)
        common = {"signer": ReplySigner(certificate_der, key), "now": datetime.now(UTC), "random": os.urandom}
        try:
            self.opened.append(self._open(message))
            if message.message_type in {MessageType.PKCSReq, MessageType.RenewalReq}:
                self.asked[message.transaction_id] = self.opened[-1]
            if self.pending:
                self.pending -= 1
                return pending(bent, policy=POLICY, **common)
            certificates, crls = self._outcome(message, self.opened[-1])
        except Reject as refusal:
            return failure(bent, refusal.fail_info, refusal.fail_info_text, policy=POLICY, **common)
        cipher, transport = self.cipher or Cipher.AES128, PKCS1V15
        password = Secret(CHALLENGE)
        return success(bent, certificates, cipher=cipher, transport=transport, crls=crls, password=password, **common)

    def _open(self, message):
        ours = self.authority
        return decrypt(message.content, ours.decrypt_der, ours.decrypt_key, POLICY, password=Secret(CHALLENGE))

    def _outcome(self, message, content):
        """Return certificates and CRLs; raises Reject."""
        if message.message_type == MessageType.GetCert:
            issuer, serial = parse_issuer_and_serial(content)
            if issuer != load_certificate(self.authority.ca_der).subject_der or serial not in self.certificates:
                raise Reject(Reason.certificate_unknown)
            return [self.shown or self.certificates[serial]], []
        if message.message_type == MessageType.GetCRL:
            parse_issuer_and_serial(content)
            return [], self.crls if self.crls is not None else [self.authority.crl()]
        if message.message_type == MessageType.CertPoll:
            issuer, subject = tlv.read(content).children
            assert issuer.der == load_certificate(self.authority.ca_der).subject_der
            csr = parse_csr(self.asked[message.transaction_id])
            assert subject.der == csr.subject_der
        else:
            csr = parse_csr(content)
            self._authorize(message, csr)
        by = self.issuer or self.authority
        issued = self.forged(csr) if self.forged else by.issue(csr, spki=self.spki, now=self.issued_at)
        self.certificates[load_certificate(issued).serial] = issued
        return [issued, by.ca_der], []

    def _authorize(self, message, csr):
        verify_csr(csr, POLICY)
        if message.signer.der in self.certificates.values():
            return
        if message.message_type == MessageType.RenewalReq:
            raise Reject(Reason.renewal_signer_unknown)
        if csr.challenge is None or csr.challenge.reveal() != CHALLENGE:
            raise Reject(Reason.challenge_invalid)


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
