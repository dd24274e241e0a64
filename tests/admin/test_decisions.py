"""Approval and revocation: what people may do, and what they are shown."""

import json
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from scepd.admin.actions import Ending, NotFound
from scepd.admin.api import handle
from scepd.records import CertificateState, Refusal, RevocationReason, TransactionState
from scepd.refusal import WIRE, OperatorError, Reason
from tests.store.building import Device, Issuer, enrol, make_intent, make_petition, open_repository
from tests.world import NOW

REQUESTS, CERTIFICATES = "/api/v1/requests", "/api/v1/certificates"


@pytest.fixture(scope="module")
def issuer():
    return Issuer.make()


@pytest.fixture
def waiting(actions, issuer):
    petition = make_petition(
        issuer, Device.make("CN=r1"), transaction_id="t1", csr_fingerprint_sha1="5f" * 20, request_id="8f14e45f"
    )
    return actions.repository.petition(petition)[0]


@pytest.fixture
def issued(actions, issuer):
    return enrol(actions.repository, issuer, Device.make("CN=r2"), transaction_id="t2")


def post(actions, path, **body):
    return handle(actions, "POST", path, body, who="user ann")


def test_C160_a_waiting_request_is_shown_with_both_fingerprints(actions, waiting, issued):
    status, (listed,) = handle(actions, "GET", f"{REQUESTS}?state=pending")
    assert status == 200
    assert (listed["id"], listed["state"], listed["serial"]) == (str(waiting.id), "PENDING", None)
    assert (listed["csr_sha256"], listed["csr_sha1"]) == (waiting.csr_fingerprint, "5f" * 20)
    assert listed["expires"] == "2026-06-08T12:00:00Z"
    for name in (str(waiting.id), "t1", "8f14e45f"):
        (shown,) = handle(actions, "GET", f"{REQUESTS}/{name}")[1]
        assert shown["id"] == listed["id"]
    (other,) = handle(actions, "GET", f"{REQUESTS}/{issued.id}")[1]
    assert (other["state"], other["csr_sha1"], other["serial"]) == ("ISSUED", None, f"{issued.serial:x}")


def test_requests_are_listed_by_state(actions, waiting, issued):
    refusal = Refusal(NOW, "routers", "t", b"k", 19, Reason.csr_invalid, "d", "s", "a", "r")
    actions.repository.refused([refusal])

    def states(query):
        return [row["state"] for row in handle(actions, "GET", f"{REQUESTS}{query}")[1]]

    assert sorted(states("")) == ["ISSUED", "PENDING", "REFUSED"]
    assert states("?state=issued") == ["ISSUED"]
    assert states("?state=refused") == ["REFUSED"]
    assert states("?state=expired") == []
    assert states("?state=pending&profile=phones") == []
    status, value = handle(actions, "GET", f"{REQUESTS}?state=waiting")
    assert status == 400
    assert "pending" in value["hint"]


def test_a_waiting_request_is_approved_by_a_person(actions, waiting):
    status, shown = post(actions, f"{REQUESTS}/{waiting.id}/approve")
    assert (status, shown["state"], shown["decided_by"]) == (200, "APPROVED", "user ann")
    assert shown["csr_sha256"] == waiting.csr_fingerprint
    (row,) = [row for row in actions.repository.audit() if row.action == "transaction_approved"]
    assert (row.actor, row.target) == ("user ann", f"transaction {waiting.id}")


def test_S33_the_detail_of_a_rejection_stays_here(actions, waiting):
    status, shown = post(actions, f"{REQUESTS}/{waiting.id}/reject", detail="stolen from van 7")
    assert (status, shown["state"], shown["detail"]) == (200, "REJECTED", "stolen from van 7")
    stored = actions.repository.transaction(waiting.id)
    assert stored.reason is Reason.rejected_by_approver
    assert "van" not in WIRE[stored.reason][1]
    assert "stolen from van 7" in actions.repository.audit(target=f"transaction {waiting.id}", limit=1)[0].details


@pytest.mark.parametrize("second", ["approve", "reject"])
def test_S129_a_second_decision_says_who_was_first(actions, waiting, second):
    post(actions, f"{REQUESTS}/{waiting.id}/reject")
    status, value = handle(actions, "POST", f"{REQUESTS}/{waiting.id}/{second}", {}, who="user bob")
    assert status == 400
    assert value["problem"] == f"request {waiting.id} does not wait: it is REJECTED (by user ann)"
    assert value["hint"] == "scepd request list --state pending"


def test_what_does_not_wait_is_said_so(actions, waiting, issued):
    assert post(actions, f"{REQUESTS}/4711/approve")[0] == 404
    assert post(actions, f"{REQUESTS}/t1/approve")[0] == 404
    status, value = post(actions, f"{REQUESTS}/{issued.id}/approve")
    assert (status, value["problem"]) == (400, f"request {issued.id} does not wait: it is ISSUED")
    with pytest.raises(NotFound):
        actions.decide("user ann", 4711, approve=False)
    late = attrs.evolve(actions, repository=actions.repository)
    actions.clock.time = NOW + timedelta(days=7)
    with pytest.raises(OperatorError, match="it is EXPIRED"):
        late.decide("user ann", waiting.id, approve=True)


def test_C296_a_certificate_is_revoked_with_all_that_is_known(actions, issued):
    status, shown = post(
        actions, f"{CERTIFICATES}/{issued.serial:X}/revoke", reason="keyCompromise", invalid_since="2026-05-01"
    )
    assert status == 200
    assert (shown["state"], shown["revoked"], shown["revocation_reason"], shown["invalid_since"]) == (
        "revoked",
        "2026-06-01T12:00:00Z",
        "keyCompromise",
        "2026-05-01T00:00:00Z",
    )
    assert handle(actions, "GET", f"{CERTIFICATES}/{issued.serial:x}")[1]["revoked"] == "2026-06-01T12:00:00Z"
    status, value = post(actions, f"{CERTIFICATES}/{issued.serial:x}/revoke")
    assert (status, "was revoked" in value["problem"]) == (400, True)
    assert post(actions, f"{CERTIFICATES}/{issued.serial:x}/release")[0] == 400
    (row,) = actions.repository.audit(target=f"certificate main {issued.serial:x}")
    assert row.actor == "user ann"


def test_C296_a_hold_is_released(actions, issued):
    path = f"{CERTIFICATES}/{issued.serial:x}"
    assert post(actions, f"{path}/revoke", reason="certificateHold", issuer="main")[1]["state"] == "revoked"
    status, shown = post(actions, f"{path}/release", issuer="main")
    assert (status, shown["state"], shown["revoked"], shown["revocation_reason"]) == (200, "issued", None, None)
    json.dumps(shown)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"reason": "removeFromCRL"}, "'removeFromCRL' is no reason"),
        ({"reason": 1}, "reason is no text"),
        ({"issuer": 1}, "issuer is no text"),
        ({"invalid_since": "yesterday"}, "invalid_since is no time"),
        ({"invalid_since": 7}, "invalid_since is no text"),
        ({"invalid_since": "0001-01-01T00:00:00+01:00"}, "invalid_since is no time"),
        ({"invalid_since": "9999-12-31T23:59:59-01:00"}, "invalid_since is no time"),
        ({"invalid_since": "2026-06-01T14:00:01+02:00"}, "a time to come"),
    ],
)
def test_an_unfit_revocation_is_refused_with_a_hint(actions, issued, body, words):
    status, value = post(actions, f"{CERTIFICATES}/{issued.serial:x}/revoke", **body)
    assert status == 400
    assert words in value["problem"]
    assert value["hint"]
    assert actions.repository.certificate("main", issued.serial).state is CertificateState.ISSUED


def test_what_is_not_there_is_neither_revoked_nor_released(actions, issued):
    assert post(actions, f"{CERTIFICATES}/1f/revoke")[0] == 404
    assert post(actions, f"{CERTIFICATES}/1f/release")[0] == 404
    assert post(actions, f"{CERTIFICATES}/{issued.serial:x}/revoke", issuer="other")[0] == 404


def test_a_serial_of_two_issuers_needs_the_issuer(actions, issuer, issued):
    twin = make_intent(issuer, Device.make("CN=r3"), serial=issued.serial, transaction_id="t3")
    actions.repository.claim(attrs.evolve(twin, issuer="other"))
    with pytest.raises(OperatorError, match="several issuers"):
        actions.revoke_certificate("user ann", issued.serial, Ending())
    ending = Ending(RevocationReason.superseded, "other", datetime(2026, 5, 1, tzinfo=UTC))
    assert actions.revoke_certificate("user ann", issued.serial, ending).issuer == "other"
    assert actions.repository.certificate("main", issued.serial).revocation is None


def test_transactions_of_a_state_are_returned(actions, waiting, issued):
    assert actions.transactions(state=TransactionState.PENDING) == [waiting]
    assert [one.id for one in actions.transactions()] == [issued.id, waiting.id]


def test_S129_a_person_takes_an_approval_back(actions, waiting):
    post(actions, f"{REQUESTS}/{waiting.id}/approve")
    status, value = handle(actions, "POST", f"{REQUESTS}/{waiting.id}/approve", {}, who="user bob")
    assert (status, value["problem"]) == (400, f"request {waiting.id} does not wait: it is APPROVED (by user ann)")
    status, shown = handle(actions, "POST", f"{REQUESTS}/{waiting.id}/reject", {}, who="user bob")
    assert (status, shown["state"], shown["decided_by"]) == (200, "REJECTED", "user bob")


def test_a_node_that_is_gone_is_succeeded(actions, issuer, tmp_path):
    gone = open_repository(tmp_path, owner="gone/1.0")
    claimed, _ = gone.claim(make_intent(issuer, Device.make("CN=r5")))
    gone.close()
    status, (shown,) = post(actions, f"{REQUESTS}/adopt", node="gone")
    assert (status, shown["id"], shown["state"]) == (200, str(claimed.id), "ISSUING")
    [row] = [row for row in actions.repository.audit() if row.action == "transaction_adopted"]
    assert (row.actor, row.target) == ("user ann", f"transaction {claimed.id}")
    assert actions.repository.transaction(claimed.id).owner == "node/adopted"
    assert post(actions, f"{REQUESTS}/adopt", node="gone")[0] == 404
    assert post(actions, f"{REQUESTS}/adopt")[0] == 404
    status, value = post(actions, f"{REQUESTS}/adopt", node="node")
    assert (status, "is this node" in value["problem"]) == (400, True)
