"""The subject alternative names of a certificate: of those wished, all must be allowed or vouched for (C-159)."""

import ipaddress
from collections.abc import Sequence

from scepd.profile.model import NamePolicy
from scepd.records import GeneralName, Name
from scepd.refusal import Reason, Reject
from scepd.x509.names import OIDS, common_name
from scepd.x509.strings import is_host_name

# [MS-WCCE] and Windows' strong certificate mapping: a security identifier in a URI.
_SECURITY_IDENTIFIER = "tag:microsoft.com,2022-09-14:sid:"
_NEVER = frozenset({"directory", "registered_id"})


def make_names(
    policy: NamePolicy, wished: Sequence[GeneralName], *, subject: Name, vouched: Sequence[str]
) -> tuple[GeneralName, ...]:
    """Return the names of a new certificate: those wished, as `judge_names` has it, and those copied from the subject.

    A host name in the subject that would not be allowed as a wish is not copied. With `from_identity` the names that
    the authenticator stands for follow those wished. Reject(name_refused) where a kind that is required is missing.
    """
    own = common_name(subject)
    given = tuple(GeneralName(*name.split(":", 1)) for name in vouched) if policy.from_identity else ()
    names = judge_names(policy, (*wished, *given), common_name=own, vouched=vouched)
    copied = (GeneralName("dns", host) for host in _hosts(policy, subject))
    allowed = (n for n in copied if n.value not in policy.reserved and _allows(policy, n, own))
    names = tuple(dict.fromkeys((*names, *allowed)))
    missing = [kind for kind in policy.required if kind not in {name.kind for name in names}]
    if missing:
        raise Reject(Reason.name_refused, f"no {missing[0]} name")
    return names


def _hosts(policy: NamePolicy, subject: Name) -> list[str]:
    """Return the host names in the subject's attributes that the policy copies, in the order of the policy."""
    values = [a.value.lower() for word in policy.copy for rdn in subject for a in rdn if a.oid == OIDS[word]]
    return [value for value in values if is_host_name(value)]


def judge_names(
    policy: NamePolicy, wished: Sequence[GeneralName], *, common_name: str | None, vouched: Sequence[str]
) -> tuple[GeneralName, ...]:
    """Return the wished names, each once; Reject(name_refused) for the first that nothing allows.

    `vouched` are the names that the authenticator stands for, as "dns:host"; it alone brings UPNs and security
    identifiers (threats S-55). The appliance's own names are refused to everybody (threats S-57).
    """
    if common_name is not None and common_name.lower() in policy.reserved:
        raise Reject(Reason.name_refused, "the common name is one of this service's own")
    for name in wished:
        if name.kind in _NEVER or name.value in policy.reserved:
            raise Reject(Reason.name_refused, f"{name.kind} {name.value!r} is never certified")
        if f"{name.kind}:{name.value}" not in vouched and not _allows(policy, name, common_name):
            raise Reject(Reason.name_refused, f"{name.kind} {name.value!r} is not allowed by the profile")
    return tuple(dict.fromkeys(wished))


def _allows(policy: NamePolicy, name: GeneralName, common_name: str | None) -> bool:
    if name.kind == "dns":
        own = policy.takes_common_name and common_name is not None and name.value == common_name.lower()
        return own or any(_covers(pattern, name.value) for pattern in policy.dns)
    if name.kind == "ip":
        address = ipaddress.ip_address(name.value)
        return not address.is_unspecified and any(address in network for network in policy.ip)
    if name.kind == "email":
        return any(_covers_mailbox(pattern, name.value) for pattern in policy.email)
    if name.kind == "uri" and not name.value.lower().startswith(_SECURITY_IDENTIFIER):
        return any(pattern.fullmatch(name.value) for pattern in policy.uri)
    return False


def _covers(pattern: str, host: str) -> bool:
    pattern = pattern.lower()
    if pattern.startswith("*"):
        return host.endswith(pattern[1:])
    return host == pattern


def _covers_mailbox(pattern: str, mailbox: str) -> bool:
    if "@" in pattern:
        return mailbox.lower() == pattern.lower()
    return _covers(pattern, mailbox.rpartition("@")[2])
