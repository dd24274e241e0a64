"""A bare PKCS#10 over TLS, for devices without SCEP: its own route, never a fall-through (C-108)."""

import binascii
import re
from typing import Any

import attrs

from scepd.enroll.authorize import authorize, identify
from scepd.enroll.case import Asker, Trail
from scepd.enroll.context import Context, Registration
from scepd.enroll.guessing import is_besieged, let_guess
from scepd.enroll.issue import answer_known, issue
from scepd.enroll.notices import notices_of
from scepd.enroll.possession import check_key, read_request
from scepd.enroll.recall import recall, recover
from scepd.enroll.reply import Answer
from scepd.enroll.respond import Response, certificates_of, refusal_of, registration_of
from scepd.message.certrep import certs_only
from scepd.message.csr import CertificationRequest
from scepd.message.names import CERTS_ONLY_TYPE, MessageType
from scepd.profile.model import Profile
from scepd.records import Answered, Issued, Origin, Pending, Rejected, TransactionKey
from scepd.refusal import Reason, Reject, Unavailable
from scepd.x509.keys import spki_digest, verify_csr
from scepd.x509.names import to_text

_BEGIN, _END = (re.compile(rb"-----%b (?:NEW )?CERTIFICATE REQUEST-----" % word) for word in (b"BEGIN", b"END"))
_WAIT = 60  # seconds after which a request that waits for a person may be sent again


@attrs.define
class RawCase:
    """A bare request on its way; its transaction is named after the request itself."""

    csr: CertificationRequest
    profile: Profile
    origin: Origin
    trail: Trail
    registration: Registration
    asker: Asker | None = None

    @property
    def key(self) -> TransactionKey:
        """The identity of the transaction: one for each request and key."""
        return TransactionKey(self.profile.name, f"raw {self.csr.wishes.hex()}", spki_digest(self.csr.spki_der))

    @property
    def message_type(self) -> int:
        """What it would be in SCEP."""
        return MessageType.PKCSReq.value


def respond_raw(context: Context, profile: Profile, body: bytes, origin: Origin) -> Response:
    """Return certificate and chain as certs-only CMS, 202 while a person decides, else a plain refusal.

    TLS protects the reply and names the server; the challenge is as necessary as in SCEP. Faults of the token
    propagate as in `respond`.
    """
    if context.owes:
        recover(context)
    trail = Trail(context.monotonic)
    try:
        csr = read_request(profile, _read(body))
    except (Reject, binascii.Error) as error:
        return Response(Answer(b"", "malformed", status=400, reason="malformed_message", detail=str(error)))
    case = RawCase(csr, profile, origin, trail, registration_of(context, profile))
    try:
        return _respond(context, case)
    except Unavailable as trouble:
        return Response(
            _answer(case, b"", "unavailable", status=503, detail=trouble.cause, retry_after=trouble.retry_after)
        )


def _respond(context: Context, case: RawCase) -> Response:
    try:
        outcome = _decide(context, case)
    except Reject as reject:
        outcome = Rejected(reject.reason, reject.detail)
    if isinstance(outcome, Rejected):
        refusal = refusal_of(context, case, outcome, subject=to_text(case.csr.subject))
        return Response(_refused(case, outcome), refusal, notices_of(context, case, refusal))
    return Response(_reply(context, case, outcome))


def _read(body: bytes) -> bytes:
    begin = _BEGIN.search(body)
    end = None if begin is None else _END.search(body, begin.end())
    return body if begin is None or end is None else binascii.a2b_base64(body[begin.end() : end.start()])


def _decide(context: Context, case: RawCase) -> Answered:
    csr, profile = case.csr, case.profile
    context.switches.require_on(profile)
    verify_csr(csr, profile.csr_crypto)
    csr.check()
    check_key(context, case, csr, digest=case.key.requester)
    known = recall(context, case.key, csr.wishes)
    if known is not None:
        return answer_known(context, case, known, csr.wishes)
    identity = let_guess(context, case, lambda: identify(context, case, csr, None))
    if isinstance(identity, int) or profile.compliance is not None:
        raise Reject(Reason.challenge_invalid, "a bare request cannot wait for an answer from outside")
    case.asker = Asker(identity, csr)
    case.trail.step("authorized", identity.method)
    undecided = is_besieged(context, case, None)
    return issue(context, case, csr, authorize(profile, csr, identity, None, undecided=undecided))


def _reply(context: Context, case: RawCase, outcome: Issued | Pending) -> Answer:
    if isinstance(outcome, Pending):
        return _answer(case, b"", "pending", status=202, retry_after=_WAIT)
    body = certs_only(certificates_of(context, case.profile, outcome))
    return _answer(case, body, "issued", content_type=CERTS_ONLY_TYPE, again=outcome.again)


def _refused(case: RawCase, rejected: Rejected) -> Answer:
    return _answer(case, b"", "rejected", status=403, reason=rejected.reason.value, detail=rejected.detail)


def _answer(case: RawCase, body: bytes, outcome: str, **words: Any) -> Answer:
    return Answer(
        body,
        outcome,
        transaction_id=case.key.transaction_id,
        subject=to_text(case.csr.subject),
        legacy=("insecurely_accept_raw_csr",),
        **words,
    )
