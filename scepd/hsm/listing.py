"""What is on a module and on a token, in the words of pkcs11-tool."""

from typing import Any

import attrs
from pkcs11 import Attribute, ObjectClass, TokenFlag
from pkcs11.util.ec import encode_named_curve_parameters

from scepd.hsm.attributes import WORDS, key_type, read
from scepd.hsm.generate import CURVES
from scepd.hsm.module import Module
from scepd.hsm.token import Session, tokens
from scepd.hsm.uri import KeyName

_USAGE = (
    Attribute.DECRYPT,
    Attribute.SIGN,
    Attribute.SIGN_RECOVER,
    Attribute.UNWRAP,
    Attribute.DERIVE,
)
_ACCESS = (
    Attribute.ALWAYS_AUTHENTICATE,
    Attribute.SENSITIVE,
    Attribute.ALWAYS_SENSITIVE,
    Attribute.EXTRACTABLE,
    Attribute.NEVER_EXTRACTABLE,
    Attribute.LOCAL,
)
_CURVES = {encode_named_curve_parameters(number): name for name, number in CURVES.items()}
_FLAGS = {
    TokenFlag.LOGIN_REQUIRED: "login required",
    TokenFlag.RNG: "rng",
    TokenFlag.TOKEN_INITIALIZED: "token initialized",
    TokenFlag.USER_PIN_INITIALIZED: "PIN initialized",
    TokenFlag.WRITE_PROTECTED: "readonly",
    TokenFlag.USER_PIN_COUNT_LOW: "user PIN count low",
    TokenFlag.USER_PIN_FINAL_TRY: "final user PIN try",
    TokenFlag.USER_PIN_LOCKED: "user PIN locked",
}


@attrs.frozen
class TokenRow:
    """One initialised token."""

    label: str
    serial: str
    model: str
    manufacturer: str
    slot: str
    flags: tuple[str, ...]


@attrs.frozen
class KeyRow:
    """One private key; `uri` names it in a configuration."""

    label: str
    id: str  # hex
    kind: str  # "RSA 2048 bits", "EC P-256"; "EC" on another curve, or where the token does not say
    usage: tuple[str, ...]
    access: tuple[str, ...]
    uri: str


def list_tokens(module: Module) -> tuple[TokenRow, ...]:
    """Return the tokens of the module's slots; needs no login. Raises `TokenFault`."""
    return tuple(
        TokenRow(
            label=token.label,
            serial=token.serial.decode(errors="replace"),
            model=token.model,
            manufacturer=token.manufacturer_id,
            slot=token.slot.slot_description.strip(),
            flags=tuple(word for flag, word in _FLAGS.items() if token.flags & flag),
        )
        for token in tokens(module)
    )


def list_keys(session: Session) -> tuple[KeyRow, ...]:
    """Return the private keys of the token by label. Raises `TokenFault`."""
    found = session.find({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
    return tuple(sorted((_row(session, key) for key in found), key=lambda row: (row.label, row.id)))


def list_mechanisms(session: Session) -> tuple[str, ...]:
    """Return the token's RSA and elliptic-curve mechanisms, as CKM_ words."""
    words = (mechanism.name for mechanism in session.token.mechanisms if isinstance(mechanism.name, str))
    return tuple(sorted(word for word in words if word.startswith(("RSA", "EC"))))


def _row(session: Session, key: Any) -> KeyRow:
    label, identity = str(read(key, Attribute.LABEL) or ""), read(key, Attribute.ID) or b""
    name = KeyName(label=label or None, id=None if label else identity, token=session.token.description["label"])
    return KeyRow(
        label=label,
        id=identity.hex(),
        kind=_kind(key),
        usage=tuple(WORDS[word] for word in _USAGE if read(key, word)),
        access=tuple(WORDS[word] for word in _ACCESS if read(key, word)),
        uri=str(name),
    )


def _kind(key: Any) -> str:
    kind = key_type(key)
    if kind == "RSA" and (modulus := read(key, Attribute.MODULUS)):
        return f"RSA {int.from_bytes(modulus, 'big').bit_length()} bits"
    curve = _CURVES.get(read(key, Attribute.EC_PARAMS) or b"") if kind == "EC" else None
    return f"{kind} {curve}" if curve else kind
