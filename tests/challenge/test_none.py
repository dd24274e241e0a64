"""The challenge method that asks for nothing."""

from scepd.challenge.none import NoChallenge
from scepd.challenge.order import authenticate_in_order
from scepd.message.csr import parse_csr
from tests import make
from tests.world import NOW


def test_anybody_is_nobody_in_particular_whatever_the_challenge():
    for challenge in (None, "", "guess"):
        csr = parse_csr(make.csr(challenge=challenge))
        identity = authenticate_in_order((NoChallenge(),), csr, None, NOW)
        assert (identity.method, identity.name, identity.challenge_id, identity.names) == ("none", "anybody", None, ())
