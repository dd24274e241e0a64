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

EXTENSION_REQUESTS = frozenset({names.EXTENSION_REQUEST, names.MICROSOFT_EXTENSION_REQUEST})
_WITH_VERISIGN = EXTENSION_REQUESTS | {names.VERISIGN_EXTENSION_REQUEST}


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


def read_request_attributes(
    element: Element, *, verisign: bool = False, longest_challenge: int = MAXIMUM_CHALLENGE
) -> RequestAttributes:
    """Return challenge and wished extensions; raises `MessageError` where the structure is broken.

    `verisign` reads the extension request of the early drafts as well; otherwise it is an unknown attribute.

    Attributes may come in any order (strongSwan does not sort them). A challengePassword among the extensions,
    where some devices put it, counts as the attribute.
    """
    known = _WITH_VERISIGN if verisign else EXTENSION_REQUESTS
    pairs = [_read_pair(attribute) for attribute in element.children]
    challenges = [value for oid, values in pairs if oid == names.CHALLENGE_PASSWORD for value in values]
    requests = [value for oid, values in pairs if oid in known for value in values]
    wanted = [read_extension(extension) for request in requests for extension in request.parts()]
    challenges += [tlv.read(e.value_der) for e in wanted if e.oid == names.CHALLENGE_PASSWORD]
    extensions = tuple(e for e in wanted if e.oid != names.CHALLENGE_PASSWORD)
    challenge, fault = _read_challenge(challenges, longest_challenge)
    faults = [*_attribute_faults(pairs, known), *(extension_faults(extensions) if extensions else ())]
    if fault:
        faults.append(fault)
    return RequestAttributes(challenge, extensions, tuple(faults))


def _attribute_faults(pairs: Sequence[tuple[str, Sequence[Element]]], known: frozenset[str]) -> Iterator[str]:
    oids = [oid for oid, _ in pairs]
    if len(pairs) > MAXIMUM_ATTRIBUTES:
        yield f"more than {MAXIMUM_ATTRIBUTES} attributes"
    if oids.count(names.CHALLENGE_PASSWORD) > 1:
        yield "challengePassword twice"
    if sum(map(oids.count, known)) > 1:
        yield "extensionRequest twice"
    if any(len(values) != 1 for oid, values in pairs if oid in known or oid == names.CHALLENGE_PASSWORD):
        yield "attribute not of one value"


def extension_faults(extensions: Sequence[Extension]) -> Iterator[str]:
    """Yield what refuses the extensions later: too many of them, one twice, too many alternative names."""
    if len(extensions) > MAXIMUM_EXTENSIONS:
        yield f"more than {MAXIMUM_EXTENSIONS} extensions"
    if len({e.oid for e in extensions}) != len(extensions):
        yield "extension twice"
    if any(_is_crowded(e) for e in extensions if e.oid == names.SUBJECT_ALT_NAME):
        yield f"more than {MAXIMUM_ALTERNATIVE_NAMES} alternative names"


def without_challenge(element: Element) -> bytes:
    """Return the attributes, tag [0], without challengePassword, wherever it was."""
    return tlv.implicit(0, b"".join(_kept_attributes(element)), constructed=True)


def _kept_attributes(element: Element) -> Iterator[bytes]:
    for attribute in element.children:
        oid = attribute.children[0].oid()
        if oid in _WITH_VERISIGN:
            yield tlv.sequence(
                tlv.oid(oid),
                tlv.set_of((_kept_extensions(value) for value in attribute.children[1].children), sort=False),
            )
        elif oid != names.CHALLENGE_PASSWORD:
            yield attribute.der


def _kept_extensions(request: Element) -> bytes:
    return tlv.sequence(*(e.der for e in request.children if e.children[0].oid() != names.CHALLENGE_PASSWORD))


def _read_pair(attribute: Element) -> tuple[str, Sequence[Element]]:
    """Return OID and values of an Attribute."""
    kind, values = attribute.pair()
    return kind.oid(), values.parts(tlv.SET)


def read_extension(element: Element) -> Extension:
    """Return a wished extension; raises `MessageError`."""
    fields = element.fields()
    oid = fields.take().oid()
    critical = fields.optional(tlv.BOOLEAN)
    value = fields.take(tlv.OCTET_STRING).content
    fields.finish()
    return Extension(oid, critical is not None and critical.boolean(), value)


def _read_challenge(values: Sequence[Element], longest: int) -> tuple[Secret | None, str]:
    """Return the challenge of exactly one value (C-145 to C-147) in any string type, and what is wrong with it."""
    if not values:
        return None, ""
    if len(values) > 1:
        return None, "challengePassword of several values"
    try:
        text = values[0].text()
    except MessageError as error:
        return None, f"challengePassword: {error.detail}"
    if len(text) > longest:
        return None, f"challengePassword of more than {longest} characters"
    return (Secret(text) if text else None), ""


def _is_crowded(extension: Extension) -> bool:
    """Return whether a subjectAltName has more names than any device needs (threat S-25)."""
    if extension.value_der[:1] != b"\x30":
        return False
    return len(tlv.read(extension.value_der).children) > MAXIMUM_ALTERNATIVE_NAMES
