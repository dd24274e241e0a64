"""What a one-time challenge is good for, as people say it."""

import re
from datetime import timedelta
from ipaddress import ip_address

import attrs

from scepd.records import Attribute
from scepd.refusal import OperatorError, Reject
from scepd.x509.names import COMMON_NAME, check_attribute, common_name, from_text, to_text

LONGEST_VALIDITY = timedelta(days=366)
MOST_USES = 10_000
_KEY_TYPE = re.compile(r"(?:rsa|ec)(?:-[1-9][0-9]{2,4})?|ed25519")


@attrs.frozen
class Binding:
    """What a challenge is good for: that common name, those names ("dns:host"), once or several times, how long.

    `valid` None takes the profile's own validity; `subject` is a whole one (RFC 4514), `key_type` "rsa", "rsa-2048", ...
    """

    common_name: str | None = None
    names: tuple[str, ...] = ()
    valid: timedelta | None = None
    uses: int = 1
    subject: str | None = None
    key_type: str | None = None


def checked(binding: Binding) -> Binding:
    """Return the binding as it is stored; raises `OperatorError` for one that nothing could fulfil."""
    if binding.common_name is not None:
        try:
            check_attribute(Attribute(COMMON_NAME, binding.common_name))
        except Reject as refusal:
            raise OperatorError(f"the common name cannot be used: {refusal.detail}", "--cn r1.example.net") from refusal
    if binding.valid is not None and not timedelta() < binding.valid <= LONGEST_VALIDITY:
        raise OperatorError("a challenge cannot be valid for that long", "--valid 24h")
    if not 1 <= binding.uses <= MOST_USES:
        raise OperatorError(f"a challenge cannot be used {binding.uses} times", f"--uses 1 (at most {MOST_USES})")
    if binding.key_type is not None and not _KEY_TYPE.fullmatch(binding.key_type):
        raise OperatorError(f"{binding.key_type!r} is no kind of key", "--key-type rsa, rsa-2048, ec, ec-256 or ed25519")
    subject = None if binding.subject is None else _checked_subject(binding.subject)
    names = tuple(sorted({_checked_name(name) for name in binding.names}))
    return attrs.evolve(binding, names=names, subject=subject)


def bound_common_name(binding: Binding) -> str | None:
    """Return the common name that a checked binding demands, by itself or in its subject."""
    if binding.common_name is not None or binding.subject is None:
        return binding.common_name
    return common_name(from_text(binding.subject))


def _checked_subject(text: str) -> str:
    """Return a subject as it is compared."""
    try:
        name = from_text(text)
        for rdn in name:
            for attribute in rdn:
                check_attribute(attribute)
    except Reject as refusal:
        raise OperatorError(f"the subject cannot be used: {refusal.detail}", '--subject "CN=r1,O=Example"') from refusal
    if not name:
        raise OperatorError("the subject is empty", '--subject "CN=r1,O=Example"')
    return to_text(name)


def _checked_name(name: str) -> str:
    kind, _, value = name.partition(":")
    if kind == "ip":
        try:
            return f"ip:{ip_address(value)}"
        except ValueError as error:
            raise OperatorError(f"{value!r} is no IP address", "--ip 192.0.2.7") from error
    if kind != "dns" or not value or not value.isascii() or any(not (c.isalnum() or c in ".-_") for c in value):
        raise OperatorError(f"{value!r} is no DNS name", "--dns r1.example.net")
    return f"dns:{value.lower()}"
