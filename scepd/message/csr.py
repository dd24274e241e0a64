"""The PKCS#10 CertificationRequest (RFC 2986), with the attributes that SCEP puts in it (RFC 2985 section 5.4)."""

import hashlib
from collections.abc import Sequence
from functools import cached_property

import attrs
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scepd.message import names, tlv
from scepd.message.algorithms import ECDSA_SIGNATURES, ED25519, RSA_SIGNATURES, Digest
from scepd.message.csr_attributes import (
    MAXIMUM_CHALLENGE,
    Extension,
    RequestAttributes,
    read_request_attributes,
    without_challenge,
)
from scepd.message.errors import MessageError
from scepd.message.plain_csr import MAXIMUM_RDNS, Layout, read_plain_csr
from scepd.message.signature import SigningKey, read_algorithm, write_algorithm
from scepd.message.tlv import Element
from scepd.records import Attribute, Name, Secret
from scepd.refusal import Reason, Reject

__all__ = ["CertificationRequest", "Extension", "build_csr", "parse_csr", "read_name", "write_name"]

# RFC 2986 knows 0 alone; Apple's clients write 2, others 1 (the certificate's v2 and v3).
_VERSIONS = frozenset({0, 1, 2})
_LIMITS = tlv.Limits(ber_depth=0)  # a CSR is DER: what is signed must have one form
_ATTRIBUTES = 0xA0
_CHALLENGE_PASSWORD = tlv.oid(names.CHALLENGE_PASSWORD)


@attrs.frozen
class CertificationRequest:
    """A PKCS#10 as received; its signature is not verified here (`x509.keys.verify_csr`).

    `challenge` is None when absent or empty (C-150). `faults` are what `check` refuses once possession is proved.
    """

    der: bytes = attrs.field(repr=False)
    info_der: bytes = attrs.field(repr=False)  # the CertificationRequestInfo, which is signed
    version: int
    subject: Name
    subject_der: bytes
    spki_der: bytes = attrs.field(repr=False)
    challenge: Secret | None
    extensions: tuple[Extension, ...]
    signature_oid: str
    signature_parameters_der: bytes | None
    signature: bytes = attrs.field(repr=False)
    faults: tuple[str, ...]
    element: Element = attrs.field(repr=False, eq=False)  # as it was read
    layout: Layout | None = attrs.field(default=None, repr=False, eq=False)  # of the common shape

    @property
    def without_challenge_der(self) -> bytes:
        """The same PKCS#10 without challengePassword, for storage; its signature covers the original."""
        if _CHALLENGE_PASSWORD not in self.der:
            return self.der
        if self.layout is not None:
            return self.layout.without_challenge(self.der)
        info, algorithm, signature = self.element.children
        fields = [a.der if a.tag != _ATTRIBUTES else without_challenge(a) for a in info.children]
        return tlv.sequence(tlv.sequence(*fields), algorithm.der, signature.der)

    @cached_property
    def wishes(self) -> bytes:
        """SHA-256 over subject, public key and extensions: equal for the same request signed anew."""
        extensions = (
            tlv.sequence(tlv.oid(e.oid), tlv.boolean(e.critical), tlv.octet_string(e.value_der))
            for e in self.extensions
        )
        return hashlib.sha256(tlv.sequence(self.subject_der, self.spki_der, *extensions)).digest()

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the PKCS#10 as received, hex (C-160)."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def fingerprint_sha1(self) -> str:
        """SHA-1 of the PKCS#10 as received, hex: what older devices show of their requests (C-160)."""
        return hashlib.sha1(self.der, usedforsecurity=False).hexdigest()

    def check(self) -> None:
        """Raise `Reject(csr_invalid)` for duplicates, counts, lengths and versions; to be called after possession."""
        if self.faults:
            raise Reject(Reason.csr_invalid, "; ".join(self.faults))


def parse_csr(
    der: bytes, *, verisign: bool = False, longest_challenge: int = MAXIMUM_CHALLENGE
) -> CertificationRequest:
    """Return the parts of a PKCS#10; raises `Reject(content_malformed)` for anything that is none.

    `verisign` reads the extension request attribute of the early drafts as well. `longest_challenge`: in characters;
    what MDM systems make is longer than RFC 2985 allows.
    """
    try:
        return _read_plain(der) or _read(
            tlv.read(der, _LIMITS), verisign=verisign, longest_challenge=longest_challenge
        )
    except MessageError as error:
        raise Reject(Reason.content_malformed, f"certification request: {error.detail}") from None


def _read_plain(der: bytes) -> CertificationRequest | None:
    plain = read_plain_csr(der, _LIMITS)
    if plain is None:
        return None
    return CertificationRequest(
        der=der,
        info_der=plain.info_der,
        version=plain.version,
        subject=plain.subject,
        subject_der=plain.subject_der,
        spki_der=plain.spki_der,
        challenge=plain.wanted.challenge,
        extensions=plain.wanted.extensions,
        signature_oid=plain.algorithm.oid,
        signature_parameters_der=plain.algorithm.parameters_der,
        signature=plain.signature,
        faults=(),
        element=plain.element,
        layout=plain.layout,
    )


def _read(request: Element, *, verisign: bool, longest_challenge: int) -> CertificationRequest:
    fields = request.fields()
    info = fields.take(tlv.SEQUENCE)
    algorithm = read_algorithm(fields.take())
    signature = fields.take().bits()
    fields.finish()
    parts = info.fields()
    version = parts.take().integer()
    subject, spki = parts.take(tlv.SEQUENCE), parts.take(tlv.SEQUENCE)
    attributes = parts.optional(_ATTRIBUTES)  # to be present even when empty, yet some leave it out
    parts.finish()
    wanted = (
        RequestAttributes()
        if attributes is None
        else read_request_attributes(attributes, verisign=verisign, longest_challenge=longest_challenge)
    )
    return CertificationRequest(
        der=request.der,
        info_der=info.der,
        version=version,
        subject=read_name(subject),
        subject_der=subject.der,
        spki_der=spki.der,
        challenge=wanted.challenge,
        extensions=wanted.extensions,
        signature_oid=algorithm.oid,
        signature_parameters_der=algorithm.parameters_der,
        signature=signature,
        faults=(*_faults(version, subject), *wanted.faults),
        element=request,
    )


def _faults(version: int, subject: Element) -> Sequence[str]:
    faults = []
    if version not in _VERSIONS:
        faults.append("version of the request")
    if len(subject.children) > MAXIMUM_RDNS:
        faults.append(f"more than {MAXIMUM_RDNS} parts of the subject")
    return faults


def read_name(element: Element) -> Name:
    """Return a distinguished name with its strings decoded; raises `MessageError`."""
    return tuple(tuple(_read_attribute(pair) for pair in rdn.parts(tlv.SET)) for rdn in element.children)


def _read_attribute(pair: Element) -> Attribute:
    kind, value = pair.pair()
    return Attribute(kind.oid(), value.text(), value.tag)


def write_name(name: Name) -> bytes:
    """Return a distinguished name with the string types its attributes carry."""
    return tlv.sequence(
        *(tlv.set_of(tlv.sequence(tlv.oid(a.oid), tlv.text(a.tag, a.value)) for a in rdn) for rdn in name)
    )


def build_csr(
    *,
    subject: Name,
    private_key: SigningKey,
    challenge: str | None,
    extensions: Sequence[Extension] = (),
    digest: Digest = Digest.SHA256,
    challenge_tag: int = tlv.PRINTABLE_STRING,
) -> bytes:
    """Return a signed PKCS#10; raises UnicodeEncodeError for a challenge that its string type cannot say."""
    attributes = []
    if challenge is not None:
        attributes.append(_write_attribute(names.CHALLENGE_PASSWORD, tlv.text(challenge_tag, challenge)))
    if extensions:
        wanted = tlv.sequence(*(extension.encode() for extension in extensions))
        attributes.append(_write_attribute(names.EXTENSION_REQUEST, wanted))
    spki = private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    info = tlv.sequence(
        tlv.integer(0),
        write_name(subject),
        spki,
        tlv.implicit(0, b"".join(sorted(attributes)), constructed=True),
    )
    return tlv.sequence(info, *_sign(private_key, info, digest))


def _write_attribute(oid: str, value: bytes) -> bytes:
    return tlv.sequence(tlv.oid(oid), tlv.set_of((value,)))


def _sign(key: SigningKey, info: bytes, digest: Digest) -> tuple[bytes, bytes]:
    """Return signatureAlgorithm and signature of a CertificationRequestInfo."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return tlv.sequence(tlv.oid(ED25519)), tlv.bit_string(key.sign(info))
    if isinstance(key, ec.EllipticCurvePrivateKey):
        oid = next(oid for oid, known in ECDSA_SIGNATURES.items() if known is digest)
        return tlv.sequence(tlv.oid(oid)), tlv.bit_string(key.sign(info, ec.ECDSA(digest.hash)))
    oid = next(oid for oid, known in RSA_SIGNATURES.items() if known is digest)
    return write_algorithm(oid), tlv.bit_string(key.sign(info, padding.PKCS1v15(), digest.hash))
