"""Key pairs made in the token: never extractable, one role each unless both are asked for."""

import os
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass, exceptions
from pkcs11.constants import DEFAULT
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters
from pkcs11.util.rsa import encode_rsa_public_key

from scepd.hsm.attributes import Roles
from scepd.hsm.faults import describe, fault_of
from scepd.hsm.token import Session
from scepd.refusal import OperatorError

CURVES = {"P-256": "1.2.840.10045.3.1.7", "P-384": "1.3.132.0.34", "P-521": "1.3.132.0.35"}
RSA_BITS = (2048, 3072, 4096)
_ID_OCTETS = 8
_CAPABILITIES: dict[Roles, MechanismFlag] = {
    "sign": MechanismFlag.SIGN | MechanismFlag.VERIFY,
    "decrypt": MechanismFlag.DECRYPT | MechanismFlag.ENCRYPT,
    "both": MechanismFlag.SIGN | MechanismFlag.VERIFY | MechanismFlag.DECRYPT | MechanismFlag.ENCRYPT,
}

_PRIVATE = {
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.UNWRAP: False,
    Attribute.DERIVE: False,
    Attribute.SIGN_RECOVER: False,  # SoftHSM's default is True for every private key
    Attribute.MODIFIABLE: False,
}
_USAGE = (Attribute.ENCRYPT, Attribute.VERIFY, Attribute.WRAP)  # of a public key
# What a token may refuse to be told; it is left out on the second try.
_OPTIONAL = (Attribute.MODIFIABLE, Attribute.SIGN_RECOVER)


def generate_rsa(
    session: Session, label: str, bits: int, role: Roles, random: Callable[[int], bytes] = os.urandom
) -> rsa.RSAPublicKey:
    """Make an RSA key pair with public exponent 65537 and return its public key.

    `session` must be writable; role "both" is for a single RA key or a CA that is its own RA. Raises `OperatorError` where the label is taken or the token cannot.
    """
    if bits not in RSA_BITS:
        raise OperatorError(f"RSA keys have 2048, 3072 or 4096 bits here, not {bits}", "--type rsa:3072")
    capabilities = _CAPABILITIES[role]

    def make(names: dict[str, Any], private: dict[Attribute, Any]) -> Any:
        return session.handle.generate_keypair(
            KeyType.RSA, bits, store=True, capabilities=capabilities, private_template=private, **names
        )

    public = load_der_public_key(encode_rsa_public_key(_generate(session, label, random, make)))
    assert isinstance(public, rsa.RSAPublicKey)
    return public


def generate_ec(
    session: Session, label: str, curve: str, random: Callable[[int], bytes] = os.urandom
) -> ec.EllipticCurvePublicKey:
    """Make an EC key pair that signs and return its public key. Raises as `generate_rsa`."""
    if curve not in CURVES:
        raise OperatorError(f"curve {curve} is not one of {', '.join(CURVES)}", "--type ec:P-256")
    parameters = {Attribute.EC_PARAMS: encode_named_curve_parameters(CURVES[curve])}

    def make(names: dict[str, Any], private: dict[Attribute, Any]) -> Any:
        domain = session.handle.create_domain_parameters(KeyType.EC, parameters, local=True)
        return domain.generate_keypair(
            store=True,
            capabilities=_CAPABILITIES["sign"],
            private_template=private,
            **names,
        )

    public = load_der_public_key(encode_ec_public_key(_generate(session, label, random, make)))
    assert isinstance(public, ec.EllipticCurvePublicKey)
    return public


def can_make_ec(session: Session) -> bool:
    """Return whether the token makes EC keys (CKM_EC_KEY_PAIR_GEN)."""
    return Mechanism.EC_KEY_PAIR_GEN in session.token.mechanisms


Maker = Callable[[dict[str, Any], dict[Attribute, Any]], Any]


def _generate(session: Session, label: str, random: Callable[[int], bytes], make: Maker) -> Any:
    """Return the public key object of a new pair."""
    if session.find({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: label}):
        raise OperatorError(f"the token has a private key '{label}' already", "choose another label, or use that key")
    names: dict[str, Any] = {"label": label, "id": random(_ID_OCTETS)}
    if not session.token.quirks.states_usage:
        names["public_template"] = dict.fromkeys(_USAGE, DEFAULT)
    lean = {word: value for word, value in _PRIVATE.items() if word not in _OPTIONAL}
    try:
        try:
            public, _private = make(names, _PRIVATE)
        except (exceptions.AttributeTypeInvalid, exceptions.AttributeValueInvalid, exceptions.TemplateInconsistent):
            public, _private = make(names, lean)
    except (exceptions.MechanismInvalid, exceptions.KeySizeRange, exceptions.DomainParamsInvalid) as error:
        problem = f"the token does not make this kind of key ({describe(error)})"
        raise OperatorError(problem, "another key type, such as rsa:3072; pkcs11-tool --list-mechanisms") from error
    except (exceptions.SessionReadOnly, exceptions.TokenWriteProtected) as error:
        raise OperatorError(
            f"the token cannot be written to ({describe(error)})", "check its write protection"
        ) from error
    except exceptions.PKCS11Error as error:
        raise fault_of(error) from error
    return public
