"""Private keys opened by name: exactly one object, with the right attributes, proved to belong to its certificate."""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Attribute, Mechanism, ObjectClass

from scepd.hsm.attributes import KeyRules, check, key_type, read
from scepd.hsm.decryption import TRANSPORTS, RsaDecryptionKey, TokenDecryption
from scepd.hsm.faults import TokenFault, WrongSignature
from scepd.hsm.signing import EcTokenKey, Recorder, RsaTokenKey, TokenSigner, sign_and_verify
from scepd.hsm.token import Session
from scepd.hsm.uri import KeyName, parse_uri
from scepd.message.algorithms import KeyTransport
from scepd.refusal import OperatorError, Unavailable

__all__ = [
    "EcTokenKey",
    "KeyName",
    "KeyRules",
    "Opening",
    "RsaDecryptionKey",
    "RsaTokenKey",
    "find_key",
    "open_decryption_key",
    "open_signing_key",
    "parse_uri",
    "signing_key_for",
]

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

_PLAIN_RULES = KeyRules()
_PROBE_OCTETS = 16


@attrs.frozen
class Opening:
    """How a key is opened: the rules it must meet, who hears of each token call, whether raw RSA may be used."""

    rules: KeyRules = _PLAIN_RULES
    recorder: Recorder | None = None
    raw: bool = True
    random: Callable[[int], bytes] = os.urandom


_PLAINLY = Opening()


def open_signing_key(
    session: Session, name: KeyName, certificate_der: bytes, opening: Opening = _PLAINLY
) -> RsaTokenKey | EcTokenKey:
    """Return the key that signs for this certificate; a probe was signed and verified with it.

    A key that has no certificate, as the audit key, is named by its SubjectPublicKeyInfo.

    Raises `OperatorError` where the object is not the one, `TokenFault` where the token fails.
    """
    return signing_key_for(session, name, _public_key(certificate_der), opening)


def signing_key_for(
    session: Session, name: KeyName, public_key: PublicKey, opening: Opening = _PLAINLY
) -> RsaTokenKey | EcTokenKey:
    """Return the key of a public key that has no certificate yet, such as a CA's before its ceremony."""
    found = find_key(session, name)
    with session.call("C_GetAttributeValue"):
        check(found, str(name), "sign", opening.rules)
        kind = key_type(found)
    signer = TokenSigner(session, found, opening.recorder)
    wanted = "RSA" if isinstance(public_key, rsa.RSAPublicKey) else "EC"
    if kind != wanted:
        raise _mismatch(name, f"is {kind}, the certificate's key {wanted}")
    key: RsaTokenKey | EcTokenKey
    if isinstance(public_key, rsa.RSAPublicKey):
        key = RsaTokenKey(signer, public_key)
    else:
        key = EcTokenKey(signer, public_key)
    _probe_signature(key, name, opening.random(_PROBE_OCTETS))
    return key


def open_decryption_key(
    session: Session, name: KeyName, certificate_der: bytes, fallback_secret: bytes, opening: Opening = _PLAINLY
) -> RsaDecryptionKey:
    """Return the RA decryption key of this certificate, with the key transports that probes found working.

    `fallback_secret`: at least 16 random octets of this process, for implicit rejection. Raises `OperatorError`,
    `TokenFault`.
    """
    public_key = _public_key(certificate_der)
    if not isinstance(public_key, rsa.RSAPublicKey):
        raise OperatorError(
            f"key {name} has an EC certificate; SCEP encrypts to RSA keys",
            "scepd hsm keygen LABEL --role decrypt --type rsa:2048",
        )
    found = find_key(session, name)
    with session.call("C_GetAttributeValue"):
        check(found, str(name), "decrypt", opening.rules)
        kind = key_type(found)
    if kind != "RSA":
        raise _mismatch(name, f"is {kind}, the certificate's key RSA")
    raw_allowed = opening.raw and Mechanism.RSA_X_509 in session.token.mechanisms
    for raw in (True, False) if raw_allowed else (False,):
        operation = TokenDecryption(session, found, raw, opening.recorder)
        key = RsaDecryptionKey(public_key, operation, raw, fallback_secret)
        working = frozenset(transport for transport in TRANSPORTS if _unwraps(key, transport, opening.random))
        if working:
            _refuse_less(session, (str(name), opening.raw), working)
            return attrs.evolve(key, transports=working)
    raise _mismatch(name, "does not decrypt what is encrypted to its certificate")


def find_key(session: Session, name: KeyName) -> Any:
    """Return the one private key object of that name (threats S-120). Raises `OperatorError`, `TokenFault`."""
    _check_token(session, name)
    template: dict[Attribute, Any] = {Attribute.CLASS: ObjectClass.PRIVATE_KEY}
    if name.label is not None:
        template[Attribute.LABEL] = name.label
    if name.id is not None:
        template[Attribute.ID] = name.id
    found = session.find(template)
    if not found:
        problem = f"no private key {name} on token '{session.token.settings.token_label}'; seen: {_seen(session)}"
        raise OperatorError(problem, "scepd hsm list; correct key =; or make it: scepd hsm keygen LABEL --role sign")
    with session.call("C_GetAttributeValue"):
        identity = read(found[0], Attribute.ID)
    if len(found) == 1 and identity:
        found = session.find({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.ID: identity})
    if len(found) > 1:
        ids = ", ".join(f"{_label(key)} id {_id(key)}" for key in found)
        raise OperatorError(f"{len(found)} private keys answer to {name}: {ids}", _hint_for_duplicates(name, found))
    return found[0]


def _check_token(session: Session, name: KeyName) -> None:
    seen = session.token.description
    wanted = {"label": name.token, "serial": name.serial, "manufacturer": name.manufacturer, "model": name.model}
    for word, value in wanted.items():
        if value is not None and value != seen[word]:
            problem = f"key {name} wants token {word} '{value}', the token in use has '{seen[word]}'"
            raise OperatorError(problem, f"pkcs11:token={seen['label']};object={name.label or '...'}")


def _seen(session: Session) -> str:
    return (
        ", ".join(_label(key) for key in session.find({Attribute.CLASS: ObjectClass.PRIVATE_KEY})) or "no private key"
    )


def _label(key: Any) -> str:
    return f"'{read(key, Attribute.LABEL) or ''}'"


def _id(key: Any) -> str:
    return (read(key, Attribute.ID) or b"").hex() or "none"


def _hint_for_duplicates(name: KeyName, found: list[Any]) -> str:
    ids = {_id(key) for key in found}
    if name.id is None and len(ids) == len(found) and "none" not in ids:
        encoded = "".join(f"%{octet:02X}" for octet in bytes.fromhex(min(ids)))
        return f"add the id, for example {name};id={encoded}"
    return "delete or re-number the wrong one: pkcs11-tool --login --delete-object --type privkey --id ..."


def _public_key(certificate_der: bytes) -> PublicKey:
    try:
        public_key: object = x509.load_der_x509_certificate(certificate_der).public_key()
    except ValueError:
        public_key = load_der_public_key(certificate_der)
    if not isinstance(public_key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise OperatorError(
            "a certificate of ours has neither an RSA nor an EC key", "scepd hsm keygen LABEL --role sign --type rsa:2048"
        )
    return public_key


def _probe_signature(key: RsaTokenKey | EcTokenKey, name: KeyName, data: bytes) -> None:
    try:
        sign_and_verify(key, data)
    except WrongSignature as error:
        raise _mismatch(name, "is not the key of its certificate") from error


def _unwraps(key: RsaDecryptionKey, transport: KeyTransport, random: Callable[[int], bytes]) -> bool:
    """Return whether a content key comes back; what fails is tried once more, since a token may falter."""
    for _attempt in range(2):
        with suppress(Unavailable):
            if decrypts(key, transport, random(_PROBE_OCTETS)):
                return True
    return False


def decrypts(key: RsaDecryptionKey, transport: KeyTransport, content_key: bytes) -> bool:
    """Return whether the key unwraps what is encrypted to its certificate. Raises `TokenFault`, `Unavailable`."""
    scheme: padding.AsymmetricPadding = padding.PKCS1v15()
    if transport.oaep is not None:
        algorithm = transport.oaep.hash
        scheme = padding.OAEP(mgf=padding.MGF1(algorithm), algorithm=algorithm, label=None)
    return key.unwrap(key.public_key.encrypt(content_key, scheme), transport, len(content_key)) == content_key


def _refuse_less(session: Session, key: tuple[str, bool], working: frozenset[KeyTransport]) -> None:
    """Refuse a key that did more in this process before: a token in trouble must not pass for one that cannot."""
    known = session.token.abilities.setdefault(key, working)
    if known - working:
        lost = ", ".join(sorted(str(transport) for transport in known - working))
        raise TokenFault("device", f"key {key[0]} does not decrypt {lost} any more")
    session.token.abilities[key] = working


def _mismatch(name: KeyName, fact: str) -> OperatorError:
    return OperatorError(f"key {name} {fact}", "scepd hsm list; name the certificate's own key in key =")
