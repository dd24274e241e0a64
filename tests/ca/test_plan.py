"""Plans as JSON: read back as they were written, and nothing else is a plan."""

import json

import pytest

from scepd.ca.plan import KINDS, Plan, PlannedKey, PlannedSigner, Step, kind_of, stand_in, tell
from scepd.ca.plan_file import read_plan
from scepd.refusal import OperatorError

KEY = PlannedKey(uri="pkcs11:token=t;object=ca", kind="ec:P-256", role="sign", fresh=True)
CA = PlannedSigner(uri="pkcs11:token=root;object=root", certificate="/root.pem", kind="rsa:3072", both_roles=True)
PLAN = Plan(
    title="Two things",
    steps=(
        Step(makes="root", key=KEY, subject="CN=Root", not_after="2031-01-01T00:00:00Z", path_length=None, output="/ca.pem"),
        Step(
            makes="tls", request="-----BEGIN PUBLIC KEY-----", names=("dns:a", "ip:::1"), not_after="2030-01-01T00:00:00Z", signer=CA,
            issuer="devices", output="/tls.pem",
        ),
    ),
    then=("next = 1",),
)  # fmt: skip


def test_a_plan_is_read_back_as_it_was_written():
    text = json.dumps(PLAN.to_mapping())
    assert read_plan(text, "x") == PLAN
    assert read_plan(text, "x").digest == PLAN.digest
    assert "any number of CAs" in "\n".join(tell(PLAN))


def test_whatever_is_changed_in_it_changes_its_digest():
    raw = PLAN.to_mapping()
    raw["steps"][0]["path_length"] = 0
    changed = read_plan(json.dumps(raw), "x")
    assert changed.digest != PLAN.digest
    assert "no further CA" in "\n".join(tell(changed))


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw.pop("scepd_plan"),
        lambda raw: raw.update(scepd_plan=2),
        lambda raw: raw.pop("title"),
        lambda raw: raw.update(steps=[]),
        lambda raw: raw.update(more=1),
        lambda raw: raw["steps"][0].update(makes="export"),
        lambda raw: raw["steps"][0].pop("makes"),
        lambda raw: raw["steps"][0].update(secret="x"),
        lambda raw: raw["steps"][0]["key"].update(extractable=True),
        lambda raw: raw["steps"][0]["key"].update(uri="file:/key"),
        lambda raw: raw["steps"][0]["key"].update(uri="pkcs11:object=x?pin-value=4711"),
        lambda raw: raw["steps"][1]["signer"].pop("certificate"),
    ],
)
def test_anything_else_is_refused(change):
    raw = json.loads(json.dumps(PLAN.to_mapping()))
    change(raw)
    with pytest.raises(OperatorError) as caught:
        read_plan(json.dumps(raw), "x")
    assert "4711" not in caught.value.problem + caught.value.hint


@pytest.mark.parametrize("text", ["", "[]", "null", "{"])
def test_what_is_no_json_object_is_no_plan(text):
    with pytest.raises(OperatorError):
        read_plan(text, "x")


@pytest.mark.parametrize("kind", KINDS)
def test_stand_ins_are_of_their_kind_and_differ_by_number(kind):
    assert kind_of(stand_in(kind, 0)) == kind
    assert stand_in(kind, 0) != stand_in(kind, 1)
