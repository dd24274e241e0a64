"""Whether a person must decide about a request before it is issued."""

import re
from ipaddress import ip_address

from scepd.challenge.none import NoChallenge
from scepd.enroll.authorize import Authorization
from scepd.profile.model import ApprovalRule, AutomaticWhen
from scepd.records import Template
from scepd.x509.names import OIDS


def needs_person(rule: ApprovalRule | None, authorization: Authorization, address: str) -> bool:
    """Return whether the profile's rule asks a person about what was authorized; `address` is the client's."""
    if authorization.undecided or authorization.identity.method == NoChallenge.name:
        return True  # nobody has vouched for anything: no rule can make that enough
    if rule is None:
        return False
    if rule.automatic is None:
        return True
    return not _is_automatic(rule.automatic, authorization, address)


def _is_automatic(when: AutomaticWhen, authorization: Authorization, address: str) -> bool:
    renewal = authorization.lineage is not None
    if renewal and not when.renewals:
        return False
    # A renewal has no challenge method: its credential is the certificate.
    if when.methods and not renewal and authorization.identity.method not in when.methods:
        return False
    if when.networks and not any(ip_address(address) in network for network in when.networks):
        return False
    return all(_matches(authorization.template, short, pattern) for short, pattern in when.subject)


def _matches(template: Template, short: str, pattern: re.Pattern[str]) -> bool:
    values = [attribute.value for rdn in template.subject for attribute in rdn if attribute.oid == OIDS[short]]
    return bool(values) and all(pattern.fullmatch(value) for value in values)
