"""CertPoll (GetCertInitial in the drafts; RFC 8894 section 3.3.3): the requester asks what became of its request."""

from scepd.enroll.case import Case
from scepd.enroll.context import Context
from scepd.enroll.recall import answer_again
from scepd.message.errors import MessageError
from scepd.message.tlv import SEQUENCE, read
from scepd.records import Outcome
from scepd.refusal import Reason, Reject


def poll(context: Context, case: Case, message_data: bytes) -> Outcome:
    """Answer from the transaction that the same key began under the same transactionID.

    The key is part of the look-up, so that a transactionID overheard on the wire is worth nothing. Raises
    `Reject(transaction_unknown)`, the same for an unknown transaction and for another's.
    """
    _check_issuer_and_subject(message_data)
    transaction = context.store.recall(case.key)
    if transaction is None:
        raise Reject(Reason.transaction_unknown, "no transaction of that id and key")
    case.subject = transaction.subject
    return answer_again(context, transaction, None)


def _check_issuer_and_subject(message_data: bytes) -> None:
    # IssuerAndSubject ::= SEQUENCE { issuer Name, subject Name }; the names themselves decide nothing.
    try:
        element = read(message_data)
        names = element.children if element.tag == SEQUENCE else ()
    except MessageError as error:
        raise Reject(Reason.content_malformed, "IssuerAndSubject unreadable") from error
    if [name.tag for name in names] != [SEQUENCE, SEQUENCE]:
        raise Reject(Reason.content_malformed, "no IssuerAndSubject")
