"""End entities, limits of a profile, switches and tokens: what every store must do."""

import threading
from datetime import timedelta

import attrs
import pytest

from scepd.records import EntityState, Identity, Revocation, RevocationReason, Token
from scepd.records.credentials import MOST_TRIES, TRY_EVERY
from scepd.refusal import OperatorError, Reason, Reject
from scepd.store.entities import Code, EntityExists, NewEntity
from tests.store.building import (
    BEGIN,
    Device,
    after,
    certificate_of,
    certificate_row,
    enrol,
    finish,
    make_intent,
    make_petition,
)

DIGEST = bytes(range(32))
NAME = "r1.example.net"


def add(store, name=NAME, *, expires=None, tries=None, profile="routers"):
    (number,) = store.add_entities(profile, [NewEntity(name, Code(DIGEST, expires, tries))], who="user ann")
    return number


def as_entity(number, name=NAME, **fields):
    return Identity("entity", name, entity=number, **fields)


def refused(call, *arguments):
    with pytest.raises(Reject) as caught:
        call(*arguments)
    return caught.value.reason


def actions_of(store, target):
    return [row.action for row in reversed(store.audit(target=target))]


def test_S34_an_entity_is_generated_with_its_certificate(store, issuer, device):
    number = add(store)
    assert store.find_entity("routers", NAME).state is EntityState.NEW
    intent = make_intent(issuer, device, identity=as_entity(number))
    claimed, created = store.claim(intent)
    taken = store.entity(number)
    assert created
    assert (taken.state, taken.transaction, taken.spent_by) == (EntityState.RESERVED, claimed.id, device.key_digest)
    store.record(claimed, certificate_of(issuer, device, intent), ())
    assert store.entity(number).state is EntityState.GENERATED
    assert actions_of(store, f"entity {number}") == ["entity_added"]


def test_S34_an_entity_may_enrol_again_after_its_transaction_was_given_up(store, issuer, device):
    number = add(store)
    claimed, _ = store.claim(make_intent(issuer, device, identity=as_entity(number)))
    store.abandon(claimed, Reason.lint_failed, "", ())
    free = store.entity(number)
    assert (free.state, free.transaction, free.spent_by) == (EntityState.NEW, None, None)
    # Read back from the store as after a crash, the transaction settles its entity as well.
    claimed, _ = store.claim(make_intent(issuer, Device.make(), identity=as_entity(number)))
    store.abandon(store.transaction(claimed.id), Reason.interrupted, "", ())
    assert store.entity(number).state is EntityState.NEW


def test_S35_an_entity_is_taken_once(store, issuer, device):
    number = add(store)
    enrol(store, issuer, device, identity=as_entity(number))
    other = make_intent(issuer, Device.make(), identity=as_entity(number))
    assert refused(store.claim, other) is Reason.challenge_replayed
    assert store.recall(other.key) is None  # nothing of it stays
    assert store.certificate("main", other.serial) is None


def test_S35_of_two_that_ask_at_once_one_is_the_entity(opening, issuer):
    first = opening()
    number = add(first)
    outcomes, barrier = [], threading.Barrier(4)

    def ask(owner):
        store = opening(owner=owner)
        intent = make_intent(issuer, Device.make(), identity=as_entity(number))
        barrier.wait()
        try:
            outcomes.append(store.claim(intent)[1])
        except Reject as refusal:
            outcomes.append(refusal.reason)

    threads = [threading.Thread(target=ask, args=(f"alpha/{slot}",)) for slot in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == sorted(map(str, [True] + [Reason.challenge_replayed] * 3))


def test_C207_the_same_key_gets_its_transaction_again_under_another_transaction_id(store, issuer, device):
    number = add(store)
    issued = enrol(store, issuer, device, identity=as_entity(number))
    again, created = store.claim(make_intent(issuer, device, identity=as_entity(number), transaction_id="another"))
    assert (again.id, created) == (issued.id, False)


def test_C152_a_code_that_expired_since_it_was_judged_takes_nothing(store, clock, issuer, device):
    number = add(store, expires=BEGIN + timedelta(minutes=1))
    clock.moment = BEGIN + timedelta(minutes=1)
    assert refused(store.claim, make_intent(issuer, device, identity=as_entity(number))) is Reason.challenge_expired


def test_an_entity_of_another_profile_or_one_that_is_gone_is_unknown(store, issuer, device):
    number = add(store, profile="phones")
    assert refused(store.claim, make_intent(issuer, device, identity=as_entity(number))) is Reason.challenge_invalid
    assert refused(store.claim, make_intent(issuer, device, identity=as_entity(4711))) is Reason.challenge_invalid


def test_a_waiting_request_holds_its_entity_until_it_ends(store, clock, issuer, device):
    number = add(store)
    waiting, _ = store.petition(make_petition(issuer, device, identity=as_entity(number)))
    assert store.entity(number).state is EntityState.RESERVED
    assert not store.reset_entity(number, Code(DIGEST, None, None), who="user ann")
    assert not store.remove_entity(number, who="user ann")
    store.decide(waiting.id, approve=False, who="user ann")
    assert store.entity(number).state is EntityState.NEW
    waiting, _ = store.petition(make_petition(issuer, Device.make(), identity=as_entity(number)))
    clock.moment = BEGIN + timedelta(days=8)
    assert store.expire_pending() == 1
    assert store.entity(number).state is EntityState.NEW


def test_an_approved_request_generates_its_entity(store, issuer, device):
    number = add(store)
    waiting, _ = store.petition(make_petition(issuer, device, identity=as_entity(number)))
    approved = store.decide(waiting.id, approve=True, who="user ann")
    proceeded, _ = store.proceed(approved, make_intent(issuer, device))
    finish(store, issuer, device, proceeded)
    assert store.entity(number).state is EntityState.GENERATED


def test_the_request_of_an_authority_enters_and_edits_its_entity(store, issuer, device):
    fields = {"attributes": (("O", "Example"),)}
    enrol(store, issuer, device, identity=Identity("entity", NAME, **fields))
    made = store.find_entity("routers", NAME)
    assert (made.state, made.digest, made.created_by) == (EntityState.GENERATED, None, "request")
    assert (made.attributes, made.names) == ((("O", "Example"),), ("dns:r1.example.net",))
    enrol(store, issuer, Device.make(), identity=Identity("entity", NAME), names=("dns:r2.example.net",))
    edited = store.find_entity("routers", NAME)
    assert (edited.id, edited.names, edited.attributes) == (made.id, ("dns:r2.example.net",), ())
    # A registered one keeps what people said of it besides.
    number = add(store, "r9", tries=3)
    enrol(store, issuer, Device.make(), identity=Identity("entity", "r9"))
    assert (store.entity(number).digest, store.entity(number).state) == (DIGEST, EntityState.GENERATED)


def reject_an_authoritys(store, issuer):
    waiting, _ = store.petition(make_petition(issuer, Device.make(), identity=Identity("entity", NAME)))
    store.decide(waiting.id, approve=False, who="user ann")


def code_of(entity):
    return entity.state, entity.digest, entity.tries_left, entity.expires


def test_S34_a_code_outlives_a_rejected_request_of_an_authority_only_where_it_was_good_before(store, issuer, device):
    expires = BEGIN + timedelta(days=1)
    number = add(store, expires=expires, tries=3)
    reject_an_authoritys(store, issuer)
    assert code_of(store.entity(number)) == (EntityState.NEW, DIGEST, 3, expires)
    enrol(store, issuer, device, identity=as_entity(number))
    reject_an_authoritys(store, issuer)
    assert code_of(store.entity(number)) == (EntityState.NEW, None, None, None)


def test_S34_a_code_that_a_request_is_spending_goes_with_the_authoritys_request(store, issuer, device):
    number = add(store)
    intent = make_intent(issuer, device, identity=as_entity(number))
    claimed, _ = store.claim(intent)
    reject_an_authoritys(store, issuer)
    store.record(claimed, certificate_of(issuer, device, intent), ())
    assert code_of(store.entity(number)) == (EntityState.NEW, None, None, None)


def test_many_are_entered_or_none(store):
    new = [NewEntity(f"r{number}", Code(DIGEST, None, None)) for number in range(50)]
    assert len(store.add_entities("routers", new, who="user ann")) == 50
    more = [NewEntity("r50", Code(DIGEST, None, None)), NewEntity("r7", Code(DIGEST, None, None))]
    with pytest.raises(EntityExists, match="'r7'"):
        store.add_entities("routers", more, who="user ann")
    assert store.entity_names("routers") == {f"r{number}" for number in range(50)}
    assert store.entity_names("phones") == frozenset()
    assert [row.username for row in store.entities(limit=2)] == ["r49", "r48"]
    assert store.entities(profile="phones") == []
    assert len(store.entities(profile="routers", state=EntityState.NEW)) == 50


def test_a_reset_makes_an_entity_new_and_a_removed_one_is_unknown(store, issuer, device):
    number = add(store, tries=2)
    enrol(store, issuer, device, identity=as_entity(number))
    expires = BEGIN + timedelta(days=1)
    assert store.reset_entity(number, Code(b"n" * 32, expires, 5), who="user ann")
    fresh = store.entity(number)
    assert (fresh.state, fresh.digest, fresh.tries_left, fresh.expires) == (EntityState.NEW, b"n" * 32, 5, expires)
    assert (fresh.transaction, fresh.spent_by) == (None, None)
    enrol(store, issuer, Device.make(), identity=as_entity(number))
    assert store.remove_entity(number, who="user bob")
    assert store.find_entity("routers", NAME) is None
    assert not store.remove_entity(number, who="user bob")
    assert not store.reset_entity(number, Code(DIGEST, None, None), who="user bob")
    assert actions_of(store, f"entity {number}") == ["entity_added", "entity_reset", "entity_removed"]


def test_S30_wrong_codes_slow_an_entity_whose_code_a_person_chose(store, clock):
    chosen, generated = add(store, tries=3), add(store, "r2")
    assert store.count_wrong_codes({chosen: 2, generated: 1000, 4711: 1}) == []
    assert store.entity(chosen).tries_left == 1
    assert store.count_wrong_codes({chosen: 5}) == [chosen]
    slowed = store.entity(chosen)
    assert (slowed.state, slowed.tries_left) == (EntityState.NEW, 0)
    assert store.count_wrong_codes({chosen: 5}) == []
    assert store.entity(generated).tries_at(clock.moment + timedelta(days=9)) is None
    assert actions_of(store, f"entity {chosen}") == ["entity_added", "entity_slowed"]


def test_S30_tries_come_back_to_the_second_and_up_to_a_bound(store, clock):
    number = add(store, tries=1)
    store.count_wrong_codes({number: 1})
    clock.moment += 1.5 * TRY_EVERY
    assert store.entity(number).tries_at(clock.moment) == 1
    assert store.count_wrong_codes({number: 1}) == []  # told of before
    assert store.entity(number).tries_at(clock.moment + TRY_EVERY / 2) == 1  # the half that was earned is kept
    assert store.entity(number).tries_at(clock.moment - timedelta(days=1)) == 0
    assert store.entity(number).tries_at(clock.moment + timedelta(days=9)) == MOST_TRIES
    clock.moment -= timedelta(hours=1)
    assert store.count_wrong_codes({number: 1}) == []
    assert store.entity(number).tries_left == 0


# Limits of a profile


def test_S28_a_key_has_one_line_of_certificates_where_the_profile_wants_it(store, clock, issuer, device):
    issued = enrol(store, issuer, device, unique_key=True)
    again = make_intent(issuer, device, unique_key=True, transaction_id="another")
    assert refused(store.claim, again) is Reason.key_taken
    assert store.recall(again.key) is None
    enrol(store, issuer, device, unique_key=True, transaction_id="t", profile="phones")
    enrol(store, issuer, device, transaction_id="free")
    lineage = after(certificate_row(store, issued))
    enrol(store, issuer, device, unique_key=True, transaction_id="renewal", lineage=lineage, profile="branch")
    clock.moment = BEGIN + timedelta(days=400)
    enrol(store, issuer, device, unique_key=True, transaction_id="later")


def hold(most=2, holder="webhook: ann"):
    return {"most_active": most, "holder": holder}


def test_S41_somebody_has_so_many_active_certificates_and_no_more(store, clock, issuer):
    one, _two = (enrol(store, issuer, Device.make(f"CN=d{n}"), **hold()) for n in range(2))
    third = make_intent(issuer, Device.make("CN=d3"), **hold())
    assert refused(store.claim, third) is Reason.identity_limit
    assert store.recall(third.key) is None
    enrol(store, issuer, Device.make("CN=d4"), **hold(holder="webhook: bob"))
    enrol(store, issuer, Device.make("CN=d5"), profile="phones", **hold())
    enrol(store, issuer, Device.make("CN=d6"))  # a profile that counts nobody's
    store.revoke("main", one.serial, Revocation(BEGIN, RevocationReason.superseded), who="user ann")
    enrol(store, issuer, Device.make("CN=d7"), **hold())
    assert refused(store.claim, make_intent(issuer, Device.make("CN=d8"), **hold())) is Reason.identity_limit
    clock.moment = BEGIN + timedelta(days=400)
    enrol(store, issuer, Device.make("CN=d9"), **hold())


def test_a_renewal_takes_the_place_of_what_it_renews(store, issuer, table_rows):
    first = enrol(store, issuer, Device.make("CN=d0"), **hold())
    enrol(store, issuer, Device.make("CN=d1"), **hold())
    lineage = after(certificate_row(store, first))
    enrol(store, issuer, Device.make("CN=d0"), lineage=lineage, **hold(holder="subject: CN=d0"))
    assert table_rows("SELECT holder FROM certificate WHERE predecessor IS NOT NULL") == [("webhook: ann",)]
    assert refused(store.claim, make_intent(issuer, Device.make("CN=d2"), **hold())) is Reason.identity_limit
    # Of a line that began before the profile counted, the renewal's own holder is noted.
    old = enrol(store, issuer, Device.make("CN=old"))
    mine = hold(holder="subject: CN=old")
    enrol(store, issuer, Device.make("CN=old"), lineage=after(certificate_row(store, old)), **mine)
    assert table_rows("SELECT count(*) FROM certificate WHERE holder = 'subject: CN=old'") == [(1,)]


def test_certificates_that_nobody_counts_cost_no_index_entry(store, issuer, device, table_rows):
    enrol(store, issuer, device)
    assert table_rows("SELECT holder FROM certificate") == [(None,)]


def test_limits_are_judged_without_claiming(store, issuer, device):
    enrol(store, issuer, device, **hold(1))
    store.judge_limits(make_intent(issuer, Device.make()), BEGIN)
    subject = make_intent(issuer, Device.make(), unique_subject=True)
    assert refused(store.judge_limits, subject, BEGIN) is Reason.name_taken
    key = make_intent(issuer, device, transaction_id="t", unique_key=True)
    assert refused(store.judge_limits, key, BEGIN) is Reason.key_taken
    holder = make_intent(issuer, Device.make(), **hold(1))
    assert refused(store.judge_limits, holder, BEGIN) is Reason.identity_limit


# Switches and tokens


def test_a_profile_is_switched_off_and_on_and_every_process_hears_of_it(store):
    generation = store.generation()
    assert store.switch_profile("routers", enabled=False, who="user ann")
    assert store.disabled_profiles() == {"routers"}
    assert store.generation() == generation + 1
    assert not store.switch_profile("routers", enabled=False, who="user ann")
    assert store.switch_profile("routers", enabled=True, who="user bob")
    assert not store.switch_profile("routers", enabled=True, who="user bob")
    assert store.disabled_profiles() == frozenset()
    assert actions_of(store, "profile routers") == ["profile_disabled", "profile_enabled"]


def test_S09_who_may_undo_its_own_acts_alone_undoes_no_other(store):
    assert store.switch_profile("routers", enabled=False, who="user ann", only_own=True)
    assert not store.switch_profile("routers", enabled=True, who="user bob", only_own=True)
    assert store.switch_profile("routers", enabled=False, who="user root")  # taken over
    assert not store.switch_profile("routers", enabled=False, who="user ann", only_own=True)
    assert not store.switch_profile("routers", enabled=True, who="user ann", only_own=True)
    assert store.disabled_profiles() == {"routers"}
    assert store.switch_profile("routers", enabled=True, who="user root", only_own=True)
    assert actions_of(store, "profile routers") == ["profile_disabled", "profile_disabled", "profile_enabled"]


def token(**changes):
    fields = {
        "id": 0,
        "name": "jamf",
        "digest": DIGEST,
        "profiles": ("macs",),
        "pattern": None,
        "per_minute": 2,
        "left": None,
        "expires": None,
        "created": BEGIN,
        "created_by": "user ann",
    }
    return Token(**{**fields, **changes})


def test_S37_a_token_is_kept_as_its_digest_and_found_by_it(store):
    made = store.add_token(token(pattern="m.*", left=7, expires=BEGIN + timedelta(days=1)))
    assert store.find_token(DIGEST) == made
    assert store.find_token(b"x" * 32) is None
    assert store.tokens() == [made]
    with pytest.raises(OperatorError, match="'jamf'"):
        store.add_token(token(digest=b"o" * 32))


def test_S37_a_token_has_a_rate_that_all_processes_share(opening, clock):
    one, other = opening(), opening(owner="alpha/1")
    made = one.add_token(token())
    assert one.take_token(made.id) == 0.0
    assert other.take_token(made.id) == 0.0
    assert one.take_token(made.id) == other.take_token(made.id) == 30.0
    clock.moment += timedelta(seconds=30)
    assert other.take_token(made.id) == 0.0
    assert one.take_token(made.id) == 30.0


def test_S37_a_token_ends_by_count_time_or_word(store, clock):
    counted = store.add_token(token(left=1, per_minute=60))
    assert [store.take_token(counted.id) for _ in range(2)] == [0.0, None]
    timed = store.add_token(token(name="b", digest=b"b" * 32, expires=BEGIN + timedelta(hours=1)))
    clock.moment = BEGIN + timedelta(hours=1)
    assert store.take_token(timed.id) is None
    spoken = store.add_token(token(name="c", digest=b"c" * 32))
    assert store.revoke_token("c", who="user bob")
    assert not store.revoke_token("c", who="user bob")
    assert store.take_token(spoken.id) is None
    assert store.find_token(b"c" * 32).revoked == clock.moment
    assert store.take_token(4711) is None
    assert actions_of(store, "token c") == ["token_revoked"]


def test_records_of_who_may_enrol_are_frozen(store):
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        store.add_token(token()).left = 9
