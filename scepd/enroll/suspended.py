"""A request between two lane hops: what it waits for is asked on the reactor, since that talks to the network."""

import attrs

from scepd.enroll.case import Case
from scepd.message.csr import CertificationRequest
from scepd.ports import Question
from scepd.records import Certificate, Identity
from scepd.refusal import Reject, Unavailable

COMPLIANCE = -1

# What came of asking: somebody known, nobody (None), a definite no, or no answer at all.
Verdict = Identity | Reject | Unavailable | None


@attrs.frozen(kw_only=True)
class Suspended:
    """A request whose writer is proved, and the place of the method that must be asked (COMPLIANCE: the hook).

    `identity` is set where compliance is asked; `undecided` says that it stands for the silence of the service that
    should have known, so that a person decides.
    """

    case: Case
    csr: CertificationRequest
    previous: Certificate | None
    index: int
    identity: Identity | None = None
    undecided: bool = False

    @property
    def question(self) -> Question:
        """What the method is asked."""
        return Question(
            profile=self.case.profile.name,
            transaction_id=self.case.message.transaction_id,
            message_type=self.case.message_type,
            csr=self.csr,
            address=self.case.origin.address,
            request_id=self.case.origin.request_id,
            identity=None if self.undecided else self.identity,
            renews=None if self.previous is None else self.previous.serial,
        )
