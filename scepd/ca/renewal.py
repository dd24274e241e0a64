"""A certificate of ours drafted again before it ends: the same key, the same names."""

from collections.abc import Callable
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from scepd.records import GeneralName
from scepd.refusal import OperatorError
from scepd.x509.certificate import (
    IssuerCertificate,
    Locations,
    draft_ocsp_certificate,
    draft_tls_certificate,
    new_serial,
)
from scepd.x509.draft import Draft
from scepd.x509.lint import Kind, lint
from scepd.x509.names import from_x509
from scepd.x509.ocsp import ResponderCertificate

_NOWHERE = Locations()


def is_due(certificate: x509.Certificate, now: datetime) -> bool:
    """Return whether a third or less of the certificate's life is left."""
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return now >= certificate.not_valid_after_utc - life / 3


def draft_renewal(
    present: x509.Certificate,
    issuer: IssuerCertificate,
    now: datetime,
    random: Callable[[int], bytes],
    locations: Locations = _NOWHERE,
) -> Draft:
    """Return the linted draft of a TLS server certificate that follows `present`. Raises `OperatorError`, `Reject`.

    `locations` is where what the issuer publishes is found now, whatever `present` says.
    """
    key = present.public_key()
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise OperatorError("the TLS key is neither RSA nor EC", "scepd ca certify --as tls")
    try:
        names = present.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise OperatorError("the TLS certificate names no host", "scepd ca certify --as tls --name dns:...") from None
    written = [GeneralName("dns", name.lower()) for name in names.get_values_for_type(x509.DNSName)]
    written += [GeneralName("ip", str(address)) for address in names.get_values_for_type(x509.IPAddress)]
    life = present.not_valid_after_utc - present.not_valid_before_utc
    draft = draft_tls_certificate(
        written, key, issuer, serial=new_serial(random), now=now, validity=life, locations=locations
    )
    _require_sound(draft, issuer, "tls", "scepd ca certify --as tls")
    return draft


def draft_responder(
    first: ResponderCertificate,
    issuer: IssuerCertificate,
    now: datetime,
    random: Callable[[int], bytes],
    *,
    validity: timedelta,
) -> Draft:
    """Return the linted draft of an OCSP key's next certificate, named as `first`. Raises `OperatorError`, `Reject`."""
    draft = draft_ocsp_certificate(
        from_x509(first.certificate.subject),
        first.public_key,
        issuer=issuer,
        serial=new_serial(random),
        now=now,
        validity=validity,
    )
    _require_sound(draft, issuer, "ocsp", "scepd ca responder ISSUER --write")
    return draft


def _require_sound(draft: Draft, issuer: IssuerCertificate, kind: Kind, hint: str) -> None:
    findings = lint(draft.der, issuer, kind)
    if findings:
        listed = "; ".join(f"{finding.rule}: {finding.detail}" for finding in findings)
        raise OperatorError(f"the {kind.upper()} certificate would be invalid: {listed}", hint)
