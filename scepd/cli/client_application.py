"""What the SCEP client asks for: the PKCS#10 of an enrolment or a renewal, and the transaction it begins."""

import hashlib
import string
from collections.abc import Callable, Sequence
from datetime import datetime

import attrs
from cryptography import x509

from scepd.cli.client_keys import Signer, check_digest, make_signer, public_key_der
from scepd.cli.client_likeness import names_of
from scepd.message import tlv
from scepd.message.algorithms import Digest
from scepd.message.certificate import load_certificate
from scepd.message.csr import build_csr, read_name
from scepd.message.csr_attributes import Extension
from scepd.message.errors import MessageError
from scepd.message.names import SUBJECT_ALT_NAME, MessageType
from scepd.message.signature import SigningKey
from scepd.records import GeneralName, Name, Secret
from scepd.refusal import OperatorError
from scepd.x509.certificate import new_serial
from scepd.x509.general_names import to_x509_general_name
from scepd.x509.keys import spki_digest
from scepd.x509.names import encode

# RFC 2985 section 5.4.1 prefers PrintableString; other texts go as UTF8String.
_PRINTABLE = frozenset(string.ascii_letters + string.digits + " '()+,-./:=?")


@attrs.frozen
class Wish:
    """What the certificate shall say, and the challenge that allows it."""

    subject: Name
    names: tuple[GeneralName, ...] = ()
    challenge: Secret | None = None


@attrs.frozen(kw_only=True)
class Transaction:
    """What stays the same from a request to its last poll: the id, who signs, and what the certificate must be for."""

    id: str
    signer: Signer
    subject_der: bytes
    public_key_der: bytes
    names: tuple[str, ...] = ()  # asked for, as "dns:host"


@attrs.frozen(kw_only=True)
class Application:
    """A request for a certificate; `challenge` may protect the request, its reply, or both (RFC 8894 section 3.1)."""

    transaction: Transaction
    message_type: MessageType
    csr: bytes = attrs.field(repr=False)
    challenge: Secret | None


def enrolment(
    key: SigningKey,
    wish: Wish,
    *,
    digest: Digest,
    now: datetime,
    random: Callable[[int], bytes],
    passing: bool = False,
) -> Application:
    """Return the PKCSReq for a key; `passing` has a throw-away RSA key sign it (`make_signer`).

    The transactionID is the digest of the key, so that the same request sent again is the same transaction.
    """
    signer = make_signer(key, wish.subject, new_serial(random), now, passing=passing)
    transaction = Transaction(
        id=spki_digest(public_key_der(key)).hex(),
        signer=signer,
        subject_der=encode(wish.subject),
        public_key_der=public_key_der(key),
        names=tuple(f"{name.kind}:{name.value}" for name in wish.names),
    )
    csr = _csr(key, wish.subject, wish.challenge, _extensions(wish.names), digest)
    return Application(transaction=transaction, message_type=MessageType.PKCSReq, csr=csr, challenge=wish.challenge)


def renewal(
    old: Signer, key: SigningKey, *, digest: Digest, challenge: Secret | None = None, as_pkcsreq: bool = False
) -> Application:
    """Return the request for a successor of a certificate: same names, signed with it (RFC 8894 section 2.3).

    The transactionID comes from key and old certificate, since the key alone may have had a transaction before.
    """
    subject_der = load_certificate(old.certificate_der).subject_der
    public = public_key_der(key)
    transaction = Transaction(
        id=hashlib.sha256(public + old.certificate_der).hexdigest(),
        signer=old,
        subject_der=subject_der,
        public_key_der=public,
        names=names_of(old.certificate_der),
    )
    try:
        subject = read_name(tlv.read(subject_der))
    except MessageError as error:
        raise OperatorError(f"the certificate's subject cannot be copied: {error}", "scepd client enroll") from error
    return Application(
        transaction=transaction,
        message_type=MessageType.PKCSReq if as_pkcsreq else MessageType.RenewalReq,
        csr=_csr(key, subject, challenge, _names_of(old.certificate_der), digest),
        challenge=challenge,
    )


def _csr(
    key: SigningKey, subject: Name, challenge: Secret | None, extensions: Sequence[Extension], digest: Digest
) -> bytes:
    text = None if challenge is None else challenge.reveal()
    check_digest(key, digest)
    return build_csr(
        subject=subject,
        private_key=key,
        challenge=text,
        extensions=extensions,
        digest=digest,
        challenge_tag=tlv.PRINTABLE_STRING if set(text or "") <= _PRINTABLE else tlv.UTF8_STRING,
    )


def _extensions(names: Sequence[GeneralName]) -> tuple[Extension, ...]:
    if not names:
        return ()
    value = x509.SubjectAlternativeName([to_x509_general_name(name) for name in names])
    return (Extension(SUBJECT_ALT_NAME, False, value.public_bytes()),)


def _names_of(certificate_der: bytes) -> tuple[Extension, ...]:
    certificate = x509.load_der_x509_certificate(certificate_der)
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    except ValueError as error:
        raise OperatorError(f"the certificate's names cannot be copied: {error}", "scepd client enroll") from error
    return (Extension(SUBJECT_ALT_NAME, found.critical, found.value.public_bytes()),)
