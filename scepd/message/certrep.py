"""The CertRep (RFC 8894 section 3.3.2), made by the server and read by the client; certs-only SignedData."""

from collections.abc import Callable, Sequence
from datetime import datetime

import attrs
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from scepd.message import tlv
from scepd.message.algorithms import Cipher, CryptoPolicy, Digest, KeyTransport
from scepd.message.certificate import load_certificate
from scepd.message.enveloped import encrypt
from scepd.message.errors import MessageError
from scepd.message.names import SIGNED_DATA, MessageType, PkiStatus
from scepd.message.request import PKIMessage, build_message, parse_message, verify_message
from scepd.message.signature import can_sign
from scepd.message.signed import SignedData, read_signed_data, write_content_info, write_encapsulated
from scepd.records import Secret
from scepd.refusal import FailInfo, Reason, Reject

_NONCE = 16  # octets
_VERSION_1 = tlv.integer(1)
_EMPTY_SET = tlv.set_of(())
_ALL_DIGESTS = frozenset(Digest)


@attrs.frozen
class ReplySigner:
    """Who signs the replies of an issuer: the RA (or CA) certificate, its key, and what goes into the bag beside it."""

    certificate_der: bytes
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    chain: tuple[bytes, ...] = ()


@attrs.frozen
class CertRep:
    """A CertRep as a client reads it: verified; `content` is the envelope of a SUCCESS."""

    status: PkiStatus
    fail_info: FailInfo | None
    fail_info_text: str | None
    transaction_id: str
    recipient_nonce: bytes | None
    content: bytes | None


def certs_only(certificates: Sequence[bytes], crls: Sequence[bytes] = ()) -> bytes:
    """Return a degenerate SignedData: no content, no signer, certificates and CRLs in the given order (C-047, C-049)."""
    bags = [tlv.implicit(0, b"".join(certificates), constructed=True)] if certificates else []
    if crls:
        bags.append(tlv.implicit(1, b"".join(crls), constructed=True))
    return write_content_info(
        SIGNED_DATA,
        tlv.sequence(_VERSION_1, _EMPTY_SET, write_encapsulated(None), *bags, _EMPTY_SET),
    )


def read_certs_only(der: bytes) -> list[bytes]:
    """Return the certificates of a degenerate SignedData in their order; raises `MessageError`."""
    return [certificate.der for certificate in _read_degenerate(der).certificates]


def read_crls_only(der: bytes, limits: tlv.Limits = tlv.LIMITS) -> list[bytes]:
    """Return the CRLs of a degenerate SignedData; raises `MessageError`.

    The limits count what is inside the CRLs as well: some five elements an entry.
    """
    return [crl.der for crl in _read_degenerate(der, limits).crls]


def _read_degenerate(der: bytes, limits: tlv.Limits = tlv.LIMITS) -> SignedData:
    data = read_signed_data(der, limits)
    if data.signer_infos or data.content is not None or data.content_fault:
        raise MessageError("signed content where certificates alone are due")
    return data


def success(  # noqa: PLR0913 - a reply needs all of them, and a value of its own would only be taken apart here
    request: PKIMessage,
    certificates: Sequence[bytes],
    *,
    cipher: Cipher,
    transport: KeyTransport,
    signer: ReplySigner,
    now: datetime,
    random: Callable[[int], bytes],
    crls: Sequence[bytes] = (),
    password: Secret | None = None,
) -> bytes:
    """Return a CertRep SUCCESS, the certificates (or CRLs) enveloped to the signer of the request alone (C-122, C-123).

    The digest is the request's, which `verify_message` has held against the policy. A signer whose key cannot
    encrypt gets them under the password (RFC 8894 section 3.1), never in the clear (C-258). Raises
    `Reject(reply_unprotectable)` when there is none, `Reject(signer_key_refused)` for an RSA key that is too small.
    """
    if request.signer is None:
        raise Reject(Reason.signer_missing, request.proof.signer_fault)
    inner = certs_only(certificates, crls)
    content = encrypt(inner, request.signer, cipher=cipher, transport=transport, random=random, password=password)
    outcome = _Outcome(PkiStatus.SUCCESS, content)
    return _reply(request, outcome, signer=signer, now=now, random=random, digests=_ALL_DIGESTS)


def failure(  # noqa: PLR0913 - as in `success`
    request: PKIMessage,
    fail_info: FailInfo,
    text: str | None,
    *,
    signer: ReplySigner,
    now: datetime,
    random: Callable[[int], bytes],
    policy: CryptoPolicy,
    empty_content: bool = True,
) -> bytes:
    """Return a CertRep FAILURE; `text` None leaves failInfoText out.

    RFC 8894 section 3.3.2.2 leaves the content out; certmonger and PyScep cannot read that, so that an eContent
    without octets is there unless `empty_content` is false.
    """
    outcome = _Outcome(PkiStatus.FAILURE, b"" if empty_content else None, fail_info, text)
    return _reply(request, outcome, signer=signer, now=now, random=random, digests=policy.digests)


def pending(
    request: PKIMessage,
    *,
    signer: ReplySigner,
    now: datetime,
    random: Callable[[int], bytes],
    policy: CryptoPolicy,
    empty_content: bool = True,
) -> bytes:
    """Return a CertRep PENDING, with an empty eContent as in `failure`."""
    outcome = _Outcome(PkiStatus.PENDING, b"" if empty_content else None)
    return _reply(request, outcome, signer=signer, now=now, random=random, digests=policy.digests)


@attrs.frozen
class _Outcome:
    """What a reply says."""

    status: PkiStatus
    content: bytes | None
    fail_info: FailInfo | None = None
    fail_info_text: str | None = None


def _reply(
    request: PKIMessage,
    outcome: _Outcome,
    *,
    signer: ReplySigner,
    now: datetime,
    random: Callable[[int], bytes],
    digests: frozenset[Digest],
) -> bytes:
    """Return a signed CertRep that mirrors the request's digest and PSS where it may and can (C-125, C-127)."""
    digest = request.digest
    if digest is None or digest not in digests or not can_sign(signer.key, digest):
        digest = Digest.SHA256
    return build_message(
        message_type=MessageType.CertRep,
        transaction_id=request.transaction_id,
        sender_nonce=random(_NONCE),
        recipient_nonce=request.sender_nonce or None,
        pki_status=outcome.status,
        fail_info=outcome.fail_info,
        fail_info_text=outcome.fail_info_text,
        signing_time=now,
        content=outcome.content,
        signer=(signer.certificate_der, signer.key),
        digest=digest,
        certificates=(signer.certificate_der, *signer.chain),
        pss=request.pss,
    )


def read_certrep(
    body: bytes, *, trusted: Sequence[bytes], policy: CryptoPolicy | None = None, limits: tlv.Limits = tlv.LIMITS
) -> CertRep:
    """Return a CertRep whose signature verifies under one of the trusted RA or CA certificates (DER).

    Raises `MessageError` for what is no CertRep, `Reject` for a signature or algorithm that is not accepted.
    """
    message = parse_message(body, limits)
    info = message.proof.signer_info
    signers = [certificate for certificate in map(load_certificate, trusted) if info.names(certificate)]
    if not signers:
        raise Reject(Reason.signer_missing, "signed by none of the trusted certificates")
    verify_message(attrs.evolve(message, signer=signers[0]), policy or CryptoPolicy())
    if message.message_type != MessageType.CertRep or message.pki_status not in set(PkiStatus):
        raise MessageError(f"messageType {message.message_type} with pkiStatus {message.pki_status}")
    if message.fail_info not in {None, *FailInfo}:
        raise MessageError(f"failInfo {message.fail_info}")
    return CertRep(
        status=PkiStatus(message.pki_status),
        fail_info=None if message.fail_info is None else FailInfo(message.fail_info),
        fail_info_text=message.fail_info_text,
        transaction_id=message.transaction_id,
        recipient_nonce=message.recipient_nonce,
        content=message.content,
    )
