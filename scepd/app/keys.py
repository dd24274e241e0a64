"""The keys of a configuration, with what each must be and may do."""

from collections.abc import Iterable, Iterator

from scepd.config.issuer_settings import IssuerSettings
from scepd.config.settings import AuditSettings
from scepd.hsm.attributes import KeyRules
from scepd.hsm.probe import KeyCheck

_ONE_ROLE = KeyRules()
_BOTH_ROLES = KeyRules(both_roles=True)


def key_checks(issuers: Iterable[IssuerSettings], audit: AuditSettings | None = None) -> tuple[KeyCheck, ...]:
    """Return every key with its role, each once; a key that does both is checked in both."""
    checks = [check for issuer in issuers for check in _of_issuer(issuer)]
    if audit is not None:
        checks.append(KeyCheck(audit.key, "sign", audit.public_key_der, _ONE_ROLE))
    return tuple(dict.fromkeys(checks))


def ca_rules(issuer: IssuerSettings) -> KeyRules:
    """Return what is excused in the CA key: decrypting, only where the CA is its own RA and is encrypted to."""
    return _BOTH_ROLES if issuer.ca_is_ra and issuer.ra_decrypt is not None else _ONE_ROLE


def ra_rules(issuer: IssuerSettings) -> KeyRules:
    """Return what is excused in the RA's keys: a second role, only where one key has both on purpose."""
    return _BOTH_ROLES if issuer.has_one_ra_key else _ONE_ROLE


def _of_issuer(issuer: IssuerSettings) -> Iterator[KeyCheck]:
    yield KeyCheck(issuer.key, "sign", issuer.certificate_der, ca_rules(issuer))
    yield KeyCheck(issuer.ra_sign.key, "sign", issuer.ra_sign.certificate_der, ra_rules(issuer))
    if issuer.ocsp is not None:
        yield KeyCheck(issuer.ocsp.key, "sign", issuer.ocsp.certificate_der, _ONE_ROLE)
    for former in issuer.former_signers:
        yield KeyCheck(former.key, "sign", former.certificate_der, ra_rules(issuer))
    for recipient in issuer.recipients:
        yield KeyCheck(recipient.key, "decrypt", recipient.certificate_der, ra_rules(issuer))
