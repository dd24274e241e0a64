"""Renewal: the certificate that signed is the credential, by the checklist's rules, each refusal for its own reason."""

import json
from datetime import timedelta

import attrs
import pytest
from cryptography import x509

from scepd.message import tlv
from scepd.message.certificate import load_certificate
from scepd.profile.model import NamePolicy, RenewalRule
from scepd.records import Attribute, CertificateState, Lineage, Revocation, RevocationReason
from scepd.refusal import Reject
from tests import make
from tests.enroll.conftest import Device
from tests.world import STATIC, default_profile, make_keys, make_world

HALF = timedelta(days=183)  # of a year, and a little more
NEW, OTHER = make.party("new key"), make.party("other key")


def world_of(keys, tmp_path, rule=None, **changes):
    profile = default_profile(renewal=RenewalRule() if rule is None else rule, **changes)
    return make_world(keys, tmp_path, profiles=[profile])


class Holder(Device):
    """A device that has a certificate and renews it."""

    def __init__(self, world, **fields):
        super().__init__(world)
        self.held = self.party(make.device(), self.enrol(transaction_id="first", **fields))

    @staticmethod
    def party(who, certificate_der):
        return make.Party(who.key, certificate_der)

    def renewal(self, new=NEW, message_type=17, transaction_id="renewal", signer=None, **fields):
        fields.setdefault("signing_time", self.world.clock.time)
        return self.request(
            challenge=fields.pop("challenge", None),
            private_key=new.key,
            signer=signer or self.held,
            message_type=message_type,
            transaction_id=transaction_id,
            **fields,
        )

    def renew(self, new=NEW, **fields):
        signer = fields.get("signer") or self.held
        leaf = self.certificates(self.send(self.renewal(new, **fields)), signer)[0]
        return self.party(new, leaf)

    def row(self, party):
        return self.world.store.certificate("devices", load_certificate(party.certificate_der).serial)


@pytest.fixture
def world(keys, tmp_path):
    return world_of(keys, tmp_path)


@pytest.fixture
def holder(world):
    holder = Holder(world)
    world.clock.time += HALF
    return holder


def audit(world):
    return [row.action for row in world.store.audit(limit=1000)]


def raced(holder):
    """Send a renewal that another overtakes, and return (reason, failInfo) of its refusal."""
    response = holder.send(holder.renewal())
    return response.answer.reason, holder.read(response).fail_info.name


@pytest.mark.parametrize("message_type", [17, 19])
def test_C170_C172_C184_C161_the_held_certificate_renews_itself_with_a_new_key(holder, world, message_type):
    renewed = holder.renew(message_type=message_type)
    certificate = x509.load_der_x509_certificate(renewed.certificate_der)
    assert certificate.public_key() == NEW.key.public_key()
    assert certificate.subject == x509.load_der_x509_certificate(holder.held.certificate_der).subject
    row, old = holder.row(renewed), holder.row(holder.held)
    assert row.lineage == Lineage(old.id, 1, old.not_before)
    assert old.state is CertificateState.ISSUED


def test_C170_a_line_goes_on_from_certificate_to_certificate(holder, world):
    renewed = holder.renew()
    world.clock.time += HALF
    again = holder.renew(OTHER, signer=renewed, transaction_id="second")
    assert holder.row(again).lineage == Lineage(holder.row(renewed).id, 2, holder.row(holder.held).not_before)


def test_C171_S48_the_same_key_renews_by_default(holder):
    renewed = holder.renew(make.device())
    assert renewed.certificate_der != holder.held.certificate_der


def test_C171_S48_a_profile_may_want_a_new_key(keys, tmp_path):
    holder = Holder(world_of(keys, tmp_path, RenewalRule(same_key=False, earliest=0)))
    assert holder.refusal(holder.renewal(make.device())) == (
        "renewal_key_unchanged",
        "badRequest",
        "renewal needs a new key",
    )
    assert holder.renew()


def test_S48_the_key_of_another_live_certificate_renews_nothing(holder, world):
    holder.enrol(signer=NEW, transaction_id="another device")
    assert holder.refusal(holder.renewal())[0] == "renewal_key_taken"


def test_a_client_that_keeps_key_and_transaction_renews_once_its_time_has_come(keys, tmp_path):
    # micromdm: the transactionID is a hash of the key, and the key stays.
    holder = Holder(world_of(keys, tmp_path, RenewalRule(earliest=0.25)))
    holder.world.clock.time += timedelta(days=100)
    renewed = holder.renew(make.device(), transaction_id="first")
    assert renewed.certificate_der != holder.held.certificate_der
    assert holder.renew(make.device(), transaction_id="first").certificate_der == renewed.certificate_der


def test_C181_too_early_is_a_refusal_and_no_silent_reissue(world):
    holder = Holder(world)
    row = holder.row(holder.held)
    middle = row.not_before + (row.not_after - row.not_before) / 2
    world.clock.time = middle - timedelta(seconds=1)
    assert holder.refusal(holder.renewal()) == ("renewal_too_early", "badRequest", "renewal too early")
    world.clock.time = middle
    assert holder.renew()


@pytest.mark.parametrize("message_type", [17, 19])
def test_C176_S45_a_certificate_that_has_ended_renews_nothing(holder, world, message_type):
    row = holder.row(holder.held)
    world.clock.time = row.not_after + timedelta(seconds=1)
    assert holder.refusal(holder.renewal(message_type=message_type))[0] == "renewal_signer_expired"
    world.clock.time = row.not_after
    assert holder.renew(message_type=message_type)


def test_C176_S45_a_certificate_that_has_not_begun_renews_nothing(keys, tmp_path):
    holder = Holder(world_of(keys, tmp_path, RenewalRule(earliest=0)))
    holder.world.clock.time = holder.row(holder.held).not_before - timedelta(seconds=1)
    assert holder.refusal(holder.renewal())[0] == "renewal_signer_expired"


def test_C176_a_profile_may_grant_a_time_of_grace(keys, tmp_path):
    holder = Holder(world_of(keys, tmp_path, RenewalRule(grace=timedelta(days=3))))
    holder.world.clock.time = holder.row(holder.held).not_after + timedelta(days=3, seconds=1)
    assert holder.refusal(holder.renewal())[0] == "renewal_signer_expired"
    holder.world.clock.time -= timedelta(seconds=1)
    assert holder.renew()


@pytest.mark.parametrize("reason", [RevocationReason.keyCompromise, RevocationReason.certificateHold])
def test_C177_S44_a_revoked_or_held_certificate_renews_nothing(holder, world, reason):
    revocation = Revocation(world.clock.time, reason)
    world.store.revoke("devices", holder.row(holder.held).serial, revocation, who="test")
    assert holder.refusal(holder.renewal())[0] == "renewal_signer_revoked"


@pytest.mark.parametrize("message_type", [17, 19])
def test_C178_S42_other_octets_under_an_issued_serial_are_refused(holder, keys, message_type):
    genuine = x509.load_der_x509_certificate(holder.held.certificate_der)
    forged = make.certificate(
        holder.held.key, issuer_name=make.name(CN="Test CA"), serial_der=tlv.integer(genuine.serial_number)
    )
    clone = make.Party(holder.held.key, forged)
    assert holder.refusal(holder.renewal(signer=clone, message_type=message_type)) == (
        "renewal_signer_altered",
        "badMessageCheck",
        "signer certificate is not the one issued",
    )


def test_S42_another_ca_with_our_name_renews_nothing(holder):
    forged = make.certificate(NEW.key, issuer_name=make.name(CN="Test CA"))
    assert holder.refusal(holder.renewal(signer=make.Party(NEW.key, forged)))[0] == "renewal_signer_unknown"


def test_C186_S50_a_self_signed_signer_renews_nothing_even_with_a_good_challenge(holder):
    body = holder.renewal(signer=NEW, challenge=STATIC)
    assert holder.refusal(body) == ("renewal_signer_unknown", "badRequest", "signer certificate not known")


def test_C179_S47_the_certificates_of_the_service_renew_nothing(holder, keys):
    signer = make.Party(keys.sign, keys.sign_der)
    body = holder.renewal(signer=signer, subject=make.name(CN="Test RA sign"))
    assert holder.refusal(body)[0] == "renewal_signer_unknown"


def test_C182_a_profile_without_renewal_refuses_it(keys, tmp_path):
    world = make_world(keys, tmp_path, profiles=[default_profile(renewal=None)])
    holder = Holder(world)
    world.clock.time += HALF
    assert holder.refusal(holder.renewal()) == ("renewal_disabled", "badRequest", "renewal not enabled")
    # A PKCSReq is then an ordinary one, whoever issued the signer's certificate.
    body = holder.renewal(message_type=19)
    assert holder.refusal(body)[0] == "signer_mismatch"


def test_C184_S50_without_the_switch_a_pkcsreq_needs_its_challenge(keys, tmp_path):
    holder = Holder(world_of(keys, tmp_path, RenewalRule(by_pkcsreq=False, earliest=0)))
    same_key = make.device()
    refused = holder.renewal(same_key, message_type=19, transaction_id="again")
    assert holder.refusal(refused)[0] == "challenge_missing"
    allowed = holder.renewal(same_key, message_type=19, transaction_id="again", challenge=STATIC)
    assert holder.certificates(holder.send(allowed), holder.held)
    assert holder.renew(message_type=17)


@pytest.mark.parametrize(
    ("subject", "extensions"),
    [
        (make.name(CN="admin"), ()),
        (make.name(CN="device", O="Example"), ()),
        (make.name(CN="device"), (make.dns_names("device"),)),
    ],
    ids=["subject", "more of it", "a name"],
)
def test_C180_S46_other_names_are_refused_as_uniformly_as_garbage(holder, subject, extensions):
    body = holder.renewal(subject=subject, extensions=extensions)
    assert holder.refusal(body) == ("renewal_names_changed", "badRequest", "request refused")


def test_C180_S46_the_names_are_those_of_the_old_certificate_whatever_is_left_out(keys, tmp_path):
    world = world_of(keys, tmp_path, names=NamePolicy(dns=("*.example.net",)))
    holder = Holder(world, extensions=(make.dns_names("a.example.net", "b.example.net"),))
    world.clock.time += HALF
    held = holder.held
    for new, wished in ((NEW, ()), (OTHER, (make.dns_names("b.example.net"),))):
        held = holder.renew(new, extensions=wished, transaction_id=str(len(wished)), signer=held)
        certificate = x509.load_der_x509_certificate(held.certificate_der)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["a.example.net", "b.example.net"]
        world.clock.time += HALF


def test_C180_a_device_repeats_what_it_first_asked_for(keys, tmp_path):
    # What the profile sets is in the certificate, not in the request of a device that never heard of it.
    subject = attrs.evolve(default_profile().subject, fixed=(Attribute("2.5.4.10", "Example"),))
    holder = Holder(world_of(keys, tmp_path, RenewalRule(earliest=0), subject=subject))
    renewed = x509.load_der_x509_certificate(holder.renew().certificate_der)
    assert renewed.subject.rfc4514_string() == "CN=device,O=Example"


def test_C180_a_subject_that_the_profile_would_refuse_is_no_other_subject(holder):
    body = holder.renewal(subject=(*make.name(CN="device"), (Attribute("0.9.2342.19200300.100.1.25", "example"),)))
    assert holder.refusal(body)[0] == "renewal_names_changed"


def test_C183_the_new_key_signs_the_request(holder):
    honest = make.csr(challenge=None, private_key=NEW.key)
    body = holder.renewal(csr_der=honest[:-4] + bytes(4))
    assert holder.refusal(body) == ("csr_signature_invalid", "badRequest", "request refused")


def test_S52_todays_profile_decides_about_usages(keys, tmp_path):
    world = world_of(keys, tmp_path, extended_key_usage=("clientAuth", "serverAuth"))
    holder = Holder(world)
    world.clock.time += HALF
    world.profiles["default"] = attrs.evolve(world.profiles["default"], extended_key_usage=("clientAuth",))
    certificate = x509.load_der_x509_certificate(holder.renew().certificate_der)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.ExtendedKeyUsageOID.CLIENT_AUTH]


def test_C172_a_challenge_beside_the_certificate_is_ignored_by_default(holder):
    assert holder.renew(challenge="whatever")


def test_C172_a_profile_may_want_the_challenge_as_well(keys, tmp_path):
    holder = Holder(world_of(keys, tmp_path, RenewalRule(earliest=0, challenge="required")))
    assert holder.refusal(holder.renewal())[0] == "challenge_missing"
    assert holder.refusal(holder.renewal(challenge="wrong"))[0] == "challenge_invalid"
    renewed = holder.renew(challenge=STATIC)
    assert holder.row(renewed).lineage.renewals == 1


@pytest.mark.parametrize("allowed", [False, True])
def test_C175_S43_the_certificate_of_another_profile_renews_only_where_it_is_listed(keys, tmp_path, allowed):
    rule = RenewalRule(earliest=0, profiles=("default",) if allowed else ())
    profiles = [default_profile(), default_profile(name="second", default=False, renewal=rule)]
    world = make_world(keys, tmp_path, profiles=profiles)
    holder = Holder(world)
    response = world.respond(holder.renewal(), profile="second")
    assert response.answer.reason == ("" if allowed else "renewal_other_profile")


@pytest.mark.parametrize("allowed", [False, True])
def test_C173_C174_the_certificate_of_another_issuer_renews_only_where_it_is_listed(keys, tmp_path, allowed):
    other = make_keys()
    rule = RenewalRule(earliest=0, issuers=("devices",) if allowed else (), profiles=("default",))
    profiles = [default_profile(), default_profile(name="second", default=False, renewal=rule, issuer="elsewhere")]
    world = make_world(keys, tmp_path, profiles=profiles, others={"elsewhere": other})
    holder = Holder(world)
    holder.ra = make.Party(other.decrypt, other.decrypt_der)
    response = world.respond(holder.renewal(), profile="second")
    assert response.answer.reason == ("" if allowed else "renewal_signer_unknown")


@pytest.mark.parametrize(
    "rule",
    [RenewalRule(earliest=0, most=1), RenewalRule(earliest=0, longest=timedelta(days=30))],
    ids=["most", "longest"],
)
def test_C187_S49_a_line_ends(keys, tmp_path, rule):
    holder = Holder(world_of(keys, tmp_path, rule))
    renewed = holder.renew()
    holder.world.clock.time += timedelta(days=31)
    body = holder.renewal(OTHER, signer=renewed, transaction_id="second")
    assert holder.refusal(body) == ("renewal_exhausted", "badRequest", "renewed as often as allowed")


def test_C205_the_same_renewal_asked_again_gets_the_same_certificate(holder, world):
    first = holder.renew()
    assert holder.renew().certificate_der == first.certificate_der
    # A client that lost the reply and begins anew, with the key that it made.
    assert holder.renew(transaction_id="anew").certificate_der == first.certificate_der
    assert len(world.issued()) == 2


def test_S49_a_second_key_is_refused_and_raises_the_alarm(holder, world):
    holder.renew()
    assert holder.refusal(holder.renewal(OTHER, transaction_id="thief")) == (
        "renewal_superseded",
        "badRequest",
        "certificate already renewed",
    )
    assert audit(world).count("clone_suspected") == 1


def test_S49_of_two_renewals_at_once_one_wins(keys, tmp_path, holder, world):
    rival = make_world(keys, tmp_path, profiles=list(world.profiles.values()), owner="node/1.0", clock=world.clock)
    thief = Device(rival)
    body = holder.renewal(OTHER, transaction_id="thief")

    def overtaken(name):
        if name == "before_intent" and world.context.checkpoint is overtaken:
            world.context.checkpoint = lambda _name: None
            assert thief.certificates(rival.respond(body), holder.held)

    world.context.checkpoint = overtaken
    assert raced(holder)[0] == "renewal_superseded"
    assert len(world.issued()) == 2
    rival.store.close()


def test_of_two_equal_renewals_at_once_both_get_the_same_certificate(keys, tmp_path, holder, world):
    rival = make_world(keys, tmp_path, profiles=list(world.profiles.values()), owner="node/1.0", clock=world.clock)
    other = Device(rival)
    leaves = []

    def overtaken(name):
        if name == "before_intent" and not leaves:
            leaves.append(other.certificates(rival.respond(holder.renewal(transaction_id="twin")), holder.held)[0])

    world.context.checkpoint = overtaken
    assert holder.renew().certificate_der == leaves[0]
    rival.store.close()


def test_S51_a_revocation_while_the_renewal_is_on_its_way_is_seen_by_the_next(holder, world):
    renewed = holder.renew()
    revocation = Revocation(world.clock.time, RevocationReason.superseded)
    world.store.revoke("devices", holder.row(renewed).serial, revocation, who="test")
    assert holder.refusal(holder.renewal())[0] in {"certificate_revoked", "renewal_superseded"}


def test_the_trail_and_the_identity_name_the_renewal(holder, world):
    holder.renew()
    transaction = world.store.transactions()[0]
    assert transaction.identity.method == "renewal"
    assert "renewing" in [step.name for step in transaction.trail]
    assert json.loads(world.store.audit(limit=1)[0].details)["serial"] == f"{transaction.serial:x}"


def test_C119_C122_the_reply_is_encrypted_to_the_old_certificate(holder):
    response = holder.send(holder.renewal())
    with pytest.raises(Reject):
        holder.certificates(response, NEW)
    assert holder.certificates(response, holder.held)


def test_a_name_that_todays_profile_reserves_is_not_renewed(keys, tmp_path):
    world = world_of(keys, tmp_path)
    holder = Holder(world, extensions=(make.dns_names("device"),))
    world.clock.time += HALF
    names = NamePolicy(reserved=frozenset({"device"}))
    world.profiles["default"] = attrs.evolve(world.profiles["default"], names=names)
    assert holder.refusal(holder.renewal())[0] == "name_refused"


def test_S49_a_thief_under_the_owners_own_transaction_raises_the_alarm_too(holder, world):
    holder.renew(OTHER)
    assert holder.refusal(holder.renewal(NEW))[0] == "renewal_superseded"
    assert audit(world).count("clone_suspected") == 1


def test_S43_another_profiles_names_must_be_allowed_here(keys, tmp_path):
    rule = RenewalRule(earliest=0, profiles=("default",))
    strict = default_profile(name="second", default=False, renewal=rule, names=NamePolicy(dns=("*.prod.example",)))
    fixed = attrs.evolve(strict.subject, fixed=(Attribute("2.5.4.10", "Example"),))
    other = attrs.evolve(strict, name="third", names=NamePolicy(), subject=fixed, renewal=rule)
    world = make_world(keys, tmp_path, profiles=[default_profile(), strict, other])
    holder = Holder(world, extensions=(make.dns_names("device"),))
    assert world.respond(holder.renewal(), profile="second").answer.reason == "name_refused"
    assert world.respond(holder.renewal(), profile="third").answer.reason == "subject_refused"


def test_a_certificate_whose_issuer_left_the_configuration_is_delivered_alone(holder, world):
    renewed = holder.renew()
    issuers = world.context.issuers
    world.context.issuers = {"elsewhere": issuers["devices"]}
    body = holder.poll(signer=holder.held, transaction_id="renewal", signing_time=world.clock.time)
    assert holder.certificates(holder.send(body), holder.held) == [renewed.certificate_der]
