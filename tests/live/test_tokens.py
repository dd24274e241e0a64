"""One enrolment with each token that is no SoftHSM, and its return after an outage; the whole: `make live TOKEN=...`."""

import json
import signal

import pytest

from tests.live.device import Fleet
from tests.live.killing import ready_pids, wait_until
from tests.live.server import make_server
from tests.tokens import CHOSEN, KINDS

pytestmark = pytest.mark.live

OTHERS = [kind for kind in KINDS if kind not in {"softhsm2", CHOSEN.name}]


@pytest.fixture(scope="module", params=OTHERS)
def server(request, place):
    made = make_server(place / request.param, options=("--ca-key", "rsa-2048"), token=KINDS[request.param]())
    made.start()
    yield made
    assert made.stop() in {0, -signal.SIGTERM}
    made.check_store()


def test_S16_S119_every_key_has_one_role_and_cannot_leave_its_token(server):
    keys = {row["label"]: row for row in json.loads(server.scepd("hsm", "list", "--json").stdout)}
    roles = {"devices-ca": ["sign"], "devices-ra-sign": ["sign"], "devices-ra-decrypt": ["decrypt"]}
    assert {label: keys[label]["usage"] for label in roles} == roles
    for row in keys.values():
        assert {"sensitive", "always sensitive", "never extractable", "local"} <= set(row["access"])
        assert "extractable" not in row["access"]


def test_N1_S116_a_device_enrols_and_after_an_outage_of_its_token_again(server):
    fleet, pids = Fleet(server), ready_pids(server)
    fleet.enrol(fleet.device())
    wait_until(lambda: server.log_lines("crl_published"), what="a CRL that this token signed")
    device = fleet.device()
    server.hide_token()
    answered = fleet.send(device).status
    server.bring_token_back()
    # openCryptoki's soft token works on while its daemon is away; the others are away with theirs.
    assert answered == (200 if server.token.name == "opencryptoki" else 503)
    fleet.enrol(device)
    assert ready_pids(server) == pids, "healed by another process"
