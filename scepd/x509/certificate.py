"""Certificates of ours, as drafts: for devices, and for the service's own CA, RA and TLS keys."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Literal

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import AuthorityInformationAccessOID

from scepd.message import tlv
from scepd.records import Attribute, GeneralName, Name, Template, shard_url
from scepd.refusal import OperatorError, Reason, Reject, Unavailable
from scepd.x509.draft import Draft, IssuerPublicKey
from scepd.x509.fields import tbs_fields
from scepd.x509.issuer import IssuerCertificate, Letterhead, issuing_digest, write_extension
from scepd.x509.keys import PublicKey, encode_public_key, key_identifier, load_public_key
from scepd.x509.names import COMMON_NAME, encode, to_x509_general_name
from scepd.x509.usages import TLS_FEATURE_DER, fitting_usages, key_usage_extension, purpose_oid

__all__ = [
    "IssuerCertificate",
    "Locations",
    "RaRole",
    "draft_ca_certificate",
    "draft_certificate",
    "draft_ocsp_certificate",
    "draft_ra_certificate",
    "draft_tls_certificate",
    "new_serial",
]

RaRole = Literal["sign", "decrypt", "both"]

_SHORTEST = timedelta(minutes=1)
_RA_USAGES: dict[str, frozenset[str]] = {
    "sign": frozenset({"digitalSignature"}),
    "decrypt": frozenset({"keyEncipherment"}),
    "both": frozenset({"digitalSignature", "keyEncipherment"}),
}
_END_ENTITY = write_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
_NO_CHECK = write_extension(x509.OCSPNoCheck())
_VERSION_3 = tlv.explicit(0, tlv.integer(2))
_SUBJECT_KEY = bytes.fromhex("301d0603551d0e04160414")  # the extension up to the 20 octets of its key identifier
_SERIAL_PREFIX = b"\x5c"
_SERIAL_RANDOM = 17  # octets


@attrs.frozen
class Locations:
    """Where what an issuer publishes is found, as its certificates say it (RFC 5280 sections 4.2.1.13 and 4.2.2.1)."""

    crl_urls: tuple[str, ...] = ()
    ocsp_urls: tuple[str, ...] = ()
    issuer_urls: tuple[str, ...] = ()

    def of_shard(self, shard: int) -> "Locations":
        """Return what a certificate of that shard says: its own CRL, everything else as all others."""
        if not shard:
            return self
        return attrs.evolve(self, crl_urls=tuple(shard_url(url, shard) for url in self.crl_urls))


_NOWHERE = Locations()


def new_serial(random: Callable[[int], bytes]) -> int:
    """Return a serial number: a fixed octet and 136 random bits, positive, 18 octets (C-275, threats S-103)."""
    return int.from_bytes(_SERIAL_PREFIX + random(_SERIAL_RANDOM), "big")


def draft_certificate(  # noqa: PLR0913 - each of these is decided elsewhere
    template: Template,
    spki_der: bytes,
    issuer: IssuerCertificate,
    *,
    serial: int,
    now: datetime,
    locations: Locations | None = None,
    more: bytes = b"",
) -> Draft:
    """Write a certificate for a device's key (RFC 5280 section 4, checklist P).

    It begins `template.backdate` before `now` and never outlives the issuer, nor begins before it. Key usages that
    the kind of key cannot serve are left out; `locations` stand in for the template's; `more` are whole Extensions. Raises Reject(key_refused,
    subject_refused, name_refused, validity_exhausted); Unavailable when the issuer is not valid yet, since then our
    clock is wrong.
    """
    key = load_public_key(spki_der)
    usages = fitting_usages(template.key_usage, key)
    if not usages:
        raise Reject(Reason.key_refused, f"{type(key).__name__} serves none of the profile's key usages")
    subject_der = encode(template.subject)
    if template.subject and issuer.is_named(template.subject):
        raise Reject(Reason.subject_refused, "the subject is the issuer's own name")
    where = template if locations is None else locations
    extensions = (
        _END_ENTITY
        + _key_usage(usages)
        + _profile_extensions(template.extended_key_usage, where.crl_urls, where.ocsp_urls, where.issuer_urls)
        + more
        + _tls_features(template.tls_features)
    )
    if template.names:
        names = x509.SubjectAlternativeName(map(to_x509_general_name, template.names))
        extensions += write_extension(names, critical=not template.subject)  # C-281
    body = _Body(subject_der, spki_der, serial, extensions)
    return _draft(body, issuer.letterhead, _window(template, issuer, now))


@attrs.frozen
class _Body:
    """What a draft says about its subject."""

    subject_der: bytes
    spki_der: bytes
    serial: int
    extensions: bytes  # Extensions one behind the other
    key_identifier_der: bytes = b""  # the whole extension, where it is not to be derived from the key


def _window(template: Template, issuer: IssuerCertificate, now: datetime) -> tuple[datetime, datetime]:
    if now < issuer.not_before:
        raise Unavailable("the issuer certificate is not valid yet: check the clock")
    remaining = issuer.not_after - now
    if remaining < _SHORTEST:
        raise Reject(Reason.validity_exhausted, f"the issuer certificate ends at {issuer.not_after:%Y-%m-%d %H:%M:%S}Z")
    not_before = max(issuer.not_before, now - template.backdate)
    not_after = issuer.not_after if template.validity >= remaining else now + template.validity
    return not_before, not_after


@lru_cache(maxsize=256)  # one entry for each profile
def _profile_extensions(
    purposes: tuple[str, ...], crl_urls: tuple[str, ...], ocsp_urls: tuple[str, ...], issuer_urls: tuple[str, ...]
) -> bytes:
    extensions: list[x509.ExtensionType] = []
    if purposes:
        extensions.append(x509.ExtendedKeyUsage([x509.ObjectIdentifier(purpose_oid(word)) for word in purposes]))
    if crl_urls:
        points = [x509.DistributionPoint([_url(url)], None, None, None) for url in crl_urls]
        extensions.append(x509.CRLDistributionPoints(points))
    access = [(AuthorityInformationAccessOID.OCSP, url) for url in ocsp_urls]
    access += [(AuthorityInformationAccessOID.CA_ISSUERS, url) for url in issuer_urls]
    if access:
        extensions.append(
            x509.AuthorityInformationAccess([x509.AccessDescription(how, _url(url)) for how, url in access])
        )
    return b"".join(map(write_extension, extensions))


@lru_cache(maxsize=8)
def _tls_features(features: tuple[int, ...]) -> bytes:
    """Return the TLS features that a certificate's holder must offer (RFC 7633 section 4, C-315); not critical."""
    if not features:
        return b""
    value = tlv.sequence(*map(tlv.integer, features))
    return tlv.sequence(TLS_FEATURE_DER, tlv.octet_string(value))


def _url(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)


def _draft(body: _Body, letterhead: Letterhead, window: tuple[datetime, datetime]) -> Draft:
    """Write the TBSCertificate with issuer, validity and both key identifiers (C-278), and what follows it.

    Our own writer costs a tenth of cryptography's builder, which the tests hold it to octet for octet; `lint` has
    each draft read by cryptography before it may be signed.
    """
    not_before, not_after = (moment.replace(microsecond=0) for moment in window)
    tbs = tlv.sequence(
        _VERSION_3,
        tlv.integer(body.serial),
        letterhead.algorithm_der,
        letterhead.name_der,
        tlv.sequence(tlv.time(not_before), tlv.time(not_after)),
        body.subject_der,
        body.spki_der,
        tlv.explicit(
            3,
            tlv.sequence(
                body.extensions,
                body.key_identifier_der or _SUBJECT_KEY + key_identifier(body.spki_der),
                letterhead.authority_key_der,
            ),
        ),
    )
    der = tlv.sequence(tbs, letterhead.algorithm_der, letterhead.placeholder_der)
    return Draft(der, tbs, not_before, not_after)


@lru_cache(maxsize=64)  # one entry for each set of usages
def _key_usage(usages: frozenset[str]) -> bytes:
    return write_extension(key_usage_extension(usages), critical=True)


def draft_ca_certificate(  # noqa: PLR0913 - a ceremony decides each of these
    subject: Name,
    public_key: IssuerPublicKey,
    *,
    issuer: IssuerCertificate | None = None,
    serial: int,
    not_before: datetime,
    not_after: datetime,
    path_length: int | None = 0,
    transport: bool = False,
    like: IssuerCertificate | None = None,
    locations: Locations = _NOWHERE,
) -> Draft:
    """Write a CA certificate, self-signed where there is no issuer.

    `transport` adds the key usages of SCEP transport, for a CA that is its own RA (C-051). `like` is another
    certificate of that CA, whose name, key identifier and key are copied octet for octet in place of `subject`, since
    what that CA has signed names it so (C-285). Raises OperatorError when it would outlive its issuer,
    Reject(subject_refused) for the name.
    """
    if issuer is not None and not issuer.not_before <= not_before < not_after <= issuer.not_after:
        raise OperatorError("the CA certificate would outlive its issuer", "choose a shorter validity")
    usages = {"keyCertSign", "cRLSign"} | (_RA_USAGES["both"] if transport else frozenset())
    constraints = write_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    extensions = (
        constraints
        + _key_usage(fitting_usages(frozenset(usages), public_key))
        + _profile_extensions((), locations.crl_urls, locations.ocsp_urls, locations.issuer_urls)
    )
    body = _Body(b"", encode_public_key(public_key), serial, extensions)
    body = attrs.evolve(body, subject_der=encode(subject)) if like is None else _body_like(body, like)
    identifier = key_identifier(body.spki_der) if like is None else like.key_identifier
    own = Letterhead.of(body.subject_der, public_key, identifier, issuing_digest(public_key))
    return _draft(body, own if issuer is None else issuer.letterhead, (not_before, not_after))


def _body_like(body: _Body, like: IssuerCertificate) -> _Body:
    """Return the body with the name and key identifier of another certificate, and its octets of the key if that is one."""
    spki_der = tbs_fields(like.certificate.tbs_certificate_bytes)[6]
    is_same = encode_public_key(like.public_key) == body.spki_der
    return attrs.evolve(
        body,
        subject_der=like.subject_der,
        spki_der=spki_der if is_same else body.spki_der,
        key_identifier_der=write_extension(x509.SubjectKeyIdentifier(like.key_identifier)),
    )


def draft_ra_certificate(  # noqa: PLR0913 - a ceremony decides each of these
    subject: Name,
    public_key: IssuerPublicKey,
    *,
    role: RaRole,
    issuer: IssuerCertificate,
    serial: int,
    now: datetime,
    validity: timedelta,
    locations: Locations = _NOWHERE,
) -> Draft:
    """Write an RA certificate (RFC 8894 section 2.1.2) with the key usage of its role.

    Its purpose is Microsoft's certificate request agent, which the Windows client looks for. Raises OperatorError
    for a decryption key that is not RSA.
    """
    if role != "sign" and not isinstance(public_key, rsa.RSAPublicKey):
        raise OperatorError(
            "an RA decryption key must be an RSA key", "scepd hsm keygen LABEL --role decrypt --type rsa:2048"
        )
    template = Template(
        subject=subject,
        names=(),
        key_usage=_RA_USAGES[role],
        extended_key_usage=("certificateRequestAgent",),
        validity=validity,
    )
    key = encode_public_key(public_key)
    return draft_certificate(template, key, issuer, serial=serial, now=now, locations=locations)


def draft_tls_certificate(  # noqa: PLR0913 - a ceremony decides each of these
    names: Sequence[GeneralName],
    public_key: PublicKey,
    issuer: IssuerCertificate,
    *,
    serial: int,
    now: datetime,
    validity: timedelta,
    locations: Locations = _NOWHERE,
) -> Draft:
    """Write a certificate for one of our TLS listeners; its common name is the first name, if that is short enough."""
    if not names:
        raise OperatorError(
            "a TLS certificate needs a host name or an address", "give the names that clients connect to"
        )
    common_name = Attribute(COMMON_NAME, names[0].value)
    template = Template(
        subject=((common_name,),) if len(common_name.value) <= 64 else (),
        names=tuple(names),
        key_usage=_RA_USAGES["both"],
        extended_key_usage=("serverAuth",),
        validity=validity,
    )
    key = encode_public_key(public_key)
    return draft_certificate(template, key, issuer, serial=serial, now=now, locations=locations)


def draft_ocsp_certificate(
    subject: Name,
    public_key: IssuerPublicKey,
    *,
    issuer: IssuerCertificate,
    serial: int,
    now: datetime,
    validity: timedelta,
) -> Draft:
    """Write the certificate of an OCSP responder (RFC 6960 section 4.2.2.2, threats S-109).

    It carries id-pkix-ocsp-nocheck, since it is short-lived, and nothing that it could be used for beside.
    """
    template = Template(
        subject=subject,
        names=(),
        key_usage=_RA_USAGES["sign"],
        extended_key_usage=("OCSPSigning",),
        validity=validity,
    )
    key = encode_public_key(public_key)
    return draft_certificate(template, key, issuer, serial=serial, now=now, more=_NO_CHECK)
