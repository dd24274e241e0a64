"""The same transaction asked twice gets the same answer; what a crash left unfinished is finished from its draft."""

from datetime import timedelta
from typing import assert_never

from scepd.enroll.case import Trail
from scepd.enroll.context import Context
from scepd.records import Answered, CertificateState, Issued, Pending, Rejected, Transaction, TransactionKey
from scepd.records import TransactionState as State
from scepd.refusal import Reason, Reject, Unavailable
from scepd.x509.draft import SealError


def recall(context: Context, key: TransactionKey, wishes: bytes, *, besides: bytes | None = None) -> Transaction | None:
    """Return a known transaction, which answers without asking for authentication again; None for a new one.

    An issued transaction answers until its certificate is revoked or past half of its life, an expired one no more;
    then the identity is free for a new request, which is judged on its own merits. So it is where the certificate is
    `besides` (DER): the one that is being renewed, by a client that keeps its key and its transactionID (micromdm).
    Raises Reject(transaction_conflict) for another request under the name of a known one.
    """
    transaction = context.store.recall(key)
    if transaction is None:
        return None
    renewing = besides is not None and transaction.certificate_der == besides
    if renewing or transaction.state is State.EXPIRED or is_over(context, transaction):
        context.store.retire(transaction)
        return None
    _refuse_another(transaction, wishes)
    return transaction


def _refuse_another(transaction: Transaction, wishes: bytes) -> None:
    if transaction.wishes != wishes:
        raise Reject(Reason.transaction_conflict, f"transaction {transaction.id} was for another request")


def answer_again(context: Context, transaction: Transaction, wishes: bytes | None) -> Answered:
    """Return what a stored transaction answers; `wishes` None (a poll) asks for whatever it was.

    Raises `Reject` for a refused transaction or another request under its name, `Unavailable` while it is being signed.
    """
    if wishes is not None:
        _refuse_another(transaction, wishes)
    match transaction.state:
        case State.ISSUED:
            return _redeliver(transaction)
        case State.ISSUING:
            context.owes = context.owes or transaction.owner == context.owner
            raise Unavailable("the transaction is being signed", retry_after=1)
        case State.PENDING | State.APPROVED:
            if transaction.expires is not None and transaction.expires <= context.clock.now():
                return Rejected(Reason.request_expired, f"waited until {transaction.expires:%Y-%m-%d %H:%M:%S}Z")
            return Pending(transaction)
        case State.EXPIRED:
            return Rejected(Reason.request_expired, transaction.detail)
        case State.REJECTED:
            return Rejected(transaction.reason or Reason.rejected_by_approver, transaction.detail)
        case unreachable:
            assert_never(unreachable)


def _redeliver(transaction: Transaction) -> Issued:
    if transaction.certificate_state is CertificateState.REVOKED:
        raise Reject(Reason.certificate_revoked, f"certificate {transaction.serial:x} is revoked")
    assert transaction.certificate_der is not None  # the store's own check constraint on ISSUED
    return Issued(transaction, transaction.certificate_der, again=True)


def is_over(context: Context, transaction: Transaction) -> bool:
    """Return whether an issued certificate is revoked or past half of its life, and so is not delivered again."""
    if transaction.state is not State.ISSUED or transaction.not_before is None or transaction.not_after is None:
        return False
    half = transaction.not_before + (transaction.not_after - transaction.not_before) / 2
    return transaction.certificate_state is CertificateState.REVOKED or context.clock.now() - half > timedelta()


def finish(context: Context, transaction: Transaction, trail: Trail) -> Issued:
    """Sign the stored draft of an ISSUING transaction in the token and record the certificate."""
    certificate_der = context.issuers[transaction.issuer].sign(transaction.draft_der)
    trail.step("signed")
    context.checkpoint("after_sign")
    recorded = context.store.record(transaction, certificate_der, (*transaction.trail, *trail.steps))
    context.checkpoint("after_record")
    if recorded.state is not State.ISSUED or recorded.certificate_der is None:
        raise Reject(recorded.reason or Reason.interrupted, f"transaction {recorded.id} was given up meanwhile")
    if recorded.certificate_state is CertificateState.REVOKED:
        raise Reject(Reason.certificate_revoked, f"certificate {recorded.serial:x} was revoked before it was signed")
    return Issued(recorded, recorded.certificate_der)


def recover(context: Context, owner: str | None = None) -> int:
    """Finish every ISSUING transaction of this lane (or of an owner that is gone); return how many there were.

    The stored draft is signed again: the same serial, so one certificate per transaction whatever was interrupted.
    A draft that cannot be sealed any more is given up: its challenge is free again, and the device may begin anew.
    """
    unfinished = context.store.unfinished(owner or context.owner)
    for transaction in unfinished:
        trail = Trail(context.monotonic)
        trail.step("recovered", f"by {context.owner}")
        try:
            context.issuers[transaction.issuer].check(transaction.draft_der)
            finish(context, transaction, trail)
        except (SealError, Reject, KeyError) as fault:
            given_up = context.store.abandon(transaction, Reason.interrupted, str(fault), transaction.trail)
            if given_up.state is State.REJECTED:  # else another lane has finished it meanwhile
                context.store.retire(given_up)
    if owner is None:
        context.owes = False
    return len(unfinished)
