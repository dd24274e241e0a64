"""What services outside hear of refusals: of those alone that were somebody's whom a method knows."""

from scepd.challenge.told import INTUNE, notifiers_of, wants_request
from scepd.enroll.case import Asking
from scepd.enroll.context import Context
from scepd.message.csr import CertificationRequest
from scepd.profile.model import Profile
from scepd.records import Notice, Posting, Refusal


def enclose(context: Context, profile: Profile, csr: CertificationRequest, notifiers: tuple[str, ...]) -> bytes | None:
    """Return the request as it was received, sealed, where one of the notifiers must be sent it."""
    if context.enclosures is None or not wants_request(notifiers):
        return None
    return context.enclosures.seal(profile.name, csr.der)


def notices_of(context: Context, asking: Asking, refusal: Refusal) -> tuple[Posting, ...]:
    """Return who is told of a refusal that has no transaction; nobody of a stranger's (threats S-33, S-41).

    What had become a transaction is told of with its row, in the write transaction that ends it.
    """
    asker = asking.asker
    if asker is None or asking.trail.has("intent"):
        return ()
    notifiers = notifiers_of(asking.profile, asker.identity.method)
    if not notifiers:
        return ()
    notice = Notice(
        profile=refusal.profile,
        transaction_id=refusal.transaction_id,
        request_id=refusal.request_id,
        outcome="rejected",
        reason=refusal.reason.value,
        subject=refusal.subject,
        identity_method=asker.identity.method,
        identity_name=asker.identity.name,
    )
    enclosure = enclose(context, asking.profile, asker.csr, notifiers)
    return tuple(Posting(kind, notice, enclosure if kind == INTUNE else None) for kind in notifiers)
