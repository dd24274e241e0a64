"""Who may have what: the only maker of an `Authorization`, without which nothing is issued."""

import attrs

from scepd.challenge.order import authenticate_in_order
from scepd.enroll.context import Context
from scepd.message.certificate import load_certificate
from scepd.message.csr import CertificationRequest
from scepd.profile.model import Profile
from scepd.profile.renewal import approved_template, renewal_template
from scepd.profile.template import make_template
from scepd.records import Certificate, Identity, Lineage, Template, Transaction, TransactionState

_MAKER = object()


@attrs.frozen(init=False)
class Authorization:
    """Proof that an authorizer allowed this template to this identity; `issue` takes nothing less.

    `lineage` is that of a renewal; `approved` says that a person has decided already.
    """

    identity: Identity
    template: Template
    lineage: Lineage | None
    approved: bool

    def __init__(
        self,
        maker: object,
        identity: Identity,
        template: Template,
        *,
        lineage: Lineage | None = None,
        approved: bool = False,
    ) -> None:
        """Refuse every maker but this module."""
        if maker is not _MAKER:
            raise TypeError("an Authorization is made by enroll.authorize alone")
        self.__attrs_init__(identity, template, lineage, approved)


def authorize_by_challenge(context: Context, profile: Profile, csr: CertificationRequest) -> Authorization:
    """Judge a PKCSReq by the profile's challenge methods in their order, then by its template (RFC 8894 section 2.4).

    Raises `Reject` (challenge_..., subject_refused, name_refused, extension_refused).
    """
    identity = authenticate_in_order(context.challenges[profile.name], csr, context.store, context.clock.now())
    return Authorization(_MAKER, identity, make_template(profile, csr, identity))


def authorize_by_certificate(
    context: Context, profile: Profile, csr: CertificationRequest, previous: Certificate
) -> Authorization:
    """Let a certificate that `enroll.renewal` has judged stand for its holder (RFC 8894 section 2.3).

    Where the profile wants the challenge as well, that is asked too (C-172). Raises `Reject` as the others.
    """
    assert previous.der is not None  # only an issued certificate is found by its octets
    template = renewal_template(profile, csr, load_certificate(previous.der).subject_der, previous.names)
    identity = Identity("renewal", previous.subject, names=previous.names)
    if profile.renewal is not None and profile.renewal.challenge == "required":
        identity = authenticate_in_order(context.challenges[profile.name], csr, context.store, context.clock.now())
    return Authorization(_MAKER, identity, template, lineage=_next_of_line(previous))


def _next_of_line(previous: Certificate) -> Lineage:
    before = previous.lineage
    if before is None:
        return Lineage(previous.id, 1, previous.not_before)
    return Lineage(previous.id, before.renewals + 1, before.first_issued)


def authorize_by_approval(profile: Profile, transaction: Transaction) -> Authorization:
    """Let the decision of a person stand; the names are those which that person saw."""
    if transaction.state is not TransactionState.APPROVED:
        raise ValueError(f"transaction {transaction.id} is not approved")
    template = approved_template(profile, transaction.subject, transaction.names)
    return Authorization(_MAKER, transaction.identity, template, lineage=transaction.lineage, approved=True)
