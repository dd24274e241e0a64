"""A certificate of ours drafted again before it ends: the same key, the same names, as long as before."""

from collections.abc import Callable
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from scepd.records import GeneralName
from scepd.refusal import OperatorError
from scepd.x509.certificate import IssuerCertificate, draft_tls_certificate, new_serial
from scepd.x509.draft import Draft
from scepd.x509.lint import lint


def is_due(certificate: x509.Certificate, now: datetime) -> bool:
    """Return whether a third or less of the certificate's life is left."""
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return now >= certificate.not_valid_after_utc - life / 3


def draft_renewal(
    present: x509.Certificate, issuer: IssuerCertificate, now: datetime, random: Callable[[int], bytes]
) -> Draft:
    """Return the linted draft of a TLS server certificate that follows `present`. Raises `OperatorError`, `Reject`."""
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
    draft = draft_tls_certificate(written, key, issuer, serial=new_serial(random), now=now, validity=life)
    findings = lint(draft.der, issuer, "tls")
    if findings:
        listed = "; ".join(f"{finding.rule}: {finding.detail}" for finding in findings)
        raise OperatorError(f"the TLS certificate would be invalid: {listed}", "scepd ca certify --as tls")
    return draft
