"""CertPoll (GetCertInitial in the drafts; RFC 8894 section 3.3.3): the requester asks what became of its request."""

from scepd.enroll.case import Case
from scepd.enroll.context import Context
from scepd.enroll.envelope import read_envelope
from scepd.enroll.issue import answer_known
from scepd.records import Answered, Transaction, TransactionState
from scepd.refusal import Reason, Reject


def poll(context: Context, case: Case) -> Answered:
    """Answer from the transaction that the same key began under the same transactionID, in whatever letter case.

    The key is part of the look-up, so that a transactionID overheard on the wire is worth nothing. What a person has
    approved since is issued now. Raises `Reject(transaction_unknown)`, the same for an unknown transaction and for
    another's.

    The IssuerAndSubject is never decrypted: it decides nothing (RFC 8894 section 3.3.3 finds the transaction by its
    id), a poll proves no possession of the plaintext, and any answer that hung on it would be a padding oracle on
    envelopes captured from others.
    """
    read_envelope(context, case)
    transaction = context.store.recall(case.key, case_blind=True)
    if transaction is None:
        raise Reject(Reason.transaction_unknown, "no transaction of that id and key")
    case.subject = transaction.subject
    if case.needs_password and transaction.state in (TransactionState.ISSUED, TransactionState.APPROVED):
        _find_password(context, case, transaction)
    return answer_known(context, case, transaction, None)


def _find_password(context: Context, case: Case, transaction: Transaction) -> None:
    passwords = context.passwords.get(case.profile.name)
    case.password = None if passwords is None else passwords.of_identity(context.store, transaction.identity)
    if case.password is None:
        raise Reject(Reason.reply_unprotectable, "no challenge of the transaction is known any more")
