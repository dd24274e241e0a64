"""Who asked, from where, and what a certificate shall say of it."""

import enum
from datetime import datetime, timedelta

import attrs

SAN_KINDS = ("dns", "ip", "email", "uri", "upn", "directory", "registered_id")


@attrs.frozen
class ClientIdentity:
    """Who a TLS client proved to be by a certificate that its profile's gate admitted.

    `subject` and `issuer` are names as RFC 4514 text; `names` its subjectAltNames, as "dns:host"; `digest` the SHA-256
    of its DER.
    """

    subject: str
    names: tuple[str, ...]
    serial: int
    issuer: str
    digest: bytes


class Standing(enum.IntEnum):
    """What a client's network is known for; the lower is served first where several wait."""

    good = 0  # a certificate was issued to it lately
    unknown = 1
    doubtful = 2  # it guessed wrong a moment ago


@attrs.frozen
class Origin:
    """Where a request came from: the client's address as the listener decided it, and its request id."""

    address: str
    request_id: str
    client: ClientIdentity | None = None  # None: on a route without a gate
    standing: Standing = Standing.unknown


@attrs.frozen
class GeneralName:
    """One subjectAltName: kind is one of SAN_KINDS, value its text (ip: canonical text; directory: hex of the DER)."""

    kind: str
    value: str


@attrs.frozen
class Attribute:
    """One AttributeTypeAndValue of a name: dotted OID, text, and the universal tag number it came with (12 = UTF8String)."""

    oid: str
    value: str
    tag: int = 12


# A distinguished name: a tuple of RDNs, each a tuple of attributes.
Name = tuple[tuple[Attribute, ...], ...]


@attrs.frozen
class Template:
    """What a certificate shall say, decided by a profile; only the public key comes from the request (RFC 2986 section 3)."""

    subject: Name
    names: tuple[GeneralName, ...]
    key_usage: frozenset[str]
    extended_key_usage: tuple[str, ...]
    validity: timedelta
    backdate: timedelta = timedelta(minutes=5)
    crl_urls: tuple[str, ...] = ()
    ocsp_urls: tuple[str, ...] = ()
    issuer_urls: tuple[str, ...] = ()
    tls_features: tuple[int, ...] = ()  # RFC 7633: 5, the server must staple an OCSP answer


@attrs.frozen
class Ticket:
    """A signed challenge that one transaction may use: the store refuses it to every other.

    `digest` is SHA-256 over the key that signed it and its own identifier; it can be used until `expires`. Of its
    `device` at most `most` are taken within `window` (0 = no limit).
    """

    digest: bytes
    device: str
    expires: datetime
    most: int = 0
    window: timedelta = timedelta(days=1)


@attrs.frozen
class Identity:
    """Who asked, as a challenge method established it."""

    method: str
    name: str
    challenge_id: int | None = None
    names: tuple[str, ...] = ()  # subjectAltNames that the method vouches for, as "dns:host"
    attributes: tuple[tuple[str, str], ...] = ()  # of the subject, as pairs of short name and value, which it vouches for
    ticket: Ticket | None = None  # taken with the claim; not kept with the transaction
    entity: int | None = None  # row number of the registered entity whose code it gave, which the claim takes
