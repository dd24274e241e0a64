"""What GetCACaps, GetCACert, GetCACertChain and GetNextCACert answer, from the settings and the time."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet.defer import Deferred, fail, maybeDeferred

from scepd.app.endpoints import advertise, make_endpoints, served_certificates
from scepd.ca.local import LocalIssuer
from scepd.config.issuer_settings import IssuerSettings, RaSettings, SuccessionSettings
from scepd.message.certrep import read_certs_only
from scepd.message.next_ca import read_next_ca
from scepd.profile.model import Profile
from scepd.records import Attribute
from scepd.refusal import Unavailable
from scepd.x509.certificate import draft_ca_certificate
from scepd.x509.draft import seal
from scepd.x509.issuer import IssuerCertificate
from tests.app.tiny_settings import make as make_settings

KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(subject, issuer):
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)]) for text in (subject, issuer)]
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(names[0]).issuer_name(names[1]).public_key(KEY.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now)
    signed = builder.not_valid_after(now + timedelta(days=1)).sign(KEY, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)


ROOT = certificate("root", "root")
POLICY = certificate("policy", "root")
CA = certificate("ca", "policy")
SIGN = certificate("sign", "ca")
DECRYPT = certificate("decrypt", "ca")


def issuer(sign=SIGN, decrypt=DECRYPT, ca=CA, chain=(POLICY, ROOT)):
    return IssuerSettings("devices", "pkcs11:", ca, chain, RaSettings("pkcs11:", sign), RaSettings("pkcs11:", decrypt))


def test_C049_the_order_is_ra_signing_ra_decryption_ca_and_upwards():
    assert served_certificates(Profile(name="p", serve_root=True), issuer()) == [SIGN, DECRYPT, CA, POLICY, ROOT]


def test_C050_the_root_above_is_served_only_where_the_profile_says_so():
    assert served_certificates(Profile(name="p"), issuer()) == [SIGN, DECRYPT, CA, POLICY]


def test_a_root_that_issues_itself_is_served():
    assert served_certificates(Profile(name="p"), issuer(ca=ROOT, chain=())) == [SIGN, DECRYPT, ROOT]


def test_one_ra_certificate_for_both_is_served_once():
    assert served_certificates(Profile(name="p"), issuer(decrypt=SIGN)) == [SIGN, CA, POLICY]


def test_C055_while_the_decryption_key_changes_both_certificates_are_served_the_new_one_first():
    old = certificate("old decrypt", "ca")
    changing = attrs.evolve(issuer(), ra_decrypt_previous=(RaSettings("pkcs11:old", old),))
    assert served_certificates(Profile(name="p"), changing) == [SIGN, DECRYPT, old, CA, POLICY]


def test_C055_while_the_pair_changes_both_pairs_are_served_the_new_one_first():
    old, old_sign = certificate("old decrypt", "ca"), certificate("old sign", "ca")
    former = RaSettings("pkcs11:old", old, RaSettings("pkcs11:old-sign", old_sign))
    changing = attrs.evolve(issuer(), ra_decrypt_previous=(former, former))
    assert served_certificates(Profile(name="p"), changing) == [SIGN, DECRYPT, old, old_sign, CA, POLICY]


SWITCH = datetime(2027, 1, 1, tzinfo=UTC)
BEFORE, AFTER = SWITCH - timedelta(seconds=1), SWITCH


class Wound:
    """A clock that a test winds."""

    def __init__(self, time):
        self.time = time

    def now(self):
        return self.time


class Lanes:
    """Lanes that count what they are asked for; `away` as a token is, `held` as a busy one."""

    def __init__(self, *issuers):
        self.runs = 0
        self.away = self.held = False
        self.waiting = []
        self.context = SimpleNamespace(issuers={one.name: one for one in issuers})

    def run(self, function, standing=None):
        self.runs += 1
        if self.away:
            return fail(Unavailable("the token is away"))
        if self.held:
            self.waiting.append((Deferred(), function))
            return self.waiting[-1][0]
        return maybeDeferred(function, self.context)

    def release(self):
        for deferred, function in self.waiting:
            deferred.callback(function(self.context))


@pytest.fixture
def build(tmp_path):
    (tmp_path / "config.json").write_text("{}")

    def make(*issuers, lanes=None, clock=None, **changes):
        profile = Profile(name="p", path="routers", issuer="devices", default=True, **changes)
        settings = attrs.evolve(make_settings(tmp_path), issuers=issuers, profiles=(profile,))
        return make_endpoints(settings, Doors(), lanes or Lanes(), clock)["routers"]

    return make


@pytest.fixture
def endpoint(build):
    return lambda devices: build(devices).phase()


class Doors:
    """The enrolment room's doors."""

    async def answer(self, profile, body, origin):
        return "answer", profile.name, body, origin

    async def answer_raw(self, profile, body, origin):
        return "raw", profile.name, body, origin


def result_of(deferred):
    found = []
    deferred.addBoth(found.append)
    assert found, "no result yet"
    return found[0]


def test_C046_several_certificates_are_a_degenerate_signed_data(endpoint):
    made = endpoint(issuer())
    assert made.ca_content_type == "application/x-x509-ca-ra-cert"
    assert read_certs_only(made.ca_certificates) == [SIGN, DECRYPT, CA, POLICY]


def test_C045_a_single_certificate_is_itself(endpoint):
    made = endpoint(issuer(sign=ROOT, decrypt=ROOT, ca=ROOT, chain=()))
    assert (made.ca_content_type, made.ca_certificates) == ("application/x-x509-ca-cert", ROOT)


def test_C033_sha_384_is_listed_unless_the_profile_drops_it():
    assert b"SHA-384" in advertise(Profile(name="p")).split(b"\n")
    without = advertise(Profile(name="p", advertise_sha384=False)).split(b"\n")
    assert b"SHA-384" not in without
    assert {b"SHA-256", b"AES", b"POSTPKIOperation"} <= set(without)


def test_C037_C038_words_follow_the_profile_s_switches():
    assert b"Renewal" in advertise(Profile(name="p")).split(b"\n")
    assert b"Renewal" not in advertise(Profile(name="p", renewal=None)).split(b"\n")
    get_only = set(advertise(Profile(name="p", get_only=True)).split(b"\n"))
    assert not {b"POSTPKIOperation", b"SCEPStandard"} & get_only
    assert b"GetNextCACert" in advertise(Profile(name="p"), next_ca=True).split(b"\n")


def test_the_doors_are_those_of_the_profile(build):
    made = build(issuer(), insecurely_accept_raw_csr=True)
    assert result_of(made.answer(b"body", "origin")) == ("answer", "p", b"body", "origin")
    assert result_of(made.answer_raw(b"body", "origin")) == ("raw", "p", b"body", "origin")
    assert build(issuer()).answer_raw is None
    assert (build(issuer()).get_only, build(issuer(), get_only=True).get_only) == (False, True)


def test_C051_E12_where_the_ca_is_its_own_ra_it_is_served_alone(endpoint):
    alone = issuer(sign=CA, decrypt=CA, chain=(ROOT,))
    assert served_certificates(Profile(name="p"), alone) == [CA]
    assert endpoint(alone).ca_content_type == "application/x-x509-ca-cert"


def test_C045_a_root_is_never_served_beside_a_ca_without_ra_unless_asked():
    alone = issuer(sign=CA, decrypt=CA, chain=(ROOT,))
    assert served_certificates(Profile(name="p", serve_root=True), alone) == [CA, ROOT]


def test_N7_an_ra_that_only_signs_is_served_before_the_ca():
    signs = attrs.evolve(issuer(), ra_decrypt=None)
    assert served_certificates(Profile(name="p"), signs) == [SIGN, CA, POLICY]


def test_C056_the_whole_chain_is_served_by_switch_only(build):
    assert build(issuer()).phase().ca_chain is None
    chain = build(issuer(), ca_certificate_chain=True).phase().ca_chain
    assert read_certs_only(chain) == [SIGN, DECRYPT, CA, POLICY, ROOT]


# Rollover.

NEXT_CA, NEXT_SIGN = certificate("next ca", "root"), certificate("next sign", "next ca")
NEXT_DECRYPT = certificate("next decrypt", "next ca")


def pair_of_issuers():
    succession = SuccessionSettings("devices-2", SWITCH)
    old = attrs.evolve(issuer(), next=succession)
    new = IssuerSettings(
        "devices-2", "pkcs11:", NEXT_CA, (ROOT,), RaSettings("pkcs11:", NEXT_SIGN), RaSettings("pkcs11:", NEXT_DECRYPT)
    )
    return old, new


def lanes_with_keys():
    """Lanes whose one issuer has a real key and certificate."""
    key = ec.generate_private_key(ec.SECP384R1())
    now = datetime.now(UTC)
    draft = draft_ca_certificate(
        ((Attribute("2.5.4.3", "devices"),),),
        key.public_key(),
        serial=77,
        not_before=now - timedelta(hours=1),
        not_after=now + timedelta(days=900),
    )
    der = seal(draft.der, key, key.public_key())
    return der, Lanes(LocalIssuer("devices", IssuerCertificate.load(der), key))


def test_C037_C060_before_the_switch_the_old_serves_and_the_next_is_announced(build):
    der, lanes = lanes_with_keys()
    phase = build(*pair_of_issuers(), lanes=lanes, clock=Wound(BEFORE)).phase()
    assert read_certs_only(phase.ca_certificates) == [SIGN, DECRYPT, CA, POLICY]
    assert b"GetNextCACert" in phase.capabilities.split(b"\n")
    assert read_next_ca(result_of(phase.next_ca()), trusted=[der]) == [NEXT_SIGN, NEXT_DECRYPT, NEXT_CA]


def test_C037_C065_from_the_switch_on_the_new_serves_and_nothing_is_announced(build):
    made = build(*pair_of_issuers(), clock=Wound(AFTER))
    phase = made.phase()
    assert read_certs_only(phase.ca_certificates) == [NEXT_SIGN, NEXT_DECRYPT, NEXT_CA]
    assert b"GetNextCACert" not in phase.capabilities.split(b"\n")
    assert phase.next_ca is None


def test_the_switch_happens_at_its_moment_in_a_running_process(build):
    clock = Wound(BEFORE)
    made = build(*pair_of_issuers(), clock=clock)
    before = made.phase()
    clock.time = AFTER
    assert read_certs_only(made.phase().ca_certificates)[-1] == NEXT_CA
    clock.time = BEFORE
    assert made.phase() is before


def test_one_signature_is_made_ahead_and_kept(build):
    _, lanes = lanes_with_keys()
    made = build(*pair_of_issuers(), lanes=lanes, clock=Wound(BEFORE))
    assert lanes.runs == 1
    assert result_of(made.phase().next_ca()) == result_of(made.phase().next_ca())
    assert lanes.runs == 1


def test_what_is_over_is_not_signed_any_more(build):
    lanes = Lanes()
    build(*pair_of_issuers(), lanes=lanes, clock=Wound(AFTER))
    assert lanes.runs == 0


def test_while_the_token_is_away_it_is_unavailable_and_tried_again(build):
    der, lanes = lanes_with_keys()
    lanes.away = True
    phase = build(*pair_of_issuers(), lanes=lanes, clock=Wound(BEFORE)).phase()
    assert isinstance(result_of(phase.next_ca()).value, Unavailable)
    lanes.away = False
    assert read_next_ca(result_of(phase.next_ca()), trusted=[der])


def test_all_who_ask_meanwhile_share_one_signature(build):
    _, lanes = lanes_with_keys()
    lanes.held = True
    phase = build(*pair_of_issuers(), lanes=lanes, clock=Wound(BEFORE)).phase()
    asked = [phase.next_ca() for _ in range(3)]
    assert lanes.runs == 1
    lanes.release()
    assert len({result_of(one) for one in asked}) == 1


def test_a_signature_that_does_not_verify_is_never_published(build):
    _, lanes = lanes_with_keys()
    good = lanes.context.issuers["devices"]
    wrong = attrs.evolve(good, key=ec.generate_private_key(ec.SECP384R1()))
    phase = build(*pair_of_issuers(), lanes=Lanes(wrong), clock=Wound(BEFORE)).phase()
    failure = result_of(phase.next_ca())
    assert isinstance(failure.value, Unavailable)
    assert "does not verify" in failure.value.cause


def test_C037_a_chain_of_successions_is_announced_step_by_step(build):
    old, new = pair_of_issuers()
    later = SWITCH + timedelta(days=365)
    new = attrs.evolve(new, next=SuccessionSettings("devices-3", later))
    third = attrs.evolve(new, name="devices-3", next=None, certificate_der=ROOT, chain=())
    clock = Wound(BEFORE)
    made = build(old, new, third, clock=clock)
    seen = []
    for moment in (BEFORE, AFTER, later):
        clock.time = moment
        phase = made.phase()
        seen.append((read_certs_only(phase.ca_certificates)[2], phase.next_ca is not None))
    assert seen == [(CA, True), (NEXT_CA, True), (ROOT, False)]
