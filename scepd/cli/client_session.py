"""The protocol part of the SCEP client: capabilities, CA certificates, one enrolment (RFC 8894 sections 3 and 4)."""

import string
import time
from collections.abc import Callable, Sequence
from datetime import datetime

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from scepd.cli.client_http import Response, Server
from scepd.cli.client_keys import PrivateKey, Signer, make_signer, public_key_der
from scepd.cli.client_trust import Authority, chain_of, check_issued
from scepd.message.algorithms import MODERN_CIPHERS, MODERN_DIGESTS, Cipher, CryptoPolicy, Digest, KeyTransport
from scepd.message.capabilities import parse_capabilities
from scepd.message.certrep import CertRep, read_certrep, read_certs_only
from scepd.message.csr import build_csr
from scepd.message.csr_attributes import Extension
from scepd.message.enveloped import decrypt, encrypt
from scepd.message.errors import MessageError
from scepd.message.names import CA_CERTIFICATE_TYPE, MessageType, Operation, PkiStatus
from scepd.message.signed import build_message
from scepd.message.tlv import PRINTABLE_STRING, UTF8_STRING, sequence
from scepd.records import GeneralName, Name, Secret
from scepd.refusal import FailInfo, OperatorError, Reject
from scepd.x509.certificate import new_serial
from scepd.x509.general_names import to_x509_general_name
from scepd.x509.keys import spki_digest
from scepd.x509.names import encode

_SUBJECT_ALTERNATIVE_NAME = "2.5.29.17"
# RFC 2985 section 5.4.1 prefers PrintableString; other texts go as UTF8String.
_PRINTABLE = frozenset(string.ascii_letters + string.digits + " '()+,-./:=?")
_NONCE = 16  # octets (RFC 8894 section 3.2.1.5)
_POLL_EVERY = 10.0  # seconds

_FAIL_HINTS = {
    FailInfo.badAlg: "other algorithms: --digest, --cipher, --oaep",
    FailInfo.badMessageCheck: "the CA's certificates may have changed: scepd client getca",
    FailInfo.badRequest: "a fresh challenge: scepd challenge new PROFILE; the server's reason: scepd request list",
    FailInfo.badTime: "the clock of this machine",
    FailInfo.badCertId: "the server does not know this request any more: send it anew",
}


@attrs.frozen
class Choice:
    """The algorithms and the HTTP method of one enrolment."""

    digest: Digest
    cipher: Cipher
    transport: KeyTransport
    post: bool

    @property
    def policy(self) -> CryptoPolicy:
        """What a reply may use: the modern algorithms, and what was asked for by name."""
        return CryptoPolicy(digests=MODERN_DIGESTS | {self.digest}, ciphers=MODERN_CIPHERS | {self.cipher})


@attrs.frozen
class Wish:
    """What the certificate shall say, and the challenge that allows it."""

    subject: Name
    names: tuple[GeneralName, ...] = ()
    challenge: Secret | None = None


@attrs.frozen
class Enrolment:
    """An issued certificate and the certificates above it, nearest first."""

    certificate_der: bytes
    chain: tuple[bytes, ...]


@attrs.frozen
class Session:
    """One client talking to one server; time and randomness come in."""

    server: Server
    now: Callable[[], datetime]
    random: Callable[[int], bytes]
    sleep: Callable[[float], None] = time.sleep
    identifier: str = ""  # the CA identifier of servers that want one in `message`

    def capabilities(self) -> frozenset[str]:
        """Return the capability words; none where the server has no GetCACaps (RFC 8894 section 3.5.1)."""
        answer = self.server.ask(Operation.GetCACaps, self.identifier)
        return parse_capabilities(answer.body) if answer.status == 200 else frozenset()

    def certificates(self) -> list[bytes]:
        """Return the certificates of GetCACert in the order served; nothing of them is checked yet."""
        answer = _ok(self.server.ask(Operation.GetCACert, self.identifier), "GetCACert")
        # Some servers send one certificate under the other media type; the bytes decide then.
        single = answer.content_type == CA_CERTIFICATE_TYPE or _is_certificate(answer.body)
        try:
            certificates = [answer.body] if single else read_certs_only(answer.body)
        except (MessageError, Reject) as error:
            raise OperatorError(f"the answer to GetCACert cannot be read: {error}", "is this a SCEP server?") from error
        if not certificates:
            raise OperatorError("the server serves no CA certificate", "is this a SCEP server?")
        return certificates

    def enrol(
        self, key: PrivateKey, wish: Wish, authority: Authority, choice: Choice, *, patience: float = 0
    ) -> Enrolment:
        """Ask for a certificate, wait up to `patience` seconds where a person must decide, check what comes.

        Raises `OperatorError` for a refusal and for every answer that is not believed.
        """
        signer = make_signer(key, wish.subject, new_serial(self.random), self.now())
        challenge = None if wish.challenge is None else wish.challenge.reveal()
        csr = build_csr(
            subject=wish.subject,
            private_key=key,
            challenge=challenge,
            extensions=_extensions(wish.names),
            digest=choice.digest,
            challenge_tag=PRINTABLE_STRING if set(challenge or "") <= _PRINTABLE else UTF8_STRING,
        )
        exchange = _Exchange(self, signer, authority, choice, spki_digest(public_key_der(key)).hex())
        reply = exchange.send(MessageType.PKCSReq, csr)
        deadline = self.now().timestamp() + patience
        while reply.status is PkiStatus.PENDING and self.now().timestamp() < deadline:
            self.sleep(min(_POLL_EVERY, max(deadline - self.now().timestamp(), 0.1)))
            reply = exchange.send(MessageType.CertPoll, _issuer_and_subject(authority, wish.subject))
        try:
            certificates = exchange.open(reply)
        except OperatorError as error:
            raise _explained(error, key) from error
        return self._accept(key, certificates, authority)

    def _accept(self, key: PrivateKey, certificates: Sequence[bytes], authority: Authority) -> Enrolment:
        if not certificates:
            raise OperatorError("the reply carries no certificate", "tell the operator of the server")
        issued, others = certificates[0], certificates[1:]
        check_issued(issued, public_key_der(key), others, authority, self.now())
        return Enrolment(issued, tuple(chain_of(issued, others, authority)))


@attrs.frozen
class _Exchange:
    """The messages of one transaction: same signer, same transactionID, a fresh nonce each."""

    session: Session
    signer: Signer
    authority: Authority
    choice: Choice
    transaction_id: str

    def send(self, message_type: MessageType, message_data: bytes) -> CertRep:
        """Send one PKIMessage and return the reply that answers it, its signature and nonce checked."""
        nonce = self.session.random(_NONCE)
        choice = self.choice
        message = build_message(
            message_type=message_type.value,
            transaction_id=self.transaction_id,
            sender_nonce=nonce,
            content=encrypt(
                message_data,
                self.authority.recipient,
                cipher=choice.cipher,
                transport=choice.transport,
                random=self.session.random,
            ),
            signer=(self.signer.certificate_der, self.signer.key),
            digest=choice.digest,
            signing_time=self.session.now(),
        )
        answer = _ok(self.session.server.deliver(message, post=choice.post), "PKIOperation")
        return self._read(answer.body, nonce)

    def _read(self, body: bytes, nonce: bytes) -> CertRep:
        hint = "do not trust this answer; tell the operator of the server"
        try:
            reply = read_certrep(body, trusted=self.authority.signers, policy=self.choice.policy)
        except (MessageError, Reject) as error:
            raise OperatorError(f"the reply is not by the CA or its RA, or cannot be read: {error}", hint) from error
        if reply.transaction_id != self.transaction_id:
            raise OperatorError("the reply is to another transaction", hint)
        if reply.recipient_nonce != nonce:
            raise OperatorError("the reply does not echo our nonce: it may be an old one", hint)
        return reply

    def open(self, reply: CertRep) -> list[bytes]:
        """Return the certificates of a SUCCESS; raises `OperatorError` for FAILURE and PENDING."""
        if reply.status is PkiStatus.PENDING:
            raise OperatorError(
                f"pending: a person must approve transaction {self.transaction_id}",
                "the same command again with the same --key, or --poll SECONDS",
            )
        if reply.status is not PkiStatus.SUCCESS or not reply.content:
            raise refused(reply)
        try:
            inner = decrypt(reply.content, self.signer.certificate_der, self.signer.key, self.choice.policy)
            return read_certs_only(inner)
        except (MessageError, Reject) as error:
            raise OperatorError(
                f"the reply cannot be decrypted: {error}",
                "--cipher as the server answers (des3, des); was the key changed meanwhile?",
            ) from error


def refused(reply: CertRep) -> OperatorError:
    """Return a FAILURE in words: failInfo and failInfoText."""
    if reply.fail_info is None:
        return OperatorError("refused, without a reason", "the server's log")
    fail_info = FailInfo(reply.fail_info)
    words = ": ".join(part for part in ("refused", fail_info.name, _printable(reply.fail_info_text or "")) if part)
    return OperatorError(words, _FAIL_HINTS[fail_info])


def _explained(error: OperatorError, key: PrivateKey) -> OperatorError:
    if isinstance(key, RSAPrivateKey) or not error.problem.startswith("refused"):
        return error
    hint = "an RSA key: many servers want the request signed by the certificate's own key, and reply to no EC key"
    return OperatorError(error.problem, hint)


def _ok(answer: Response, operation: str) -> Response:
    if answer.status != 200:
        words = _printable(answer.body[:200].decode("ascii", "replace")).strip()
        hint = "try again later" if answer.status == 503 else "is the URL that of a profile?"
        raise OperatorError(f"{operation}: HTTP {answer.status} {words}".strip(), hint)
    return answer


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _is_certificate(body: bytes) -> bool:
    try:
        x509.load_der_x509_certificate(body)
    except ValueError:
        return False
    return True


def _extensions(names: Sequence[GeneralName]) -> tuple[Extension, ...]:
    if not names:
        return ()
    value = x509.SubjectAlternativeName([to_x509_general_name(name) for name in names])
    return (Extension(_SUBJECT_ALTERNATIVE_NAME, False, value.public_bytes()),)


def _issuer_and_subject(authority: Authority, subject: Name) -> bytes:
    issuer = x509.load_der_x509_certificate(authority.issuer).subject.public_bytes()
    return sequence(issuer, encode(subject))
