"""The seams between the rooms, as Protocols."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import attrs
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from scepd.message.algorithms import KeyTransport
from scepd.message.csr import CertificationRequest
from scepd.records import (
    Certificate,
    CertificateState,
    Challenge,
    Crl,
    Entity,
    Identity,
    Intent,
    Notice,
    Petition,
    Posting,
    Refusal,
    Revocation,
    Secret,
    Step,
    Ticket,
    Transaction,
    TransactionKey,
)
from scepd.refusal import Reason

# A key that signs is a subclass of cryptography's private-key classes, so that its builders sign in the token.
SigningKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> datetime:
        """Return the present as an aware UTC datetime."""


class DecryptionKey(Protocol):
    """An RA decryption key in a token (or, in tests, in memory)."""

    def supports(self, transport: KeyTransport) -> bool:
        """Return whether the token can undo this key transport at all."""

    def unwrap(self, encrypted_key: bytes, transport: KeyTransport, length: int) -> bytes:
        """Return a content key of `length` octets; a pseudo-random one where padding or length is wrong.

        The same token calls are made for good and bad input (implicit rejection); only faults of the
        token itself raise (`hsm.lanes.TokenFault`).
        """


class Store(Protocol):
    """What the enrolment path needs from the store; every call is synchronous and runs in a lane."""

    def recall(self, key: TransactionKey, *, case_blind: bool = False) -> Transaction | None:
        """Return the newest transaction of that identity; `case_blind` takes its id in other letter cases where none is exact."""

    def transaction(self, number: int) -> Transaction | None:
        """Return one transaction by its row number."""

    def find_challenge(self, profile: str, digest: bytes) -> Challenge | None:
        """Return the one-time challenge of that profile with that keyed digest, whatever its state."""

    def find_entity(self, profile: str, username: str) -> Entity | None:
        """Return the registered entity of that common name in that profile, whatever its state."""

    def challenge(self, number: int) -> Challenge | None:
        """Return a one-time challenge by its row number."""

    def claim(self, intent: Intent) -> tuple[Transaction, bool]:
        """In one write transaction: recall, reserve serial and challenge, write the intent and its audit row.

        Returns the transaction and whether this call created it. Raises `Reject(challenge_replayed)` when
        the challenge was taken meanwhile, `SerialTaken` when the serial exists.
        """

    def petition(self, petition: Petition) -> tuple[Transaction, bool]:
        """In one write transaction: recall, reserve the challenge, write a PENDING transaction and its audit row.

        Returns as `claim` does. Raises `Reject` (pending_full, challenge_replayed, challenge_expired).
        """

    def proceed(self, transaction: Transaction, intent: Intent) -> tuple[Transaction, bool]:
        """In one write transaction: APPROVED → ISSUING by this owner, with serial, draft and audit row.

        Returns the row as stored and whether this call moved it. Raises as `claim` does.
        """

    def successor(self, certificate: int) -> Certificate | None:
        """Return the certificate (reserved or issued) that renews the certificate of that row number."""

    def is_key_certified(self, public_key: bytes, now: datetime, *, besides: int) -> bool:
        """Return whether a live certificate other than that row has the key (SHA-256 of its SubjectPublicKeyInfo)."""

    def is_key_blocked(self, public_key: bytes) -> bool:
        """Return whether the key's certificate was revoked as compromised, withdrawn or held: it is certified no more."""

    def withdraw(self, transaction: Transaction, reason: Reason, detail: str) -> Transaction:
        """In one write transaction: APPROVED → REJECTED, challenge free again, audit row; what cannot be issued any more.

        Returns the row as stored: unchanged where it was not APPROVED.
        """

    def suspect_clone(self, certificate: int, key: TransactionKey, address: str) -> None:
        """Write the audit row `clone_suspected`: two keys claim to renew one certificate (threats S-49)."""

    def latest_crl(self, issuer: str) -> Crl | None:
        """Return the newest CRL of an issuer."""

    def latest_crl_number(self, issuer: str) -> int:
        """Return the number of the newest CRL of an issuer, 0 where there is none."""

    def generation(self) -> int:
        """Return the number that rises with each decision, revocation and CRL."""

    def certificate_status(self, issuer: str, serial: int) -> tuple[CertificateState, Revocation | None] | None:
        """Return the state of a certificate and its revocation; None where there is no such row."""

    def responder_certificate(self, issuer: str) -> bytes | None:
        """Return the newest certificate of an issuer's OCSP key."""

    def waiting_challenges(self, profile: str, now: datetime, limit: int) -> Sequence[Challenge]:
        """Return free, unexpired challenges that have a sealed text, newest first."""

    def ticket_holder(self, ticket: Ticket) -> Transaction | None:
        """Return the transaction that has used a signed challenge."""

    def add_notices(self, postings: Sequence[Posting]) -> int:
        """Keep notices of what never became a transaction, such as a refusal of somebody known.

        Returns how many there was no room for.
        """

    def record(self, transaction: Transaction, certificate_der: bytes, trail: tuple[Step, ...]) -> Transaction:
        """In one write transaction: ISSUING → ISSUED, certificate, spent challenge, audit row.

        Returns the row as stored; where another finished it first, that one's row (same serial).
        """

    def abandon(self, transaction: Transaction, reason: Reason, detail: str, trail: tuple[Step, ...]) -> Transaction:
        """In one write transaction: ISSUING → REJECTED, serial failed, challenge free again, audit row."""

    def unfinished(self, owner: str) -> Sequence[Transaction]:
        """Return the ISSUING transactions claimed by that owner."""

    def retire(self, transaction: Transaction) -> None:
        """Let a finished transaction answer no more, so that its identity can be used anew (revoked or past half its life)."""

    def certificate(self, issuer: str, serial: int) -> Certificate | None:
        """Return a certificate row."""

    def refused(self, refusals: Sequence[Refusal]) -> None:
        """Append to the bounded table of refusals, in one write transaction."""


class SerialTaken(Exception):  # noqa: N818 - a collision, not an error: the caller draws another serial
    """The serial number exists already for that issuer."""


class ChallengeMethod(Protocol):
    """A local challenge method: judged read-only here, reserved and spent by the store."""

    @property
    def name(self) -> str:
        """The method's word in the configuration."""

    def authenticate(self, csr: CertificationRequest, store: Store, now: datetime) -> Identity | None:
        """Return who asked; None when this method does not know the challenge.

        Raises `Reject` when the challenge is this method's and may not be used (expired, spent, another device's).
        """


@attrs.frozen
class Question:
    """What a remote method is asked: a request whose writer is proved, before anything is promised.

    `identity` is set where the compliance of somebody known is asked; `renews` is the serial of a certificate that
    is being renewed.
    """

    profile: str
    transaction_id: str
    message_type: int
    csr: CertificationRequest
    address: str
    request_id: str
    identity: Identity | None = None
    renews: int | None = None


class RemoteMethod(Protocol):
    """A challenge method that asks somebody over the network; it lives on the reactor."""

    name: str

    async def ask(self, question: Question) -> Identity | None:
        """Return who asks; None when the challenge is none of this method's.

        Raises `Reject` for a definite no, `Unavailable` when it cannot tell: never a certificate then.
        """


class Notifier(Protocol):
    """Somebody outside who is told how requests end."""

    async def notify(self, notice: Notice) -> None:
        """Tell; raises `Unavailable` to be asked again later."""


class Passwords(Protocol):
    """The challenge texts of one profile, for PasswordRecipientInfo (RFC 8894 section 3.1); none where it takes no such."""

    def candidates(
        self, store: Store, transaction_id: str, now: datetime, *, requester: bytes | None = None
    ) -> Sequence[Secret]:
        """Return the few texts that a request may be encrypted with, in the order to try them (C-253).

        `requester`: SHA-256 of the signer's SubjectPublicKeyInfo, which finds its transaction again.
        """

    def of_identity(self, store: Store, identity: Identity) -> Secret | None:
        """Return the text that somebody was authenticated with, to protect a later reply; None where it is not kept."""
