"""What must be true of a certificate before a token signs it: a table of rules, read over the drafted octets."""

from functools import lru_cache

import attrs

from scepd.x509.issuer import IssuerCertificate
from scepd.x509.rule import ALL, CommonRule, Rule
from scepd.x509.rules_extensions import EXTENSION_RULES
from scepd.x509.rules_fields import FIELD_RULES
from scepd.x509.rules_names import NAME_RULES
from scepd.x509.view import Common, Kind, examine

__all__ = ["RULES", "Finding", "Kind", "lint"]

RULES: tuple[Rule | CommonRule, ...] = FIELD_RULES + EXTENSION_RULES + NAME_RULES
_BY_KIND = {kind: tuple(rule for rule in RULES if isinstance(rule, Rule) and kind in rule.kinds) for kind in ALL}
_COMMON = {kind: tuple(rule for rule in RULES if isinstance(rule, CommonRule) and kind in rule.kinds) for kind in ALL}


@attrs.frozen
class Finding:
    """One broken rule: its name, and what was found."""

    rule: str
    detail: str


def lint(der: bytes, issuer: IssuerCertificate | None, kind: Kind) -> list[Finding]:
    """Return every rule that a certificate breaks; nothing means that it may be signed.

    `issuer` None: a self-signed CA certificate. Octets that cannot be read are one finding of the rule "readable".
    """
    try:
        view = examine(der, issuer, kind)
    except ValueError as error:
        return [Finding("readable", str(error))]
    findings = list(_judge_common(view.common))
    for rule in _BY_KIND[kind]:
        detail = rule.check(view)
        if detail is not None:
            findings.append(Finding(rule.name, detail))
    return findings


@lru_cache(maxsize=256)  # one entry for each profile and kind of key
def _judge_common(common: Common) -> tuple[Finding, ...]:
    details = ((rule.name, rule.check(common)) for rule in _COMMON[common.kind])
    return tuple(Finding(name, detail) for name, detail in details if detail is not None)
