"""From [profile.NAME] renewal, approval and signing_time to the rules of `profile.model`."""

from collections.abc import Collection
from datetime import timedelta
from typing import Any

import attrs

from scepd.config.patterns import read_attribute
from scepd.config.profile_sections import (
    ApprovalSection,
    AutomaticSection,
    ProfileSection,
    RenewalSection,
    SigningTimeSection,
)
from scepd.problems import Place, Refused, suggest
from scepd.profile.model import ApprovalRule, AutomaticWhen, RenewalRule, SigningTimeRule, SubjectPolicy
from scepd.x509.names import OIDS

# No challenge method has this name, so no first request is automatic; renewals are not judged by their method.
_RENEWALS_ALONE = frozenset({"renewal"})

_LEAST_REVOKE_PREVIOUS = timedelta(hours=1)


def compile_renewal(
    section: RenewalSection | bool,
    profiles: Collection[str],
    issuers: Collection[str],
    place: Place,
) -> RenewalRule | None:
    """Return how certificates are renewed, None where they are not; `profiles` and `issuers` are those that exist."""
    if not isinstance(section, RenewalSection):
        return None
    for key, named, known in (("profiles", section.profiles, profiles), ("issuers", section.issuers, issuers)):
        for index, name in enumerate(named or ()):
            if name not in known:
                word = key.removesuffix("s")
                (place / key / index).problem(f"there is no [{word}.{name}]", suggest(name, known))
    if section.revoke_previous is not None and section.revoke_previous < _LEAST_REVOKE_PREVIOUS:
        words = "a device whose reply was lost needs its old certificate to ask again"
        (place / "revoke_previous").problem(words, 'write "1h" or more')
    return RenewalRule(**_written(section))


def compile_signing_time(section: SigningTimeSection) -> SigningTimeRule:
    """Return what is asked of signingTime; false stands for no limit."""
    default = SigningTimeRule()
    return SigningTimeRule(
        skew=default.skew if section.skew is None else section.skew or None,
        renewal_skew=default.renewal_skew if section.renewal_skew is None else section.renewal_skew or None,
        required=section.required,
    )


def compile_approval(section: ProfileSection, place: Place) -> ApprovalRule | None:
    """Return when a person decides, None where nobody is asked."""
    written = section.approval
    if not isinstance(written, ApprovalSection):
        return ApprovalRule() if written == "manual" else None
    values: dict[str, Any] = {
        name: getattr(written, name) for name in ("valid", "most") if getattr(written, name) is not None
    }
    automatic = (
        None if written.automatic is None else _compile_automatic(written.automatic, section, place / "automatic")
    )
    return ApprovalRule(automatic=automatic, **values)


def _compile_automatic(section: AutomaticSection, profile: ProfileSection, place: Place) -> AutomaticWhen:
    methods = frozenset(section.methods)
    if not (section.subject or section.methods or section.networks):
        if not section.renewals and not place.is_noted:
            hint = 'automatic = { methods = ["one-time"] }; automatic = { renewals = true } for renewals alone'
            place.problem("no condition is written", hint)
        methods = _RENEWALS_ALONE
    _judge_subject(section, profile, place / "subject")
    listed = {challenge.method for challenge in profile.challenge or ()}
    for index, method in enumerate(section.methods):
        if method not in listed:
            hint = f'challenge = [{{ method = "{method}" }}]'
            (place / "methods" / index).problem(f"{method} is no challenge method of this profile", hint)
    return AutomaticWhen(
        subject=tuple(section.subject.items()),
        methods=methods,
        networks=section.networks,
        renewals=section.renewals is not False,
    )


def _judge_subject(section: AutomaticSection, profile: ProfileSection, place: Place) -> None:
    allow = SubjectPolicy().allow if profile.subject.allow is None else profile.subject.allow
    for word in section.subject:
        try:
            read_attribute(word)
        except Refused as refused:
            (place / word).refuse(refused)
        if word in OIDS and word not in allow and word not in profile.subject.set:
            (place / word).problem(
                f"{word} is never in a subject, so a person is always asked", f'add "{word}" to subject.allow'
            )


def _written(section: attrs.AttrsInstance) -> dict[str, Any]:
    """Return what is written; what is not keeps the rule's own default."""
    return {name: value for name, value in attrs.asdict(section, recurse=False).items() if value is not None}
