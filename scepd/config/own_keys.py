"""The public keys of the service itself: nobody enrols with one of them."""

from scepd.config.settings import Settings
from scepd.message.certificate import load_certificate
from scepd.x509.keys import spki_digest


def own_keys(settings: Settings) -> frozenset[bytes]:
    """Return SHA-256 over the SubjectPublicKeyInfo of each key of the issuers, their RAs and responders, and the audit."""
    ders = [load_certificate(der).spki_der for issuer in settings.issuers for der in issuer.own_certificates]
    if settings.audit is not None:
        ders += settings.audit.public_keys
    return frozenset(map(spki_digest, ders))
