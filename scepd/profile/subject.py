"""The subject of a certificate: the profile's fixed attributes, and those of the request that it lets through."""

from collections.abc import Iterator, Sequence

from scepd.profile.model import SubjectPolicy
from scepd.records import Attribute, Name
from scepd.refusal import Reason, Reject
from scepd.x509.names import OIDS, REPEATABLE, SHORT_NAMES, check_attribute

_MAXIMUM_ATTRIBUTES = 32


def make_subject(policy: SubjectPolicy, wished: Name, vouched: Sequence[tuple[str, str]] = ()) -> Name:
    """Return the subject in the order of the request; Reject(subject_refused) for what the policy does not take.

    Multi-valued RDNs stay as they are (Cisco IOS puts serialNumber and unstructuredName into one). The result is
    never empty (C-140). `vouched` are attributes that the authenticator stands for, as pairs of short name and value:
    where the policy takes one from there, it replaces the request's as a fixed one does.
    """
    if sum(map(len, wished)) > _MAXIMUM_ATTRIBUTES:
        raise Reject(Reason.subject_refused, f"more than {_MAXIMUM_ATTRIBUTES} attributes")
    fixed: dict[str, list[Attribute]] = {}
    for attribute in (*policy.fixed, *_from_identity(policy, vouched)):
        fixed.setdefault(attribute.oid, []).append(attribute)
    own = frozenset(fixed)
    parts = [part for rdn in wished for part in _replace(policy, rdn, fixed, own)]
    subject = (*((attribute,) for waiting in fixed.values() for attribute in waiting), *parts)
    _check_whole(policy, subject)
    return subject


def _from_identity(policy: SubjectPolicy, vouched: Sequence[tuple[str, str]]) -> Iterator[Attribute]:
    """Yield the attributes that only the authenticator can give; the request's own word for one never stands in."""
    for word, source in policy.sources:
        if source != "identity":
            continue
        found = [Attribute(OIDS[word], value) for short, value in vouched if short == word]
        if not found:
            raise Reject(Reason.subject_refused, f"nobody vouches for {word}")
        for attribute in found:
            check_attribute(attribute)
        yield from found


def _replace(
    policy: SubjectPolicy, rdn: tuple[Attribute, ...], fixed: dict[str, list[Attribute]], own: frozenset[str]
) -> Iterator[tuple[Attribute, ...]]:
    """Yield what stays of an RDN, then an RDN for each fixed attribute whose type first stood here."""
    kept = tuple(attribute for attribute in rdn if attribute.oid not in own)
    for attribute in kept:
        _check_wish(policy, attribute)
    if kept:
        yield kept
    for attribute in rdn:
        for replacement in fixed.pop(attribute.oid, ()):
            yield (replacement,)


def _check_wish(policy: SubjectPolicy, attribute: Attribute) -> None:
    short = SHORT_NAMES.get(attribute.oid)
    if short is None or (short not in policy.allow and (short, "csr") not in policy.sources):
        raise Reject(Reason.subject_refused, f"{short or attribute.oid} is not taken from requests")
    check_attribute(attribute)
    for name, pattern in policy.patterns:
        if name == short and not pattern.fullmatch(attribute.value):
            raise Reject(Reason.subject_refused, f"{short} does not match the profile's pattern")


def _check_whole(policy: SubjectPolicy, subject: Name) -> None:
    found = [attribute.oid for rdn in subject for attribute in rdn]
    if not found:
        raise Reject(Reason.subject_refused, "the subject is empty")
    single = [oid for oid in found if oid not in REPEATABLE]
    if len(set(single)) != len(single) or any(len({a.oid for a in rdn}) != len(rdn) for rdn in subject):
        raise Reject(Reason.subject_refused, "an attribute twice")
    missing = [short for short in policy.required if OIDS[short] not in found]
    if missing:
        raise Reject(Reason.subject_refused, f"{missing[0]} is missing")
