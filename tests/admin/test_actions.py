from datetime import timedelta

import attrs
import pytest

from scepd.admin.actions import NotFound
from scepd.admin.binding import MOST_USES, Binding
from scepd.challenge.digest import keyed_digest
from scepd.challenge.passwords import unseal
from scepd.observe.trail import verify
from scepd.records import ChallengeState
from scepd.refusal import OperatorError
from tests.world import NOW, STORE_KEY


def test_a_new_challenge_is_stored_as_its_keyed_digest_and_expires_as_the_profile_says(actions):
    made = actions.new_challenge("user ann", "routers", Binding(common_name="r1", names=("dns:R1.example.net",)))
    stored = actions.repository.find_challenge("routers", keyed_digest(STORE_KEY, made.challenge.reveal()))
    assert stored.id == made.id
    assert stored.common_name == "r1"
    assert stored.names == ("dns:r1.example.net",)
    assert stored.expires == NOW + timedelta(hours=2)
    assert stored.created_by == "user ann"
    assert (stored.uses, stored.uses_left, stored.state) == (1, 1, ChallengeState.FREE)


def test_S33_a_new_challenge_does_not_show_itself(actions):
    made = actions.new_challenge("user ann", "routers", Binding())
    assert made.challenge.reveal() not in repr(made)


def test_C253_S33_a_challenge_is_kept_sealed_only_where_messages_under_a_password_are_taken(actions):
    plain = actions.new_challenge("user ann", "routers", Binding())
    assert actions.repository.challenge(plain.id).sealed is None
    routers = attrs.evolve(actions.profiles["routers"], password_encryption=True)
    taking = attrs.evolve(actions, profiles={**actions.profiles, "routers": routers})
    made = taking.new_challenge("user ann", "routers", Binding())
    sealed = actions.repository.challenge(made.id).sealed
    assert made.challenge.reveal().encode() not in sealed
    assert unseal(STORE_KEY, sealed, profile="routers") == made.challenge


def test_two_challenges_differ(actions):
    texts = {actions.new_challenge("user ann", "routers", Binding()).challenge.reveal() for _ in range(20)}
    assert len(texts) == 20


def test_S124_every_change_is_in_the_audit_chain_with_its_person(actions):
    made = actions.new_challenge("user ann", "routers", Binding())
    actions.cancel_challenge("user bob", made.id)
    rows = actions.repository.audit(target=f"challenge {made.id}")
    assert [(row.action, row.actor) for row in reversed(rows)] == [
        ("challenge_added", "user ann"),
        ("challenge_cancelled", "user bob"),
    ]
    chains = list(actions.repository.audit_chains())
    assert list(verify(chains, actions.repository.audit_heads())) == []
    assert made.challenge.reveal() not in "".join(map(str, chains))


def test_a_challenge_is_cancelled_once(actions):
    made = actions.new_challenge("user ann", "routers", Binding())
    actions.cancel_challenge("user ann", made.id)
    assert actions.challenges()[0].state is ChallengeState.CANCELLED
    with pytest.raises(OperatorError, match="is cancelled"):
        actions.cancel_challenge("user ann", made.id)
    with pytest.raises(NotFound):
        actions.cancel_challenge("user ann", 99)


def test_a_profile_must_exist_and_take_one_time_challenges(actions):
    with pytest.raises(NotFound, match="'nobody'") as unknown:
        actions.new_challenge("user ann", "nobody", Binding())
    assert "phones, routers" in unknown.value.hint
    with pytest.raises(OperatorError, match="takes no one-time") as static:
        actions.new_challenge("user ann", "phones", Binding())
    assert "one-time" in static.value.hint
    assert actions.challenges() == []


@pytest.mark.parametrize(
    "binding",
    [
        Binding(common_name=""),
        Binding(common_name="a\nb"),
        Binding(common_name="x" * 65),
        Binding(names=("dns:",)),
        Binding(names=("dns:a b",)),
        Binding(names=("ip:1.2.3",)),
        Binding(names=("email:a@b",)),
        Binding(names=("r1",)),
        Binding(valid=timedelta(0)),
        Binding(valid=timedelta(days=-1)),
        Binding(valid=timedelta(days=367)),
        Binding(uses=0),
        Binding(uses=MOST_USES + 1),
    ],
)
def test_an_unfit_binding_is_refused_with_a_hint_and_nothing_is_stored(actions, binding):
    with pytest.raises(OperatorError) as caught:
        actions.new_challenge("user ann", "routers", binding)
    assert caught.value.hint
    assert actions.challenges() == []


def test_names_are_stored_once_and_in_canonical_form(actions):
    names = ("ip:2001:DB8::0:1", "dns:A.example", "dns:a.example")
    made = actions.new_challenge("user ann", "routers", Binding(names=names))
    assert actions.repository.challenge(made.id).names == ("dns:a.example", "ip:2001:db8::1")


def test_lists_can_be_narrowed_to_a_profile(actions):
    actions.new_challenge("user ann", "routers", Binding())
    assert len(actions.challenges("routers")) == 1
    assert actions.challenges("phones") == []


def test_what_is_not_there_is_not_found(actions):
    with pytest.raises(NotFound):
        actions.certificate(7)
    with pytest.raises(NotFound):
        actions.request("7")
