"""The protocol part of the SCEP client: capabilities, CA certificates, requests, polls, look-ups (RFC 8894)."""

import time
from collections.abc import Callable
from datetime import datetime

import attrs
from cryptography import x509

from scepd.cli.client_application import Application, Transaction
from scepd.cli.client_choice import Choice
from scepd.cli.client_exchange import Exchange, ok
from scepd.cli.client_http import Server
from scepd.cli.client_keys import Signer
from scepd.cli.client_likeness import differences
from scepd.cli.client_trust import DISTRUST, Authority, chain_of, check_issued
from scepd.message.capabilities import parse_capabilities
from scepd.message.certificate import load_certificate
from scepd.message.certrep import CertRep, read_certs_only
from scepd.message.errors import MessageError
from scepd.message.lookup import build_issuer_and_serial, build_issuer_and_subject
from scepd.message.names import CA_CERTIFICATE_TYPE, MessageType, Operation, PkiStatus
from scepd.records import Secret
from scepd.refusal import OperatorError, Reject

_TRANSACTION = 16  # octets of a random transactionID


@attrs.frozen
class Patience:
    """How long to wait for a person, and the pause between two polls, in seconds; 0 does not wait."""

    timeout: float = 0.0
    interval: float = 10.0


@attrs.frozen
class Asker:
    """Who looks something up: whose answer is encrypted to it, or for a key that cannot decrypt, with the challenge."""

    signer: Signer
    challenge: Secret | None = None


@attrs.frozen
class Enrolment:
    """An issued certificate and the certificates above it, nearest first."""

    certificate_der: bytes
    chain: tuple[bytes, ...]
    differences: tuple[str, ...] = ()  # in words, from what was asked for


@attrs.frozen
class Session:
    """One client talking to one server; time and randomness come in."""

    server: Server
    now: Callable[[], datetime]
    random: Callable[[int], bytes]
    sleep: Callable[[float], None] = time.sleep
    identifier: str = ""  # the CA identifier of servers that want one in `message`
    exact: bool = False  # take no certificate of another subject or other names than asked for

    def capabilities(self) -> frozenset[str]:
        """Return the capability words; none where the server has no GetCACaps (RFC 8894 section 3.5.1)."""
        answer = self.server.ask(Operation.GetCACaps, self.identifier)
        return parse_capabilities(answer.body) if answer.status == 200 else frozenset()

    def certificates(self) -> list[bytes]:
        """Return the certificates of GetCACert in the order served; nothing of them is checked yet."""
        answer = ok(self.server.ask(Operation.GetCACert, self.identifier), "GetCACert")
        # Some servers send one certificate under the other media type; the bytes decide then.
        single = answer.content_type == CA_CERTIFICATE_TYPE or _is_certificate(answer.body)
        try:
            certificates = [answer.body] if single else read_certs_only(answer.body)
        except (MessageError, Reject) as error:
            raise OperatorError(f"the answer to GetCACert cannot be read: {error}", "is this a SCEP server?") from error
        if not certificates:
            raise OperatorError("the server serves no CA certificate", "is this a SCEP server?")
        return certificates

    def apply(
        self, application: Application, authority: Authority, choice: Choice, patience: Patience | None = None
    ) -> Enrolment:
        """Ask for a certificate, wait where a person must decide, check what comes.

        Raises `Refused`, `StillPending` when the patience is over, `OperatorError` for answers that are not believed.
        """
        exchange = self._exchange(application.transaction, authority, choice, application.challenge)
        reply = exchange.send(application.message_type, application.csr)
        return self._await(exchange, application.transaction, reply, patience or Patience())

    def poll(
        self,
        transaction: Transaction,
        authority: Authority,
        choice: Choice,
        patience: Patience | None = None,
        *,
        challenge: Secret | None = None,
    ) -> Enrolment:
        """Ask what became of a request (CertPoll, RFC 8894 section 3.3.3); raises as `apply` does."""
        exchange = self._exchange(transaction, authority, choice, challenge)
        return self._await(exchange, transaction, _poll(exchange, transaction), patience or Patience())

    def look_up(
        self, message_type: MessageType, serial: int, asker: Asker, authority: Authority, choice: Choice
    ) -> bytes:
        """Return the degenerate SignedData that answers a GetCert or GetCRL (RFC 8894 section 3.3.4).

        Raises `Refused`, and `OperatorError` for answers that are not believed.
        """
        own = load_certificate(asker.signer.certificate_der)
        transaction = Transaction(
            id=self.random(_TRANSACTION).hex(),
            signer=asker.signer,
            subject_der=own.subject_der,
            public_key_der=own.spki_der,
        )
        exchange = self._exchange(transaction, authority, choice, asker.challenge)
        asked = build_issuer_and_serial(_subject(authority.issuer), serial)
        return exchange.open(exchange.send(message_type, asked))

    def _exchange(
        self, transaction: Transaction, authority: Authority, choice: Choice, challenge: Secret | None
    ) -> Exchange:
        return Exchange(
            server=self.server,
            now=self.now,
            random=self.random,
            authority=authority,
            choice=choice,
            signer=transaction.signer,
            transaction_id=transaction.id,
            challenge=challenge,
        )

    def _await(self, exchange: Exchange, transaction: Transaction, reply: CertRep, patience: Patience) -> Enrolment:
        deadline = self.now().timestamp() + patience.timeout
        while reply.status is PkiStatus.PENDING and self.now().timestamp() < deadline:
            self.sleep(min(patience.interval, max(deadline - self.now().timestamp(), 0.1)))
            reply = _poll(exchange, transaction)
        return self._accept(transaction, exchange.authority, exchange.open(reply))

    def _accept(self, transaction: Transaction, authority: Authority, inner: bytes) -> Enrolment:
        try:
            certificates = read_certs_only(inner)
        except (MessageError, Reject) as error:
            raise OperatorError(f"the reply cannot be read: {error}", "tell the operator of the server") from error
        if not certificates:
            raise OperatorError("the reply carries no certificate", "tell the operator of the server")
        issued, others = certificates[0], certificates[1:]
        check_issued(issued, transaction.public_key_der, others, authority, self.now())
        found = tuple(differences(issued, transaction.subject_der, transaction.names))
        if found and self.exact:
            raise OperatorError(f"not the certificate that was asked for: {'; '.join(found)}", DISTRUST)
        return Enrolment(issued, tuple(chain_of(issued, others, authority)), found)


def _poll(exchange: Exchange, transaction: Transaction) -> CertRep:
    asked = build_issuer_and_subject(_subject(exchange.authority.issuer), transaction.subject_der)
    return exchange.send(MessageType.CertPoll, asked)


def _subject(certificate_der: bytes) -> bytes:
    return load_certificate(certificate_der).subject_der


def _is_certificate(body: bytes) -> bool:
    try:
        x509.load_der_x509_certificate(body)
    except ValueError:
        return False
    return True
