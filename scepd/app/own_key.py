"""How a duty certifies a key of our own: drafted, its serial put on record, and only then signed (threats S-103)."""

from collections.abc import Callable

from scepd.app.clerk import Clerk
from scepd.enroll.answer import RunsInLane
from scepd.enroll.context import Context
from scepd.x509.draft import Draft, seal
from scepd.x509.issuer import IssuerCertificate


async def certify(issuer: str, draft: Callable[[IssuerCertificate], Draft], clerk: Clerk, lanes: RunsInLane) -> bytes:
    """Return the certificate that follows from a draft, which the store has by then: it can be answered for and revoked.

    Raises what `draft` does, `SealError`, `TokenFault`, and `Unavailable` where the serial is taken: nothing is signed
    then.
    """
    draft_der = await lanes.run(lambda context: draft(context.issuers[issuer].certificate).der)
    await clerk.run(lambda repository: repository.reserve_own(issuer, draft_der))
    der = await lanes.run(lambda context: _sign(context, issuer, draft_der))
    await clerk.run(lambda repository: repository.keep_own(issuer, der))
    return der


def _sign(context: Context, issuer: str, draft_der: bytes) -> bytes:
    signer = context.issuers[issuer]
    return seal(draft_der, signer.key, signer.certificate.public_key)
