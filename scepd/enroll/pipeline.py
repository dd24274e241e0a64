"""The one page: how a PKIMessage becomes an outcome, straight down, the same for every request."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import attrs

from scepd.enroll.approval import needs_person
from scepd.enroll.authorize import Authorization, authorize, identify
from scepd.enroll.case import Asker, Case
from scepd.enroll.context import Context
from scepd.enroll.envelope import open_envelope
from scepd.enroll.guessing import count_guess, is_besieged, let_guess
from scepd.enroll.issue import answer_known, issue
from scepd.enroll.lookup import get_cert, get_crl
from scepd.enroll.poll import poll
from scepd.enroll.possession import prove_possession, prove_renewal, read_request
from scepd.enroll.recall import recall
from scepd.enroll.renewal import answer_renewed, judge_key, previous_of
from scepd.enroll.suspended import COMPLIANCE, Suspended, Verdict
from scepd.message.csr import CertificationRequest
from scepd.message.names import MessageType
from scepd.message.request import verify_message
from scepd.profile.access import IntuneRule, WebhookRule
from scepd.records import Answered, Certificate, Identity, Outcome, Transaction
from scepd.refusal import Reason, Reject, Unavailable
from scepd.x509.keys import spki_digest


def decide(context: Context, case: Case) -> Outcome | Suspended:
    """Return the outcome of a parsed PKIMessage; every refusal is a `Reject`. A `Suspended` waits for an answer from outside.

    The order is fixed: algorithms and signature from clear data, then the time, then the message type, then the
    envelope; what depends on decrypted bytes is refused uniformly until the requester has proved that it wrote them.
    """
    verify_message(case.message, case.profile.crypto)
    case.trail.step("verified")
    context.switches.require_on(case.profile)
    handler = HANDLERS.get(case.message_type)
    _check_signing_time(context, case)
    if handler is None:
        raise Reject(Reason.message_type_unsupported, f"messageType {case.message_type}")
    if case.needs_password and not case.profile.password_encryption:
        raise Reject(Reason.reply_unprotectable, "the signer's key cannot encrypt")
    return handler(context, case)


def _check_signing_time(context: Context, case: Case) -> None:
    rule, moment = case.profile.signing_time, case.message.signing_time
    skew = rule.renewal_skew if case.message_type == MessageType.RenewalReq else rule.skew
    if moment is None:
        if rule.required:
            raise Reject(Reason.signing_time_refused, "no signingTime")
    elif skew is not None and abs(context.clock.now() - moment) > skew:
        raise Reject(Reason.signing_time_refused, f"signed {moment:%Y-%m-%d %H:%M:%S}Z")


def request(context: Context, case: Case) -> Answered | Suspended:
    """PKCSReq and RenewalReq (RFC 8894 section 3.3.1): possession, recall, authorization, issue."""
    previous = previous_of(context, case)
    csr = read_request(case.profile, open_envelope(context, case))
    if previous is None:
        prove_possession(context, case, csr)
    else:
        prove_renewal(context, case, csr, previous)
    _keep_password(case, csr)
    known = _recall(context, case, csr, previous)
    if known is not None:
        return answer_known(context, case, known, csr.wishes)
    if previous is not None:
        renewed = answer_renewed(context, case, csr, previous)
        if renewed is not None:
            return renewed
        judge_key(context, case, previous, spki_digest(csr.spki_der))
    return _identify(context, case, csr, previous)


def _keep_password(case: Case, csr: CertificationRequest) -> None:
    """Note what protects the reply to a key that cannot encrypt; refuse now what could not be delivered (C-257)."""
    if case.needs_password and case.password is None:
        if not csr.challenge:
            raise Reject(Reason.reply_unprotectable, "the signer's key cannot encrypt and there is no challenge")
        case.password = csr.challenge


def _recall(
    context: Context, case: Case, csr: CertificationRequest, previous: Certificate | None
) -> Transaction | None:
    try:
        return recall(context, case.key, csr.wishes, besides=None if previous is None else previous.der)
    except Reject:
        # Somebody renewed the certificate with another key under this very transactionID: that is worth an alarm.
        if previous is not None:
            answer_renewed(context, case, csr, previous)
        raise


def _identify(
    context: Context, case: Case, csr: CertificationRequest, previous: Certificate | None, *, start: int = 0
) -> Answered | Suspended:
    identity = let_guess(context, case, lambda: identify(context, case, csr, previous, start=start))
    if isinstance(identity, int):
        return Suspended(case=case, csr=csr, previous=previous, index=identity)
    case.asker = Asker(identity, csr)
    if case.profile.compliance is not None:
        return Suspended(case=case, csr=csr, previous=previous, index=COMPLIANCE, identity=identity)
    return _authorize(context, case, csr, identity, previous)


def resume(context: Context, suspended: Suspended, verdict: Verdict) -> Answered | Suspended:
    """Go on with a request after what it waited for was asked; raises `Reject` and `Unavailable` as `decide` does."""
    case, csr, previous = suspended.case, suspended.csr, suspended.previous
    if isinstance(verdict, Reject):
        count_guess(context, case, verdict)
        raise verdict
    if isinstance(verdict, Unavailable):
        return _leave_undecided(context, suspended, verdict)
    if suspended.index == COMPLIANCE:
        assert suspended.identity is not None  # `_identify` asks of nobody unknown
        return _authorize(context, case, csr, suspended.identity, previous, undecided=suspended.undecided)
    if verdict is None:
        return _identify(context, case, csr, previous, start=suspended.index + 1)
    case.asker = Asker(verdict, csr)
    if case.profile.compliance is not None:
        return attrs.evolve(suspended, index=COMPLIANCE, identity=verdict)
    return _authorize(context, case, csr, verdict, previous)


def _leave_undecided(context: Context, suspended: Suspended, trouble: Unavailable) -> Answered | Suspended:
    """Let a person decide where the profile says so and nobody answers; else the device comes again (503).

    Nobody asks after the approval, so that compliance is asked before the request is left to a person.
    """
    case = suspended.case
    rule = case.profile.compliance if suspended.index == COMPLIANCE else case.profile.challenge[suspended.index]
    if not isinstance(rule, WebhookRule | IntuneRule) or rule.on_failure == "refuse":
        raise trouble
    identity = suspended.identity or Identity(context.challenges[case.profile.name][suspended.index].name, "undecided")
    case.trail.step("undecided", trouble.cause)
    if suspended.index != COMPLIANCE and case.profile.compliance is not None:
        return attrs.evolve(suspended, index=COMPLIANCE, identity=identity, undecided=True)
    return _authorize(context, case, suspended.csr, identity, suspended.previous, undecided=True)


def _authorize(
    context: Context,
    case: Case,
    csr: CertificationRequest,
    identity: Identity,
    previous: Certificate | None,
    *,
    undecided: bool = False,
) -> Answered:
    undecided = undecided or is_besieged(context, case, previous)
    authorization = authorize(case.profile, csr, identity, previous, undecided=undecided)
    case.trail.step("authorized", identity.method)
    _refuse_unrecallable(context, case, authorization)
    try:
        return issue(context, case, csr, authorization)
    except Reject as refused:
        if refused.reason is not Reason.renewal_superseded or previous is None:
            raise
        # Another lane may have renewed the certificate since it was looked at: the store lets one win.
        renewed = answer_renewed(context, case, csr, previous)
        if renewed is None:  # another renewal of it waits for a person
            context.store.suspect_clone(previous.id, case.key, case.origin.address)
            raise
        return renewed


def _refuse_unrecallable(context: Context, case: Case, authorization: Authorization) -> None:
    """Refuse what would have to wait and could not be answered then: no challenge is kept that protects the reply."""
    if not case.needs_password or not needs_person(case.profile.approval, authorization, case.origin.address):
        return
    passwords = context.passwords[case.profile.name]
    if passwords.of_identity(context.store, authorization.identity) is None:
        raise Reject(Reason.reply_unprotectable, "no challenge is kept that could protect a later reply")


Handler = Callable[[Context, Case], Outcome | Suspended]

# Default deny: a type that is not here is refused before anything is decrypted.
HANDLERS: Mapping[int, Handler] = MappingProxyType(
    {
        MessageType.PKCSReq.value: request,
        MessageType.RenewalReq.value: request,
        MessageType.CertPoll.value: poll,
        MessageType.GetCert.value: get_cert,
        MessageType.GetCRL.value: get_crl,
    },
)
