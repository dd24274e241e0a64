"""What a request asks for, as outside services are told it and as signed challenges name it."""

import base64
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from scepd.message import tlv
from scepd.message.csr import CertificationRequest
from scepd.message.errors import MessageError
from scepd.ports import Question
from scepd.refusal import Reason, Reject
from scepd.x509.general_names import general_names_from_extension
from scepd.x509.keys import load_public_key
from scepd.x509.names import SHORT_NAMES, to_text

_SUBJECT_ALTERNATIVE_NAME = "2.5.29.17"
_EXTENDED_KEY_USAGE = "2.5.29.37"
_STRICT = tlv.Limits(size=8_192, elements=256, depth=4, ber_depth=0)


def requested_names(csr: CertificationRequest) -> tuple[str, ...]:
    """Return the subjectAltNames as "dns:host", in their order; Reject(name_refused) for unreadable ones."""
    return tuple(
        f"{name.kind}:{name.value}"
        for extension in csr.extensions
        if extension.oid == _SUBJECT_ALTERNATIVE_NAME
        for name in general_names_from_extension(extension.value_der)
    )


def requested_attributes(csr: CertificationRequest) -> tuple[tuple[str, str], ...]:
    """Return the subject's attributes that have a short name, as pairs."""
    return tuple(
        (SHORT_NAMES[attribute.oid], attribute.value)
        for rdn in csr.subject
        for attribute in rdn
        if attribute.oid in SHORT_NAMES
    )


def requested_purposes(csr: CertificationRequest) -> tuple[str, ...]:
    """Return the extended key usages as dotted OIDs, in their order; Reject(extension_refused) for unreadable ones."""
    try:
        return tuple(
            purpose.oid()
            for extension in csr.extensions
            if extension.oid == _EXTENDED_KEY_USAGE
            for purpose in tlv.read(extension.value_der, _STRICT).expect(tlv.SEQUENCE).children
        )
    except MessageError as error:
        raise Reject(Reason.extension_refused, f"unreadable extended key usage: {error}") from None


def requested_key(csr: CertificationRequest) -> str:
    """Return type and size of the request's key in one word: "rsa-2048", "ec-256", "ed25519"."""
    key = load_public_key(csr.spki_der)
    if isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        return f"{'rsa' if isinstance(key, rsa.RSAPublicKey) else 'ec'}-{key.key_size}"
    return "ed25519" if isinstance(key, ed25519.Ed25519PublicKey) else "other"


def question_fields(question: Question) -> dict[str, Any]:
    """Return what every service is told of a request; nothing of it is a secret."""
    return {
        "profile": question.profile,
        "transaction_id": question.transaction_id,
        "message_type": question.message_type,
        "subject": to_text(question.csr.subject),
        "names": list(requested_names(question.csr)),
        "address": question.address,
        "request_id": question.request_id,
    }


def base64_text(octets: bytes) -> str:
    """Return octets as JSON carries them."""
    return base64.b64encode(octets).decode()
