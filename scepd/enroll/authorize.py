"""Who may have what: the only maker of an `Authorization`, without which nothing is issued."""

import attrs

from scepd.challenge.order import authenticate_in_order
from scepd.enroll.context import Context
from scepd.message.csr import CertificationRequest
from scepd.profile.model import Profile
from scepd.profile.template import make_template
from scepd.records import Identity, Template

_MAKER = object()


@attrs.frozen(init=False)
class Authorization:
    """Proof that an authorizer allowed this template to this identity; `issue` takes nothing less."""

    identity: Identity
    template: Template

    def __init__(self, maker: object, identity: Identity, template: Template) -> None:
        """Refuse every maker but this module."""
        if maker is not _MAKER:
            raise TypeError("an Authorization is made by enroll.authorize alone")
        self.__attrs_init__(identity, template)


def authorize_by_challenge(context: Context, profile: Profile, csr: CertificationRequest) -> Authorization:
    """Judge a PKCSReq by the profile's challenge methods in their order, then by its template (RFC 8894 section 2.4).

    Raises `Reject` (challenge_..., subject_refused, name_refused, extension_refused).
    """
    identity = authenticate_in_order(context.challenges[profile.name], csr, context.store, context.clock.now())
    return Authorization(_MAKER, identity, make_template(profile, csr, identity))
