"""What must be true of a certificate before a token signs it: a table of rules, read over the drafted octets."""

import attrs

from scepd.x509.issuer import IssuerCertificate
from scepd.x509.rule import ALL, Rule
from scepd.x509.rules_extensions import EXTENSION_RULES
from scepd.x509.rules_fields import FIELD_RULES
from scepd.x509.rules_names import NAME_RULES
from scepd.x509.view import Kind, examine

__all__ = ["RULES", "Finding", "Kind", "Rule", "lint"]

RULES: tuple[Rule, ...] = FIELD_RULES + EXTENSION_RULES + NAME_RULES
_BY_KIND: dict[Kind, tuple[Rule, ...]] = {kind: tuple(rule for rule in RULES if kind in rule.kinds) for kind in ALL}


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
    findings = []
    for rule in _BY_KIND[kind]:
        detail = rule.check(view)
        if detail is not None:
            findings.append(Finding(rule.name, detail))
    return findings
