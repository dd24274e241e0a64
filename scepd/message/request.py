"""The PKIMessage (RFC 8894 section 3), in either direction: read, verified, built."""

import hmac
from datetime import datetime

import attrs

from scepd.message import tlv
from scepd.message.algorithms import RSASSA_PSS, CryptoPolicy, Digest
from scepd.message.certificate import SignerCertificate
from scepd.message.errors import MessageError
from scepd.message.names import DATA, ENVELOPED_DATA
from scepd.message.plain import read_plain
from scepd.message.signature import Scheme, check_signer_key, find_digest, is_valid, read_scheme
from scepd.message.signed import SignerInfo, build_message, digest_content, read_parts
from scepd.refusal import Reason, Reject

__all__ = ["PKIMessage", "Proof", "SignerCertificate", "build_message", "parse_message", "verify_message"]

_CONTENT_TYPES = frozenset({DATA, ENVELOPED_DATA})


@attrs.frozen
class Proof:
    """What the verification of a PKIMessage needs besides its values."""

    signer_info: SignerInfo
    digest_oids: frozenset[str]  # of SignedData.digestAlgorithms
    content_type: str  # of encapContentInfo
    content_fault: str
    signer_fault: str
    content_type_attribute: str | None
    message_digest: bytes | None


@attrs.frozen
class PKIMessage:
    """A PKIMessage as read, not verified: `verify_message` says whether any of it is true.

    `content` holds the eContent octets: None when absent, b"" when empty. `sender_nonce` is b"" when absent.
    """

    transaction_id: str
    message_type: int
    sender_nonce: bytes
    recipient_nonce: bytes | None
    pki_status: int | None
    fail_info: int | None
    fail_info_text: str | None
    signing_time: datetime | None
    digest_oid: str
    digest: Digest | None  # None: an OID we do not know
    signer: SignerCertificate | None  # None: no certificate, or several, that the SignerInfo names
    content: bytes | None
    proof: Proof = attrs.field(repr=False)

    @property
    def pss(self) -> bool:
        """Whether it is signed with RSASSA-PSS."""
        return self.proof.signer_info.signature_algorithm.oid == RSASSA_PSS


def parse_message(body: bytes, limits: tlv.Limits = tlv.LIMITS) -> PKIMessage:
    """Return the PKIMessage of a DER or BER body; a client that expects a large reply gives limits of its own.

    Raises `MessageError` unless it is SignedData with one SignerInfo whose signed attributes give a transactionID
    and a messageType: nothing less can be answered with a CertRep (C-026). What else is wrong waits for
    `verify_message`.
    """
    parts = read_plain(body) or read_parts(body, limits)
    info, said = parts.signer_info, parts.attributes
    return PKIMessage(
        transaction_id=said.transaction_id,
        message_type=said.message_type,
        sender_nonce=said.sender_nonce,
        recipient_nonce=said.recipient_nonce,
        pki_status=said.pki_status,
        fail_info=said.fail_info,
        fail_info_text=said.fail_info_text,
        signing_time=said.signing_time,
        digest_oid=info.digest_oid,
        digest=find_digest(info.digest_oid),
        signer=parts.signer,
        content=parts.content,
        proof=Proof(
            signer_info=info,
            digest_oids=parts.digest_oids,
            content_type=parts.content_type,
            content_fault=parts.content_fault,
            signer_fault=parts.signer_fault,
            content_type_attribute=said.content_type,
            message_digest=said.message_digest,
        ),
    )


def verify_message(message: PKIMessage, policy: CryptoPolicy) -> None:
    """Verify that the signer certificate's key signed exactly these attributes and this content.

    Raises `Reject`: first algorithm_unsupported and signer_key_refused (badAlg), then signer_missing,
    signed_attributes_invalid and signature_invalid (badMessageCheck), last envelope_invalid for a content type
    that is neither id-data nor id-envelopedData (C-071). No private key is used.
    """
    scheme = _check_algorithms(message, policy)
    if message.signer is None:
        raise Reject(Reason.signer_missing, message.proof.signer_fault)
    check_signer_key(message.signer.public_key(), scheme, policy)
    _check_attributes(message, scheme.digest, content_type_optional=policy.content_type_optional)
    _check_signature(message.proof.signer_info, message.signer, scheme)
    if message.proof.content_type not in _CONTENT_TYPES:
        raise Reject(Reason.envelope_invalid, f"content type {message.proof.content_type}")


def _check_algorithms(message: PKIMessage, policy: CryptoPolicy) -> Scheme:
    digest = message.digest
    if digest is None or digest not in policy.digests:
        raise Reject(Reason.algorithm_unsupported, f"digest {message.digest_oid}")
    if message.digest_oid not in message.proof.digest_oids:
        raise Reject(Reason.algorithm_unsupported, "digest of the signer not among digestAlgorithms")
    return read_scheme(message.proof.signer_info.signature_algorithm, digest)


def _check_attributes(message: PKIMessage, digest: Digest, *, content_type_optional: bool) -> None:
    """Check contentType and messageDigest against the content (RFC 5652 section 5.6; threat S-07)."""
    proof = message.proof
    if proof.content_fault:
        raise Reject(Reason.signed_attributes_invalid, proof.content_fault)
    assumed = DATA if content_type_optional and proof.content_type_attribute is None else proof.content_type_attribute
    if assumed != proof.content_type:
        raise Reject(Reason.signed_attributes_invalid, "contentType attribute missing or not that of the content")
    if proof.message_digest is None:
        raise Reject(Reason.signed_attributes_invalid, "messageDigest attribute missing or unreadable")
    if not hmac.compare_digest(proof.message_digest, digest_content(digest, message.content)):
        raise Reject(Reason.signature_invalid, "messageDigest is not that of the content")


def _check_signature(info: SignerInfo, signer: SignerCertificate, scheme: Scheme) -> None:
    """Verify over the attributes as received under the SET tag, then once more in DER order if they were not in it."""
    assert info.attributes is not None
    key = signer.public_key()
    received = tlv.retag(tlv.SET, info.attributes.der)
    if is_valid(key, scheme, info.signature, received):
        return
    try:
        ordered = tlv.set_of(attribute.normalise() for attribute in info.attributes.children)
    except MessageError as error:
        raise Reject(Reason.signature_invalid, f"signed attributes: {error.detail}") from None
    if ordered == received or not is_valid(key, scheme, info.signature, ordered):
        raise Reject(Reason.signature_invalid, "signature does not verify")
