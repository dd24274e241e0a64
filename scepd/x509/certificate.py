"""Certificates of ours, as drafts: for devices, and for the service's own CA, RA and TLS keys."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal, Self

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import AuthorityInformationAccessOID

from scepd.message.algorithms import Digest
from scepd.records import Attribute, GeneralName, Name, Template
from scepd.refusal import OperatorError, Reason, Reject, Unavailable
from scepd.x509.draft import Draft, IssuerPublicKey, placeholder
from scepd.x509.issuer import IssuerCertificate, issuing_digest
from scepd.x509.keys import PublicKey, encode_public_key, key_identifier, load_public_key
from scepd.x509.names import COMMON_NAME, to_x509, to_x509_general_name
from scepd.x509.usages import fitting_usages, key_usage_extension, purpose_oid

__all__ = [
    "IssuerCertificate",
    "RaRole",
    "draft_ca_certificate",
    "draft_certificate",
    "draft_ra_certificate",
    "draft_tls_certificate",
    "new_serial",
]

RaRole = Literal["sign", "decrypt", "both"]
AnyExtension = x509.Extension[x509.ExtensionType]

_SHORTEST = timedelta(minutes=1)
_RA_USAGES: dict[str, frozenset[str]] = {
    "sign": frozenset({"digitalSignature"}),
    "decrypt": frozenset({"keyEncipherment"}),
    "both": frozenset({"digitalSignature", "keyEncipherment"}),
}
_SIGNATURE_DIGESTS: dict[Digest, hashes.SHA256 | hashes.SHA384 | hashes.SHA512] = {
    Digest.SHA256: hashes.SHA256(),
    Digest.SHA384: hashes.SHA384(),
    Digest.SHA512: hashes.SHA512(),
}


def _extension(value: x509.ExtensionType, *, critical: bool = False) -> AnyExtension:
    return x509.Extension(value.oid, critical, value)


_END_ENTITY = _extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
_SERIAL_PREFIX = b"\x5c"
_SERIAL_RANDOM = 17  # octets


def new_serial(random: Callable[[int], bytes]) -> int:
    """Return a serial number: a fixed octet and 136 random bits, positive, 18 octets (C-275, threats S-103)."""
    return int.from_bytes(_SERIAL_PREFIX + random(_SERIAL_RANDOM), "big")


def draft_certificate(
    template: Template, spki_der: bytes, issuer: IssuerCertificate, *, serial: int, now: datetime
) -> Draft:
    """Write a certificate for a device's key (RFC 5280 section 4, checklist P).

    It begins `template.backdate` before `now` and never outlives the issuer, nor begins before it. Key usages that
    the kind of key cannot serve are left out. Raises Reject(key_refused, subject_refused, name_refused,
    validity_exhausted); Unavailable when the issuer is not valid yet, since then our clock is wrong.
    """
    key = load_public_key(spki_der)
    usages = fitting_usages(template.key_usage, key)
    if not usages:
        raise Reject(Reason.key_refused, f"{type(key).__name__} serves none of the profile's key usages")
    subject = to_x509(template.subject)
    if template.subject and subject == issuer.certificate.subject:
        raise Reject(Reason.subject_refused, "the subject is the issuer's own name")
    extensions = (_END_ENTITY, _key_usage(usages), *_device_extensions(template))
    return _draft(_Body(subject, key, spki_der, serial, extensions), _Signer.of(issuer), _window(template, issuer, now))


@attrs.frozen
class _Body:
    """What a draft says about its subject."""

    subject: x509.Name
    key: PublicKey
    spki_der: bytes
    serial: int
    extensions: Sequence[AnyExtension]


@attrs.frozen
class _Signer:
    """What a draft says about whoever signs it."""

    name: x509.Name
    public_key: IssuerPublicKey
    key_identifier: bytes
    digest: Digest

    @classmethod
    def of(cls, issuer: IssuerCertificate) -> Self:
        return cls(issuer.certificate.subject, issuer.public_key, issuer.key_identifier, issuer.digest)


def _window(template: Template, issuer: IssuerCertificate, now: datetime) -> tuple[datetime, datetime]:
    if now < issuer.not_before:
        raise Unavailable("the issuer certificate is not valid yet: check the clock")
    remaining = issuer.not_after - now
    if remaining < _SHORTEST:
        raise Reject(Reason.validity_exhausted, f"the issuer certificate ends at {issuer.not_after:%Y-%m-%d %H:%M:%S}Z")
    not_before = max(issuer.not_before, now - template.backdate)
    not_after = issuer.not_after if template.validity >= remaining else now + template.validity
    return not_before, not_after


def _device_extensions(template: Template) -> Iterator[AnyExtension]:
    yield from _profile_extensions(
        template.extended_key_usage, template.crl_urls, template.ocsp_urls, template.issuer_urls
    )
    if template.names:
        names = [to_x509_general_name(name) for name in template.names]
        yield _extension(x509.SubjectAlternativeName(names), critical=not template.subject)  # C-281


@lru_cache(maxsize=256)  # one entry for each profile
def _profile_extensions(
    purposes: tuple[str, ...], crl_urls: tuple[str, ...], ocsp_urls: tuple[str, ...], issuer_urls: tuple[str, ...]
) -> tuple[AnyExtension, ...]:
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
    return tuple(map(_extension, extensions))


def _url(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)


def _draft(body: _Body, signer: _Signer, window: tuple[datetime, datetime]) -> Draft:
    """Add issuer, validity and both key identifiers (C-278), and let the placeholder sign."""
    not_before, not_after = (moment.replace(microsecond=0) for moment in window)
    extensions = (
        *body.extensions,
        _extension(x509.SubjectKeyIdentifier(key_identifier(body.spki_der))),
        _authority_key(signer.key_identifier),
    )
    stand_in = placeholder(signer.public_key)
    # Setting the fields one by one copies the builder and looks through all extensions each time: half of a draft's
    # cost. What the setters would refuse, `lint` does.
    builder = x509.CertificateBuilder(
        signer.name,
        body.subject,
        body.key,
        body.serial,
        not_before.astimezone(UTC).replace(tzinfo=None),
        not_after.astimezone(UTC).replace(tzinfo=None),
        list(extensions),
    )
    certificate = builder.sign(stand_in, _SIGNATURE_DIGESTS[signer.digest])
    der = certificate.public_bytes(serialization.Encoding.DER)
    return Draft(der, stand_in.signed, not_before, not_after)


@lru_cache(maxsize=16)  # one entry for each issuer
def _authority_key(identifier: bytes) -> AnyExtension:
    return _extension(x509.AuthorityKeyIdentifier(identifier, None, None))


@lru_cache(maxsize=64)  # one entry for each set of usages
def _key_usage(usages: frozenset[str]) -> AnyExtension:
    return _extension(key_usage_extension(usages), critical=True)


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
) -> Draft:
    """Write a CA certificate, self-signed where there is no issuer.

    `transport` adds the key usages of SCEP transport, for a CA that is its own RA (C-051). Raises OperatorError when
    it would outlive its issuer, Reject(subject_refused) for the name.
    """
    if issuer is not None and not issuer.not_before <= not_before < not_after <= issuer.not_after:
        raise OperatorError("the CA certificate would outlive its issuer", "choose a shorter validity")
    name = to_x509(subject)
    usages = {"keyCertSign", "cRLSign"} | (_RA_USAGES["both"] if transport else frozenset())
    extensions = (
        _extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True),
        _key_usage(fitting_usages(frozenset(usages), public_key)),
    )
    spki_der = encode_public_key(public_key)
    own = _Signer(name, public_key, key_identifier(spki_der), issuing_digest(public_key))
    body = _Body(name, public_key, spki_der, serial, extensions)
    return _draft(body, own if issuer is None else _Signer.of(issuer), (not_before, not_after))


def draft_ra_certificate(  # noqa: PLR0913 - a ceremony decides each of these
    subject: Name,
    public_key: IssuerPublicKey,
    *,
    role: RaRole,
    issuer: IssuerCertificate,
    serial: int,
    now: datetime,
    validity: timedelta,
) -> Draft:
    """Write an RA certificate (RFC 8894 section 2.1.2) with the key usage of its role.

    Its purpose is Microsoft's certificate request agent, which the Windows client looks for. Raises OperatorError
    for a decryption key that is not RSA.
    """
    if role != "sign" and not isinstance(public_key, rsa.RSAPublicKey):
        raise OperatorError("an RA decryption key must be an RSA key", "scepd hsm keygen LABEL --role decrypt --type rsa:2048")
    template = Template(
        subject=subject,
        names=(),
        key_usage=_RA_USAGES[role],
        extended_key_usage=("certificateRequestAgent",),
        validity=validity,
    )
    return draft_certificate(template, encode_public_key(public_key), issuer, serial=serial, now=now)


def draft_tls_certificate(
    names: Sequence[GeneralName],
    public_key: PublicKey,
    issuer: IssuerCertificate,
    *,
    serial: int,
    now: datetime,
    validity: timedelta,
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
    return draft_certificate(template, encode_public_key(public_key), issuer, serial=serial, now=now)
