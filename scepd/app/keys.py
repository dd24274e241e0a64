"""The keys of a configuration, with what each must be."""

from collections.abc import Iterable

from scepd.config.settings import IssuerSettings
from scepd.hsm.probe import KeyCheck


def key_checks(issuers: Iterable[IssuerSettings]) -> tuple[KeyCheck, ...]:
    """Return every key of the issuers with its role, each once."""
    checks = [
        check
        for issuer in issuers
        for check in (
            KeyCheck(issuer.key, "sign", issuer.certificate_der),
            KeyCheck(issuer.ra_sign.key, "sign", issuer.ra_sign.certificate_der),
            KeyCheck(issuer.ra_decrypt.key, "decrypt", issuer.ra_decrypt.certificate_der),
        )
    ]
    return tuple(dict.fromkeys(checks))
