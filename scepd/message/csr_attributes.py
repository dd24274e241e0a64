"""The attributes of a PKCS#10: challengePassword and the extensions asked for."""

from collections.abc import Iterator, Sequence

import attrs

from scepd.message import names, tlv
from scepd.message.errors import MessageError
from scepd.message.tlv import Element
from scepd.records import Secret

MAXIMUM_ATTRIBUTES = 16
MAXIMUM_EXTENSIONS = 32
MAXIMUM_ALTERNATIVE_NAMES = 64
MAXIMUM_CHALLENGE = 255  # characters (RFC 2985 section 5.4.1)

_EXTENSION_REQUESTS = frozenset({names.EXTENSION_REQUEST, names.MICROSOFT_EXTENSION_REQUEST})


@attrs.frozen
class Extension:
    """An extension as wished or written: `value_der` is what its OCTET STRING holds."""

    oid: str
    critical: bool
    value_der: bytes

    def encode(self) -> bytes:
        """Return the Extension of RFC 5280 section 4.1; a FALSE critical is left out, as DER has it."""
        critical = (tlv.boolean(True),) if self.critical else ()
        return tlv.sequence(tlv.oid(self.oid), *critical, tlv.octet_string(self.value_der))


@attrs.frozen
class RequestAttributes:
    """What the attributes say; `faults` are duplicates, counts and lengths that refuse the request later."""

    challenge: Secret | None = None
    extensions: tuple[Extension, ...] = ()
    faults: tuple[str, ...] = ()


def read_request_attributes(element: Element) -> RequestAttributes:
    """Return challenge and wished extensions; raises `MessageError` where the structure is broken.

    Attributes may come in any order (strongSwan does not sort them). A challengePassword among the extensions,
    where some devices put it, counts as the attribute.
    """
    pairs = [(attribute, attribute.children[0].oid()) for attribute in element.children if _is_attribute(attribute)]
    challenges = [value for pair, oid in pairs if oid == names.CHALLENGE_PASSWORD for value in _values(pair)]
    requests = [value for pair, oid in pairs if oid in _EXTENSION_REQUESTS for value in _values(pair)]
    wanted = [_read_extension(extension) for request in requests for extension in request.expect(tlv.SEQUENCE).children]
    challenges += [tlv.read(e.value_der) for e in wanted if e.oid == names.CHALLENGE_PASSWORD]
    extensions = tuple(e for e in wanted if e.oid != names.CHALLENGE_PASSWORD)
    challenge, fault = _read_challenge(challenges)
    attributes = [oid for _, oid in pairs]
    faults = [
        (len(attributes) > MAXIMUM_ATTRIBUTES, f"more than {MAXIMUM_ATTRIBUTES} attributes"),
        (attributes.count(names.CHALLENGE_PASSWORD) > 1, "challengePassword twice"),
        (sum(oid in _EXTENSION_REQUESTS for oid in attributes) > 1, "extensionRequest twice"),
        (any(len(_values(pair)) != 1 for pair, oid in pairs if oid in _SINGLE), "attribute not of one value"),
        (len(extensions) > MAXIMUM_EXTENSIONS, f"more than {MAXIMUM_EXTENSIONS} extensions"),
        (len({e.oid for e in extensions}) != len(extensions), "extension twice"),
        (_crowded(extensions), f"more than {MAXIMUM_ALTERNATIVE_NAMES} alternative names"),
        (bool(fault), fault),
    ]
    return RequestAttributes(challenge, extensions, tuple(text for found, text in faults if found))


_SINGLE = _EXTENSION_REQUESTS | {names.CHALLENGE_PASSWORD}


def without_challenge(element: Element) -> bytes:
    """Return the attributes, tag [0], without challengePassword, wherever it was."""
    return tlv.implicit(0, b"".join(_kept_attributes(element)), constructed=True)


def _kept_attributes(element: Element) -> Iterator[bytes]:
    for attribute in element.children:
        oid = attribute.children[0].oid()
        if oid in _EXTENSION_REQUESTS:
            yield tlv.sequence(
                tlv.oid(oid), tlv.set_of((_kept_extensions(value) for value in _values(attribute)), sort=False)
            )
        elif oid != names.CHALLENGE_PASSWORD:
            yield attribute.der


def _kept_extensions(request: Element) -> bytes:
    return tlv.sequence(*(e.der for e in request.children if e.children[0].oid() != names.CHALLENGE_PASSWORD))


def _is_attribute(element: Element) -> bool:
    fields = element.fields()
    fields.take(tlv.OID)
    fields.take(tlv.SET)
    fields.finish()
    return True


def _values(attribute: Element) -> Sequence[Element]:
    return attribute.children[1].children


def _read_extension(element: Element) -> Extension:
    fields = element.fields()
    oid = fields.take().oid()
    critical = fields.optional(tlv.BOOLEAN)
    value = fields.take(tlv.OCTET_STRING).content
    fields.finish()
    return Extension(oid, critical is not None and critical.boolean(), value)


def _read_challenge(values: Sequence[Element]) -> tuple[Secret | None, str]:
    """Return the challenge of exactly one value (C-145 to C-147) in any string type, and what is wrong with it."""
    if not values:
        return None, ""
    if len(values) > 1:
        return None, "challengePassword of several values"
    try:
        text = values[0].text()
    except MessageError as error:
        return None, f"challengePassword: {error.detail}"
    if len(text) > MAXIMUM_CHALLENGE:
        return None, f"challengePassword of more than {MAXIMUM_CHALLENGE} characters"
    return (Secret(text) if text else None), ""


def _crowded(extensions: Sequence[Extension]) -> bool:
    """Return whether a subjectAltName has more names than any device needs (threat S-25)."""
    for extension in extensions:
        if extension.oid == names.SUBJECT_ALT_NAME and extension.value_der[:1] == b"\x30":
            return len(tlv.read(extension.value_der).children) > MAXIMUM_ALTERNATIVE_NAMES
    return False
