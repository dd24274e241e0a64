"""Walking a request through a profile step by step, without issuing and without spending anything."""

from collections.abc import Callable
from datetime import datetime
from typing import Literal, TypeVar
from urllib.parse import urlsplit

import attrs

from scepd.admin import explain_lines as lines
from scepd.challenge.kept import make_kept_method
from scepd.challenge.wrong_codes import WrongCodes
from scepd.enroll.approval import needs_person
from scepd.enroll.authorize import authorize
from scepd.message.csr import CertificationRequest
from scepd.profile.access import WebhookRule
from scepd.profile.alternative_names import make_names
from scepd.profile.blocked_keys import BlockedKeys
from scepd.profile.extensions import judge_extensions
from scepd.profile.holder import holder_name
from scepd.profile.model import Profile
from scepd.profile.subject import make_subject
from scepd.profile.template import make_template
from scepd.records import Identity, Intent, Name, Template, TransactionKey
from scepd.refusal import Reason, Reject, Unavailable
from scepd.store.repository import Repository
from scepd.x509.certificate import draft_certificate, new_serial
from scepd.x509.general_names import general_names_from_extension
from scepd.x509.issuer import IssuerCertificate
from scepd.x509.keys import check_public_key, load_public_key, spki_digest, verify_csr
from scepd.x509.lint import lint
from scepd.x509.names import to_text

T = TypeVar("T")
Verdict = Literal["ok", "refused", "person", "not asked"]
_PKCS_REQ = 19


@attrs.frozen
class Finding:
    """One step: what was judged, how, why, and the configuration that decided it."""

    step: str
    verdict: Verdict
    reason: str
    line: str


@attrs.frozen
class Explanation:
    """What would become of a request: `outcome` is issued, pending or refused."""

    findings: tuple[Finding, ...]
    template: Template | None = None

    @property
    def outcome(self) -> str:
        """What a device would see in the end."""
        verdicts = {finding.verdict for finding in self.findings}
        if "refused" in verdicts:
            return "refused"
        return "pending" if "person" in verdicts else "issued"


@attrs.frozen
class Bench:
    """What a request is judged by besides its profile; `issuer` None where that is not known."""

    repository: Repository
    store_key: bytes
    now: datetime
    random: Callable[[int], bytes]
    issuer: IssuerCertificate | None = None
    forbidden: frozenset[bytes] = frozenset()
    blocked: BlockedKeys | None = None
    address: str = "127.0.0.1"


@attrs.define
class _Walk:
    profile: Profile
    csr: CertificationRequest
    bench: Bench
    findings: list[Finding] = attrs.field(factory=list)

    def step(self, name: str, line: str, judge: Callable[[], T], tell: Callable[[T], str] = str) -> T | None:
        """Take a step: what it yields, or None where it refuses; later steps are judged all the same."""
        try:
            found = judge()
        except Reject as refusal:
            self.note(name, "refused", f"{refusal.reason.value}: {refusal.detail}", line)
            return None
        self.note(name, "ok", "" if found is None else tell(found).strip(), line)
        return found

    def note(self, name: str, verdict: Verdict, reason: str, line: str = "") -> None:
        """Keep a finding."""
        self.findings.append(Finding(name, verdict, reason, line))


def explain(profile: Profile, csr: CertificationRequest, bench: Bench) -> Explanation:
    """Return what each step says of a request; a later one is judged although an earlier one refuses."""
    walk = _Walk(profile, csr, bench)
    walk.step("profile", lines.enabled(profile), lambda: _require_enabled(profile, bench))
    walk.step("signature", lines.signature(profile), lambda: verify_csr(csr, profile.csr_crypto))
    walk.step("request", "", csr.check)
    walk.step("key", lines.key(profile), lambda: _judge_key(profile, csr, bench))
    identity = _identify(walk)
    if profile.compliance is not None:
        walk.note("compliance", "not asked", _tell_compliance(profile.compliance), lines.compliance(profile))
    template = _judge_template(walk, identity)
    if template is not None:
        _judge_approval(walk, identity)
        walk.step("limits", lines.limits(profile), lambda: _judge_limits(walk, identity, template))
        _judge_draft(walk, template)
    return Explanation(tuple(walk.findings), template)


def _require_enabled(profile: Profile, bench: Bench) -> None:
    if not profile.enabled:
        raise Reject(Reason.profile_disabled, "off in the configuration")
    if profile.name in bench.repository.disabled_profiles():
        raise Reject(Reason.profile_disabled, f"switched off; scepd profile enable {profile.name}")


def _judge_key(profile: Profile, csr: CertificationRequest, bench: Bench) -> str:
    key = load_public_key(csr.spki_der)
    check_public_key(key, profile.keys, forbidden=bench.forbidden)
    if bench.blocked is not None:
        bench.blocked.check(csr.spki_der)
    if bench.repository.is_key_blocked(spki_digest(csr.spki_der)):
        raise Reject(Reason.key_refused, "a certificate of the key was revoked as compromised, withdrawn or held")
    size = getattr(key, "key_size", None)
    return f"{type(key).__name__} {size or ''}".rstrip()


def _identify(walk: _Walk) -> Identity:
    """Ask the local methods in their order, read only; where only a remote one could know, somebody is assumed."""
    assumed: Identity | None = None
    for index, rule in enumerate(walk.profile.challenge):
        name, line = lines.method(rule), lines.challenge(walk.profile, index)
        method = make_kept_method(rule, walk.profile, walk.bench.store_key, WrongCodes())
        if method is None:
            walk.note(f"challenge {name}", "not asked", "its answer is taken to be yes", line)
            assumed = assumed or Identity(name, "somebody")
            continue
        try:
            identity = method.authenticate(walk.csr, walk.bench.repository, walk.bench.now)
        except Reject as refusal:
            walk.note(f"challenge {name}", "refused", f"{refusal.reason.value}: {refusal.detail}", line)
            return assumed or Identity(name, "nobody")
        if identity is not None:
            walk.note(f"challenge {name}", "ok", f"knows {identity.name!r}", line)
            return identity
        walk.note(f"challenge {name}", "ok", "does not know this challenge; the next one is asked", line)
    if assumed is None:
        word = Reason.challenge_invalid if walk.csr.challenge else Reason.challenge_missing
        hint = "no method knows it" if walk.csr.challenge else "the request has none; --challenge TEXT tries one"
        walk.note("challenge", "refused", f"{word.value}: {hint}", lines.challenge(walk.profile, None))
    return assumed or Identity("nobody", "nobody")


def _tell_compliance(rule: WebhookRule) -> str:
    """Say who is asked and what its silence does; of the URL the host alone, since the rest may hold a secret."""
    silence = "left to a person (pending)" if rule.on_failure == "pending" else "503, the device comes again"
    return (
        f"{urlsplit(rule.url).hostname} would be asked now, and is taken to say yes; "
        f'without an answer, on_failure = "{rule.on_failure}": {silence}'
    )


def _judge_template(walk: _Walk, identity: Identity) -> Template | None:
    profile, csr = walk.profile, walk.csr
    before = len(walk.findings)
    names_der = walk.step(
        "extensions", lines.extensions(profile), lambda: judge_extensions(profile, csr.extensions), _tell_wish
    )
    subject = walk.step(
        "subject",
        lines.subject(profile),
        lambda: make_subject(profile.subject, csr.subject, identity.attributes),
        to_text,
    )
    if subject is not None:
        walk.step("names", lines.names(profile), lambda: _judge_names(walk, identity, subject, names_der), _tell_names)
    if any(finding.verdict == "refused" for finding in walk.findings[before:]):
        return None
    return make_template(profile, csr, identity)


def _judge_names(walk: _Walk, identity: Identity, subject: Name, names_der: bytes | None) -> tuple[str, ...]:
    wished = () if names_der is None else general_names_from_extension(names_der)
    made = make_names(walk.profile.names, wished, subject=subject, vouched=identity.names)
    return tuple(f"{name.kind}:{name.value}" for name in made)


def _tell_wish(names_der: bytes | None) -> str:
    return "" if names_der is None else f"a subjectAltName of {len(names_der)} octets is wished for"


def _tell_names(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"


def _judge_approval(walk: _Walk, identity: Identity) -> None:
    authorization = authorize(walk.profile, walk.csr, identity, None)
    if needs_person(walk.profile.approval, authorization, walk.bench.address):
        walk.note("approval", "person", "a person would be asked", lines.approval(walk.profile))
    else:
        walk.note("approval", "ok", "no person is asked", lines.approval(walk.profile))


def _judge_limits(walk: _Walk, identity: Identity, template: Template) -> None:
    profile, csr = walk.profile, walk.csr
    requester, subject = spki_digest(csr.spki_der), to_text(template.subject)
    walk.bench.repository.judge_limits(
        Intent(
            key=TransactionKey(profile.name, "explain", requester),
            message_type=_PKCS_REQ,
            issuer=profile.issuer,
            serial=0,
            draft_der=b"",
            csr_der=b"",
            csr_fingerprint="",
            wishes=b"",
            subject=subject,
            names=(),
            public_key=requester,
            not_before=walk.bench.now,
            not_after=walk.bench.now + template.validity,
            identity=identity,
            address=walk.bench.address,
            unique_subject=profile.unique_subject,
            unique_key=profile.unique_key,
            most_active=profile.most_active,
            holder=holder_name(identity, subject),
        ),
        walk.bench.now,
    )


def _judge_draft(walk: _Walk, template: Template) -> None:
    line = lines.draft(walk.profile)
    if walk.bench.issuer is None:
        walk.note("draft", "not asked", "the issuer's certificate is not known", line)
        return
    try:
        walk.step("draft", line, lambda: _draft(walk, template))
    except Unavailable as trouble:
        walk.note("draft", "refused", trouble.cause, line)


def _draft(walk: _Walk, template: Template) -> str:
    issuer = walk.bench.issuer
    assert issuer is not None  # `_judge_draft` looked
    serial = new_serial(walk.bench.random)
    draft = draft_certificate(template, walk.csr.spki_der, issuer, serial=serial, now=walk.bench.now)
    faults = lint(draft.der, issuer, "leaf")
    if faults:
        raise Reject(Reason.lint_failed, "; ".join(f"{fault.rule}: {fault.detail}" for fault in faults))
    return f"{draft.not_before:%Y-%m-%d %H:%M} to {draft.not_after:%Y-%m-%d %H:%M} UTC, lint finds nothing"
