"""Who may have what: the only maker of an `Authorization`, without which nothing is issued."""

import attrs

from scepd.challenge.client_certificate import ClientCertificateChallenge, require_same_name
from scepd.challenge.entity import EntityChallenge
from scepd.challenge.order import RemotePlace, authenticate_in_order
from scepd.enroll.case import Asking
from scepd.enroll.context import Context
from scepd.message.certificate import load_certificate
from scepd.message.csr import CertificationRequest, parse_csr
from scepd.ports import ChallengeMethod
from scepd.profile.model import Profile
from scepd.profile.renewal import approved_template, renewal_template
from scepd.profile.template import make_template
from scepd.records import Certificate, Identity, Lineage, Origin, Template, Transaction, TransactionState

_MAKER = object()


@attrs.frozen(init=False)
class Authorization:
    """Proof that an authorizer allowed this template to this identity; `issue` takes nothing less.

    `lineage` is that of a renewal; `undecided` says that only a person can decide.
    """

    identity: Identity
    template: Template
    lineage: Lineage | None
    undecided: bool

    def __init__(
        self,
        maker: object,
        identity: Identity,
        template: Template,
        *,
        lineage: Lineage | None = None,
        undecided: bool = False,
    ) -> None:
        """Refuse every maker but this module."""
        if maker is not _MAKER:
            raise TypeError("an Authorization is made by enroll.authorize alone")
        self.__attrs_init__(identity, template, lineage, undecided)


def identify(
    context: Context, asking: Asking, csr: CertificationRequest, previous: Certificate | None, *, start: int = 0
) -> Identity | int:
    """Return who asks: by the profile's challenge methods in their order from `start` on, or by the certificate renewed.

    The index of a remote method where its turn comes. A renewal needs no challenge unless the profile wants one as
    well (C-172). Raises `Reject` (challenge_...).
    """
    profile, client = asking.profile, asking.origin.client
    if profile.client_certificate is not None and profile.client_certificate.subject == "same" and client is not None:
        require_same_name(csr, client)
    rule = profile.renewal
    if previous is not None and (rule is None or rule.challenge == "ignored"):
        return Identity("renewal", previous.subject, names=previous.names)
    methods = [_of_request(one, asking.origin) for one in context.challenges[profile.name]]
    return authenticate_in_order(methods, csr, context.store, context.clock.now(), start=start)


def _of_request(method: ChallengeMethod | RemotePlace, origin: Origin) -> ChallengeMethod | RemotePlace:
    """Return a method as it is for who asks: by the certificate that opened the gate, or the network asked from."""
    match method:
        case ClientCertificateChallenge():
            return method.of(origin.client)
        case EntityChallenge():
            return method.of(origin.address)
        case _:
            return method


def authorize(
    profile: Profile,
    csr: CertificationRequest,
    identity: Identity,
    previous: Certificate | None,
    *,
    undecided: bool = False,
) -> Authorization:
    """Judge what somebody known asks for by the profile (RFC 8894 sections 2.3 and 2.4).

    `previous` is the certificate being renewed, as `enroll.renewal` has judged it: its names are those of the new one.
    `undecided` leaves it to a person, since the service that should have known did not answer. Raises `Reject`
    (subject_refused, name_refused, extension_refused, renewal_names_changed).
    """
    if previous is None:
        return Authorization(_MAKER, identity, make_template(profile, csr, identity), undecided=undecided)
    assert previous.der is not None  # only an issued certificate is found by its octets
    subject_der = load_certificate(previous.der).subject_der
    foreign = previous.profile != profile.name
    template = renewal_template(profile, csr, subject_der, previous.names, foreign=foreign)
    return Authorization(_MAKER, identity, template, lineage=_next_of_line(previous), undecided=undecided)


def _next_of_line(previous: Certificate) -> Lineage:
    before = previous.lineage
    if before is None:
        return Lineage(previous.id, 1, previous.not_before)
    return Lineage(previous.id, before.renewals + 1, before.first_issued)


def authorize_by_approval(profile: Profile, transaction: Transaction) -> Authorization:
    """Let the decision of a person stand; the names are those which that person saw."""
    if transaction.state is not TransactionState.APPROVED:
        raise ValueError(f"transaction {transaction.id} is not approved")
    csr = parse_csr(transaction.csr_der)
    template = approved_template(profile, csr, transaction.subject, transaction.names)
    return Authorization(_MAKER, transaction.identity, template, lineage=transaction.lineage)
