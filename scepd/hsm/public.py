"""The public key of a key pair that was made in the token and has no certificate yet."""

import hashlib
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from pkcs11 import Attribute, ObjectClass
from pkcs11.util.ec import encode_ec_public_key
from pkcs11.util.rsa import encode_rsa_public_key

from scepd.hsm.attributes import key_type
from scepd.hsm.token import Session
from scepd.refusal import OperatorError


def is_taken(session: Session, label: str) -> bool:
    """Return whether any private or public key of the token has that label. Raises `TokenFault`."""
    kinds = (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY)
    return any(session.find({Attribute.CLASS: kind, Attribute.LABEL: label}) for kind in kinds)


def public_key(session: Session, label: str) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey | None:
    """Return the public key with that label, None where there is none.

    Raises `OperatorError` where several have that label or its kind is not ours, `TokenFault`.
    """
    found = session.find({Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.LABEL: label})
    if not found:
        return None
    if len(found) > 1:
        raise OperatorError(f"{len(found)} public keys are called '{label}'", "scepd hsm list")
    encode = {"RSA": encode_rsa_public_key, "EC": encode_ec_public_key}.get(key_type(found[0]))
    key = None if encode is None else load_der_public_key(encode(found[0]))
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise OperatorError(f"the key '{label}' is neither RSA nor EC", "scepd hsm list")
    return key


def public_key_digest(private_key: Any, session: Session) -> str | None:
    """Return the SHA-256 (hexadecimal) of the SubjectPublicKeyInfo of a private key in the token; None where it does not tell."""
    key = public_key(session, private_key.label) if private_key.label else None
    if key is None:
        return None
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
