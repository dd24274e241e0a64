"""The one page: how a PKIMessage becomes an outcome, straight down, the same for every request."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from scepd.enroll.authorize import authorize_by_certificate, authorize_by_challenge
from scepd.enroll.case import Case
from scepd.enroll.context import Context
from scepd.enroll.envelope import open_envelope
from scepd.enroll.issue import issue, issue_approved
from scepd.enroll.lookup import get_cert, get_crl
from scepd.enroll.poll import poll
from scepd.enroll.possession import prove_possession, prove_renewal
from scepd.enroll.recall import answer_again, recall
from scepd.enroll.renewal import judge_key, previous_of
from scepd.message.csr import CertificationRequest, parse_csr
from scepd.message.names import MessageType
from scepd.message.request import verify_message
from scepd.records import Answered, Certificate, Outcome, Transaction, TransactionState
from scepd.refusal import Reason, Reject
from scepd.x509.keys import spki_digest


def decide(context: Context, case: Case) -> Outcome:
    """Return the outcome of a parsed PKIMessage; every refusal is a `Reject`.

    The order is fixed: algorithms and signature from clear data, then the time, then the message type, then the
    envelope; what depends on decrypted bytes is refused uniformly until the requester has proved that it wrote them.
    """
    verify_message(case.message, case.profile.crypto)
    case.trail.step("verified")
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


def request(context: Context, case: Case) -> Outcome:
    """PKCSReq and RenewalReq (RFC 8894 section 3.3.1): possession, recall, authorization, issue."""
    previous = previous_of(context, case)
    csr = _read_request(context, case)
    if previous is None:
        prove_possession(context, case, csr)
    else:
        prove_renewal(context, case, csr, previous)
    _keep_password(case, csr)
    known = recall(context, case.key, csr.wishes, besides=None if previous is None else previous.der)
    if known is not None:
        return _answer_known(context, case, known)
    if previous is not None:
        return _renew(context, case, csr, previous)
    authorization = authorize_by_challenge(context, case.profile, csr)
    case.trail.step("authorized", authorization.identity.method)
    return issue(context, case, csr, authorization)


def _read_request(context: Context, case: Case) -> CertificationRequest:
    return parse_csr(open_envelope(context, case), verisign=case.profile.verisign_extension_request)


def _keep_password(case: Case, csr: CertificationRequest) -> None:
    """Note what protects the reply to a key that cannot encrypt; refuse now what could not be delivered (C-257)."""
    if case.needs_password and case.password is None:
        if not csr.challenge:
            raise Reject(Reason.reply_unprotectable, "the signer's key cannot encrypt and there is no challenge")
        case.password = csr.challenge


def _answer_known(context: Context, case: Case, known: Transaction) -> Answered:
    if known.state is TransactionState.APPROVED:
        return issue_approved(context, case, known)
    return answer_again(context, known, known.wishes)


def _renew(context: Context, case: Case, csr: CertificationRequest, previous: Certificate) -> Answered:
    renewed = _answer_renewed(context, case, csr, previous)
    if renewed is not None:
        return renewed
    judge_key(context, case, previous, spki_digest(csr.spki_der))
    authorization = authorize_by_certificate(context, case.profile, csr, previous)
    case.trail.step("authorized", authorization.identity.method)
    try:
        return issue(context, case, csr, authorization)
    except Reject as refused:
        # Another lane may have renewed the certificate since it was looked at: the store lets one win.
        renewed = _answer_renewed(context, case, csr, previous)
        if refused.reason is not Reason.renewal_superseded or renewed is None:
            raise
        return renewed


def _answer_renewed(context: Context, case: Case, csr: CertificationRequest, previous: Certificate) -> Answered | None:
    """Return the answer of the renewal that a certificate has had; whoever comes with another key may hold a stolen one.

    None where it was never renewed. Raises Reject(renewal_superseded) and leaves an audit row (threats S-49).
    """
    successor = context.store.successor(previous.id)
    if successor is None:
        return None
    if successor.public_key == spki_digest(csr.spki_der) and successor.transaction is not None:
        transaction = context.store.transaction(successor.transaction)
        assert transaction is not None  # a foreign key
        return answer_again(context, transaction, csr.wishes)
    context.store.suspect_clone(previous.id, case.key, case.origin.address)
    raise Reject(Reason.renewal_superseded, f"certificate {previous.serial:x} has been renewed with another key")


Handler = Callable[[Context, Case], Outcome]

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
