"""What a private key object must be and must not be, before it is used."""

from typing import Any, Literal

import attrs
from pkcs11 import Attribute, KeyType, exceptions

from scepd.hsm.faults import fault_of
from scepd.refusal import OperatorError

Role = Literal["sign", "decrypt"]
Roles = Literal["sign", "decrypt", "both"]  # of a key to be made

_YES = (Attribute.TOKEN, Attribute.PRIVATE, Attribute.SENSITIVE)
_BORN_INSIDE = (Attribute.ALWAYS_SENSITIVE, Attribute.NEVER_EXTRACTABLE, Attribute.LOCAL)
_NO = (Attribute.EXTRACTABLE, Attribute.UNWRAP, Attribute.DERIVE, Attribute.ALWAYS_AUTHENTICATE)
_ROLES: dict[Role, Attribute] = {"sign": Attribute.SIGN, "decrypt": Attribute.DECRYPT}

WORDS = {
    Attribute.TOKEN: "token object",
    Attribute.PRIVATE: "private",
    Attribute.SENSITIVE: "sensitive",
    Attribute.ALWAYS_SENSITIVE: "always sensitive",
    Attribute.NEVER_EXTRACTABLE: "never extractable",
    Attribute.LOCAL: "local",
    Attribute.EXTRACTABLE: "extractable",
    Attribute.UNWRAP: "unwrap",
    Attribute.WRAP: "wrap",
    Attribute.DERIVE: "derive",
    Attribute.ALWAYS_AUTHENTICATE: "always authenticate",
    Attribute.SIGN: "sign",
    Attribute.DECRYPT: "decrypt",
    Attribute.SIGN_RECOVER: "signRecover",
    Attribute.MODIFIABLE: "modifiable",
}


@attrs.frozen
class KeyRules:
    """Exceptions that a configuration makes on purpose, each a standing warning.

    `both_roles`: one key signs and decrypts (a single RA certificate, or CA = RA). `imported`: the key was not made in
    this token.
    """

    both_roles: bool = False
    imported: bool = False


def read(key: Any, attribute: Attribute) -> Any:
    """Return an attribute's value, None where the token does not know it. Raises `TokenFault`."""
    try:
        return key[attribute]
    except (
        exceptions.AttributeTypeInvalid,
        exceptions.AttributeSensitive,
        exceptions.FunctionFailed,
        NotImplementedError,
        ValueError,  # a value that python-pkcs11 has no member for
        IndexError,
    ):
        return None
    except exceptions.PKCS11Error as error:
        raise fault_of(error) from error


def check(key: Any, name: str, role: Role, rules: KeyRules) -> tuple[str, ...]:
    """Return remarks on a key that may be used; raise `OperatorError` for one that may not (threats S-16, S-119)."""
    wrong = [f"not {WORDS[word]}" for word in _YES if read(key, word) is not True]
    wrong += [WORDS[word] for word in _NO if read(key, word)]
    outside = [f"not {WORDS[word]}" for word in _BORN_INSIDE if not read(key, word)]
    if not rules.imported:
        wrong += outside
    if wrong:
        raise OperatorError(
            f"key {name} is {', '.join(wrong)}",
            f"make a new key in the token: scepd hsm keygen LABEL --role {role}; attributes: scepd hsm list",
        )
    _check_role(key, name, role, rules)
    remarks = [f"imported: {', '.join(outside)}"] if outside else []
    if rules.both_roles and all(read(key, word) for word in _ROLES.values()):
        remarks.append("one key signs and decrypts")
    if read(key, Attribute.MODIFIABLE):
        remarks.append("modifiable: whoever holds the PIN can change what the key may do")
    return tuple(remarks)


def describe_attributes(key: Any) -> dict[str, bool | None]:
    """Return every attribute that matters, in pkcs11-tool's words; None where the token does not say. Raises `TokenFault`."""
    return {word: None if (value := read(key, attribute)) is None else bool(value) for attribute, word in WORDS.items()}


def _check_role(key: Any, name: str, role: Role, rules: KeyRules) -> None:
    other: Role = "decrypt" if role == "sign" else "sign"
    if not read(key, _ROLES[role]):
        raise OperatorError(f"key {name} may not {role}", f"scepd hsm keygen LABEL --role {role}")
    if read(key, _ROLES[other]) and not rules.both_roles:
        problem = f"key {name} may {role} and {other}; a key has one role"
        raise OperatorError(problem, f"scepd hsm keygen LABEL --role {role}; keep {other} for a key of its own")


def key_type(key: Any) -> str:
    """Return "RSA", "EC" or the token's own word."""
    found = read(key, Attribute.KEY_TYPE)
    return {KeyType.RSA: "RSA", KeyType.EC: "EC"}.get(found, str(getattr(found, "name", found)))
