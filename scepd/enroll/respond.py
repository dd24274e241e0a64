"""From the bytes of a PKIMessage to the bytes of its CertRep: the frame around the pipeline, inside one lane hop."""

from collections.abc import Callable
from typing import Any, assert_never

import attrs

from scepd.enroll.case import Asking, Case, Trail
from scepd.enroll.context import Context, Registration
from scepd.enroll.legacy import legacy_uses
from scepd.enroll.notices import notices_of
from scepd.enroll.pipeline import decide, resume
from scepd.enroll.recall import recover
from scepd.enroll.reply import Answer
from scepd.enroll.staple import prepare_staple
from scepd.enroll.succession import serving
from scepd.enroll.suspended import Suspended, Verdict
from scepd.message.algorithms import PKCS1V15, Cipher
from scepd.message.certrep import failure, pending, success
from scepd.message.errors import MessageError
from scepd.message.names import MessageType
from scepd.message.request import parse_message
from scepd.profile.model import Profile
from scepd.records import Found, Issued, Origin, Outcome, Pending, Posting, Refusal, Rejected
from scepd.refusal import Reject, Unavailable


@attrs.frozen
class Response:
    """The answer to send, and the refusal to keep where there was one, with the notices of it."""

    answer: Answer
    refusal: Refusal | None = None
    notices: tuple[Posting, ...] = ()


def respond(context: Context, profile: Profile, body: bytes, origin: Origin) -> Response | Suspended:
    """Return the answer to one PKIOperation, or what must be asked outside first: `respond_again` goes on from there.

    Unreadable bytes become HTTP 400, our own troubles HTTP 503, everything else a signed CertRep (RFC 8894 section
    3.3.2). Faults of the token propagate, for the lane to rebuild its context and ask again.
    """
    if context.owes:
        recover(context)
    trail = Trail(context.monotonic)
    try:
        message = parse_message(body)
    except MessageError as error:
        return Response(Answer(b"", "malformed", status=400, reason="malformed_message", detail=str(error)))
    if profile.strict_nonce and not message.sender_nonce:
        return Response(Answer(b"", "malformed", status=400, reason="malformed_message", detail="no senderNonce"))
    trail.step("parsed")
    case = Case(message, profile, origin, trail, registration_of(context, profile))
    return _respond(context, case, lambda: decide(context, case))


def respond_again(context: Context, suspended: Suspended, verdict: Verdict) -> Response | Suspended:
    """Go on with what `respond` left, in whichever lane: the keys are this lane's."""
    if context.owes:
        recover(context)
    case = suspended.case
    case.registration = context.registrations[case.registration.issuer].answering(case.registration.generation)
    case.trail.step("asked")
    return _respond(context, case, lambda: resume(context, suspended, verdict))


def _respond(context: Context, case: Case, act: Callable[[], Outcome | Suspended]) -> Response | Suspended:
    try:
        try:
            outcome = act()
        except Reject as reject:
            outcome = Rejected(reject.reason, reject.detail)
        return outcome if isinstance(outcome, Suspended) else _reply(context, case, outcome)
    except Unavailable as trouble:
        return Response(_unavailable(case, trouble))


def _reply(context: Context, case: Case, outcome: Outcome) -> Response:
    match outcome:
        case Issued():
            return Response(_issued(context, case, outcome))
        case Found():
            return Response(_found(context, case, outcome))
        case Pending():
            return Response(_pending(context, case))
        case Rejected():
            case.trail.step("refused", outcome.reason.value)
            refusal = refusal_of(context, case, outcome, subject=case.subject)
            return Response(_rejected(context, case, outcome), refusal, notices_of(context, case, refusal))
        case unreachable:
            assert_never(unreachable)


def registration_of(context: Context, profile: Profile) -> Registration:
    """Return the RA that answers for a profile now, until the request names another."""
    return context.registrations[serving(profile.issuer, context.successions, context.clock.now())]


def certificates_of(context: Context, profile: Profile, outcome: Issued) -> tuple[bytes, ...]:
    """Return what goes out with a certificate, which comes first: what the profile says of its chain (C-119, C-120).

    Raises `Unavailable` where it must be stapled and nothing could be stapled yet.
    """
    prepare_staple(context, outcome.transaction, outcome.certificate_der)
    issuer = context.issuers.get(outcome.transaction.issuer)
    if issuer is None:  # it has left the configuration: its certificate is still the device's
        return (outcome.certificate_der,)
    above = {"none": (), "issuer": (issuer.certificate.der,), "full": (issuer.certificate.der, *issuer.chain)}
    return (outcome.certificate_der, *above[profile.reply_chain])


def _issued(context: Context, case: Case, outcome: Issued) -> Answer:
    body = _success(context, case, certificates_of(context, case.profile, outcome))
    context.checkpoint("before_reply")
    return _answer(case, body, "issued", again=outcome.again, subject=outcome.transaction.subject)


def _found(context: Context, case: Case, outcome: Found) -> Answer:
    body = _success(context, case, outcome.certificates, outcome.crls)
    return _answer(case, body, "found", subject=outcome.subject)


def _success(context: Context, case: Case, certificates: tuple[bytes, ...], crls: tuple[bytes, ...] = ()) -> bytes:
    return success(
        case.message,
        certificates,
        crls=crls,
        cipher=case.envelope.cipher if case.envelope else Cipher.AES128,
        transport=case.transport or PKCS1V15,
        password=case.password if case.needs_password else None,
        signer=case.registration.signer,
        now=context.clock.now(),
        random=context.random,
    )


def _pending(context: Context, case: Case) -> Answer:
    body = pending(
        case.message,
        signer=case.registration.signer,
        now=context.clock.now(),
        random=context.random,
        policy=case.profile.crypto,
        empty_content=not case.profile.omit_empty_content,
    )
    return _answer(case, body, "pending")


def _rejected(context: Context, case: Case, outcome: Rejected) -> Answer:
    reject = Reject(outcome.reason, outcome.detail)
    body = failure(
        case.message,
        reject.fail_info,
        None if case.profile.omit_fail_info_text else reject.fail_info_text,
        signer=case.registration.signer,
        now=context.clock.now(),
        random=context.random,
        policy=case.profile.crypto,
        empty_content=not case.profile.omit_empty_content,
    )
    words = {"reason": outcome.reason.value, "detail": outcome.detail, "fail_info": reject.fail_info.name}
    return _answer(case, body, "rejected", **words)


def _unavailable(case: Case, trouble: Unavailable) -> Answer:
    return _answer(case, b"", "unavailable", status=503, detail=trouble.cause, retry_after=trouble.retry_after)


def _answer(case: Case, body: bytes, outcome: str, *, subject: str | None = None, **words: Any) -> Answer:
    return Answer(
        body,
        outcome,
        message_type=_type_name(case.message.message_type),
        transaction_id=case.message.transaction_id,
        subject=case.subject if subject is None else subject,
        legacy=legacy_uses(case),
        **words,
    )


def _type_name(number: int) -> str:
    try:
        return MessageType(number).name
    except ValueError:
        return str(number)


def refusal_of(context: Context, asking: Asking, outcome: Rejected, *, subject: str) -> Refusal:
    """Return what is kept of a refused request."""
    return Refusal(
        at=context.clock.now(),
        profile=asking.profile.name,
        transaction_id=asking.key.transaction_id,
        requester=asking.key.requester,
        message_type=asking.message_type,
        reason=outcome.reason,
        detail=outcome.detail,
        subject=subject,
        address=asking.origin.address,
        request_id=asking.origin.request_id,
        trail=asking.trail.steps,
    )
