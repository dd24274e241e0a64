"""Issue or wait: from what was authorized to a certificate on record, or to a request that a person decides about."""

from datetime import timedelta

import attrs

from scepd.challenge.told import notifiers_of
from scepd.enroll.approval import needs_person
from scepd.enroll.authorize import Authorization, authorize_by_approval
from scepd.enroll.case import Asking
from scepd.enroll.context import Context
from scepd.enroll.notices import enclose
from scepd.enroll.possession import require_unlisted
from scepd.enroll.recall import answer_again, finish, is_over
from scepd.message.csr import CertificationRequest, parse_csr
from scepd.ports import SerialTaken
from scepd.profile.holder import holder_name
from scepd.profile.model import ApprovalRule, Profile
from scepd.records import Answered, Intent, Pending, Petition, Transaction, TransactionState
from scepd.refusal import Reason, Reject
from scepd.x509.keys import spki_digest
from scepd.x509.names import to_text

_SERIAL_ATTEMPTS = 3

# What stands against an approved request for good. A name that is taken may be free again before the approval ends.
_FOR_GOOD = frozenset(
    {
        Reason.lint_failed,
        Reason.validity_exhausted,
        Reason.name_refused,
        Reason.subject_refused,
        Reason.key_refused,
        Reason.renewal_superseded,
        Reason.renewal_signer_expired,
        Reason.renewal_signer_revoked,
    }
)


@attrs.frozen
class Wanted:
    """What a certificate is asked with: from the request just read, or from one that is stored.

    `notify` are the services that hear of the end, `enclosure` is the request for those that want it back; of a stored
    request they are in the store already.
    """

    spki_der: bytes
    csr_der: bytes  # challengePassword removed
    csr_fingerprint: str
    csr_fingerprint_sha1: str
    wishes: bytes
    notify: tuple[str, ...] = ()
    enclosure: bytes | None = attrs.field(default=None, repr=False)

    @classmethod
    def of_request(cls, context: Context, profile: Profile, csr: CertificationRequest, method: str) -> "Wanted":
        """Return what a request asks with, of somebody whom that method knows."""
        parts = csr.spki_der, csr.without_challenge_der, csr.fingerprint, csr.fingerprint_sha1, csr.wishes
        notify = notifiers_of(profile, method)
        return cls(*parts, notify, enclose(context, profile, csr, notify))

    @classmethod
    def of_transaction(cls, transaction: Transaction) -> "Wanted":
        """Return what a stored request asked with."""
        csr = parse_csr(transaction.csr_der)
        fingerprints = transaction.csr_fingerprint, transaction.csr_fingerprint_sha1
        return cls(csr.spki_der, transaction.csr_der, *fingerprints, transaction.wishes)


def issue(context: Context, asking: Asking, csr: CertificationRequest, authorization: Authorization) -> Answered:
    """Draft, lint, record the intent, sign in the token, verify, record the certificate; or let it wait for a person.

    After the intent is durable only its stored draft is ever signed, here or by `recover`.
    """
    wanted = Wanted.of_request(context, asking.profile, csr, authorization.identity.method)
    if needs_person(asking.profile.approval, authorization, asking.origin.address):
        return _wait(context, asking, wanted, authorization)
    for _attempt in range(_SERIAL_ATTEMPTS):
        intent = _intent(context, asking, wanted, authorization)
        try:
            transaction, created = context.store.claim(intent)
        except SerialTaken:
            continue
        if not created:
            return _other(context, asking, transaction, wanted.wishes)
        return _finish(context, asking, transaction)
    raise RuntimeError("the random source repeats itself")


def answer_known(context: Context, asking: Asking, transaction: Transaction, wishes: bytes | None) -> Answered:
    """Return what a known transaction answers (`recall.answer_again`); what a person has approved is issued now."""
    if transaction.state is TransactionState.APPROVED and wishes in (None, transaction.wishes):
        return issue_approved(context, asking, transaction)
    return answer_again(context, transaction, wishes)


def issue_approved(context: Context, asking: Asking, transaction: Transaction) -> Answered:
    """Issue what a person approved; of several requesters at once one issues, and the others hear of it.

    What can never be issued is closed: the person is not asked about it again, and its challenge is free.
    """
    try:
        return _issue_approved(context, asking, transaction)
    except Reject as refused:
        if refused.reason not in _FOR_GOOD:
            raise
        closed = context.store.withdraw(transaction, refused.reason, refused.detail)
        return answer_again(context, closed, None)


def _issue_approved(context: Context, asking: Asking, transaction: Transaction) -> Answered:
    authorization = authorize_by_approval(asking.profile, transaction)
    wanted = Wanted.of_transaction(transaction)
    require_unlisted(context, wanted.spki_der)  # the list may have grown while a person decided
    for _attempt in range(_SERIAL_ATTEMPTS):
        intent = _intent(context, asking, wanted, authorization)
        try:
            stored, moved = context.store.proceed(transaction, intent)
        except SerialTaken:
            continue
        if not moved:
            return answer_again(context, stored, None)
        return _finish(context, asking, stored)
    raise RuntimeError("the random source repeats itself")


def _wait(context: Context, asking: Asking, wanted: Wanted, authorization: Authorization) -> Answered:
    """Let a request wait for a person, unless it could never be issued: its draft is linted and thrown away."""
    rule = asking.profile.approval or ApprovalRule()
    issuer = context.issuers[asking.registration.issuer]
    issuer.draft(authorization.template, wanted.spki_der, now=context.clock.now(), random=context.random)
    petition = Petition(
        key=asking.key,
        message_type=asking.message_type,
        issuer=asking.registration.issuer,
        csr_der=wanted.csr_der,
        csr_fingerprint=wanted.csr_fingerprint,
        wishes=wanted.wishes,
        subject=to_text(authorization.template.subject),
        names=tuple(f"{name.kind}:{name.value}" for name in authorization.template.names),
        public_key=spki_digest(wanted.spki_der),
        identity=authorization.identity,
        address=asking.origin.address,
        valid=rule.valid,
        most=rule.most,
        trail=asking.trail.steps,
        lineage=authorization.lineage,
        csr_fingerprint_sha1=wanted.csr_fingerprint_sha1,
        request_id=asking.origin.request_id,
        unique_subject=asking.profile.unique_subject,
        notify=wanted.notify,
        enclosure=wanted.enclosure,
    )
    transaction, created = context.store.petition(petition)
    if not created:
        return _other(context, asking, transaction, wanted.wishes)
    asking.trail.step("waiting")
    return Pending(transaction)


def _other(context: Context, asking: Asking, transaction: Transaction, wishes: bytes) -> Answered:
    """Return the answer of the transaction that was there first; what was approved is issued now.

    A client that draws a new transactionID for each attempt never polls, and so asks here for its certificate.
    """
    if is_over(context, transaction):
        raise Reject(Reason.challenge_replayed, f"the challenge was used for transaction {transaction.id}")
    return answer_known(context, asking, transaction, wishes)


def _finish(context: Context, asking: Asking, transaction: Transaction) -> Answered:
    context.owes = True
    asking.trail.step("intent")
    context.checkpoint("after_intent")
    finished = finish(context, transaction, asking.trail)
    context.owes = False
    return finished


def _holder(asking: Asking, authorization: Authorization) -> str:
    """Return whose certificates are counted, where the profile counts them."""
    if asking.profile.most_active is None:
        return ""
    return holder_name(authorization.identity, to_text(authorization.template.subject))


def _intent(context: Context, asking: Asking, wanted: Wanted, authorization: Authorization) -> Intent:
    issuer = context.issuers[asking.registration.issuer]
    template = authorization.template
    renewal = asking.profile.renewal
    now = context.clock.now()
    shard = context.shards.of(issuer.name)
    serial, draft = issuer.draft(template, wanted.spki_der, now=now, random=context.random, shard=shard)
    asking.trail.step("drafted")
    context.checkpoint("before_intent")
    return Intent(
        key=asking.key,
        message_type=asking.message_type,
        issuer=issuer.name,
        serial=serial,
        draft_der=draft.der,
        csr_der=wanted.csr_der,
        csr_fingerprint=wanted.csr_fingerprint,
        wishes=wanted.wishes,
        subject=to_text(template.subject),
        names=tuple(f"{name.kind}:{name.value}" for name in template.names),
        public_key=spki_digest(wanted.spki_der),
        not_before=draft.not_before,
        not_after=draft.not_after,
        identity=authorization.identity,
        address=asking.origin.address,
        trail=(),
        lineage=authorization.lineage,
        unique_subject=asking.profile.unique_subject,
        unique_key=asking.profile.unique_key,
        most_active=asking.profile.most_active,
        holder=_holder(asking, authorization),
        csr_fingerprint_sha1=wanted.csr_fingerprint_sha1,
        request_id=asking.origin.request_id,
        notify=wanted.notify,
        enclosure=wanted.enclosure,
        grace=timedelta() if renewal is None else renewal.grace,
        shard=shard,
    )
