"""Signed challenges: forged, bent, expired, replayed, for another request; and the file of those who are believed."""

import base64
import hashlib
import hmac
import json
import os
import threading
from datetime import timedelta

import attrs
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from scepd.challenge.anchors import AnchorFile
from scepd.challenge.order import authenticate_in_order
from scepd.challenge.signed import SignedChallenge
from scepd.challenge.static import StaticChallenge
from scepd.challenge.strict_json import NotStrict, parse_object
from scepd.message.csr import Extension, build_csr, parse_csr
from scepd.profile.access import OneTimeRule, SignedRule
from scepd.profile.model import Profile
from scepd.records import Secret
from scepd.refusal import OperatorError, Reason, Reject
from scepd.x509.names import from_text
from tests.challenge.conftest import STORE_KEY
from tests.store.building import BEGIN, Device, Issuer, certificate_of, make_intent, make_petition, open_repository

NOW = int(BEGIN.timestamp())
AUDIENCE = "https://scep.example.net/scep/routers"
MISSING = object()


@pytest.fixture(scope="session")
def signer():
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="session")
def rsa_signer():
    return rsa.generate_private_key(65537, 2048)


def public_pem(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def certificate_pem(key, *, ca=None, usage=None, begin=BEGIN - timedelta(days=1), end=BEGIN + timedelta(days=30)):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "MDM")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
    builder = builder.not_valid_before(begin).not_valid_after(end).public_key(key.public_key())
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    if usage is not None:
        bits = dict.fromkeys(("content_commitment", "data_encipherment", "key_agreement", "key_cert_sign"), False)
        bits |= {"crl_sign": False, "encipher_only": False, "decipher_only": False}
        builder = builder.add_extension(
            x509.KeyUsage(digital_signature=usage, key_encipherment=not usage, **bits), critical=True
        )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


class Mdm:
    """Whoever signs challenges, and the method that believes it."""

    def __init__(self, directory, key, **changes):
        self.key, self.told = key, []
        self.path = directory / "anchors.pem"
        self.path.write_bytes(public_pem(key))
        rule = SignedRule(trust=self.path, audience=AUDIENCE)
        self.method = self.method_of(attrs.evolve(rule, **changes))

    def method_of(self, rule):
        return SignedChallenge(rule, AnchorFile(rule.trust, BEGIN, self.told.append))

    @staticmethod
    def claims(**changes):
        names = changes.pop("names", ["dns:r1.example.net"])
        claims = {
            "iss": "mdm.example.net",
            "sub": "device 17",
            "aud": AUDIENCE,
            "iat": NOW,
            "nbf": NOW,
            "exp": NOW + 600,
            "jti": os.urandom(16).hex(),
            "csr": {"subject": "O=Example,CN=r1.example.net", "names": names},
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not MISSING}

    def token(self, claims, *, key=None, algorithm=None, header=None):
        key = key or self.key
        algorithm = algorithm or ("RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256")
        return jwt.encode(claims, key, algorithm=algorithm, headers=header)


@pytest.fixture
def mdm(tmp_path, signer):
    return Mdm(tmp_path, signer)


@pytest.fixture
def request_with(csr):
    return lambda token, **changes: csr(token, **{"dns": ("r1.example.net",), **changes})


def refused(mdm, store, request, now=BEGIN):
    with pytest.raises(Reject) as caught:
        mdm.method.authenticate(request, store, now)
    assert request.challenge.reveal() not in caught.value.detail
    return caught.value.reason


def test_C9_a_token_for_this_request_names_the_device(mdm, store, request_with):
    request = request_with(mdm.token(mdm.claims()))
    identity = mdm.method.authenticate(request, store, BEGIN)
    assert (identity.method, identity.name) == ("signed", "device 17")
    assert identity.names == ("dns:r1.example.net",)
    assert identity.attributes == (("CN", "r1.example.net"), ("O", "Example"))
    assert (identity.ticket.device, identity.ticket.most) == ("device 17", 3)


def test_C9_rsa_signs_as_well(tmp_path, store, request_with, rsa_signer):
    mdm = Mdm(tmp_path, rsa_signer)
    assert mdm.method.authenticate(request_with(mdm.token(mdm.claims())), store, BEGIN) is not None


def test_C147_challenges_are_long_only_where_the_profile_takes_tokens(mdm, device_key):
    token = mdm.token(mdm.claims())
    der = build_csr(subject=from_text("CN=r1"), private_key=device_key, challenge=token, challenge_tag=12)
    rule = SignedRule(trust=mdm.path, audience=AUDIENCE)
    short = parse_csr(der, longest_challenge=Profile(name="routers", challenge=(OneTimeRule(),)).longest_challenge)
    assert short.challenge is None
    assert short.faults == ("challengePassword of more than 255 characters",)
    taken = parse_csr(der, longest_challenge=Profile(name="routers", challenge=(rule,)).longest_challenge)
    assert (taken.challenge.reveal(), taken.faults) == (token, ())


def test_S92_a_token_for_a_key_vouches_for_no_name(mdm, store, request_with):
    request = request_with("x")
    claims = mdm.claims(csr={"spki": hashlib.sha256(request.spki_der).hexdigest()})
    identity = mdm.method.authenticate(request_with(mdm.token(claims)), store, BEGIN)
    assert (identity.names, identity.attributes) == ((), ())
    other = request_with(mdm.token(claims), key=ec.generate_private_key(ec.SECP256R1()))
    assert refused(mdm, store, other) is Reason.challenge_not_for_request


def part(value):
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def test_S86_the_header_never_chooses_the_algorithm(mdm, store, request_with, rsa_signer):
    claims = mdm.claims()
    pem = public_pem(mdm.key)
    for word in ("none", "None", "NONE", "", "es256", "ES384", "PS256", "RS256", "HS256", None, 7, ["ES256"]):
        unsigned = f"{part({'alg': word})}.{part(claims)}"
        mac = base64.urlsafe_b64encode(hmac.digest(pem, unsigned.encode(), "sha256")).rstrip(b"=").decode()
        assert refused(mdm, store, request_with(f"{unsigned}.{mac}")) is Reason.challenge_signature_invalid
    no_alg = f"{part({'typ': 'JWT'})}.{part(claims)}.AAAA"
    assert refused(mdm, store, request_with(no_alg)) is Reason.challenge_signature_invalid
    for key, algorithm in ((rsa_signer, "RS256"), (rsa_signer, "PS256"), (ec.generate_private_key(ec.SECP256R1()), None)):
        forged = mdm.token(claims, key=key, algorithm=algorithm)
        assert refused(mdm, store, request_with(forged)) is Reason.challenge_signature_invalid


def test_S86_an_rsa_key_takes_no_pss(tmp_path, store, request_with, rsa_signer):
    mdm = Mdm(tmp_path, rsa_signer)
    token = mdm.token(mdm.claims(), algorithm="PS256")
    assert refused(mdm, store, request_with(token)) is Reason.challenge_signature_invalid


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": {"kty": "EC"}},
        {"jku": "https://localhost:1/keys"},
        {"x5u": "https://localhost:1/keys"},
        {"x5c": ["MIIB"]},
        {"crit": ["exp"]},
        {"crit": []},
        {"b64": True},
        {"zip": "DEF"},
        {"cty": "JWT"},
    ],
)
def test_S87_S88_a_header_that_wants_more_is_refused_although_signed(mdm, store, request_with, header):
    token = f"{part({'alg': 'ES256', **header})}.{part(mdm.claims())}"
    r_s = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256).sign(token.encode(), mdm.key)
    signed = f"{token}.{base64.urlsafe_b64encode(r_s).rstrip(b'=').decode()}"
    assert refused(mdm, store, request_with(signed)) is Reason.challenge_malformed


@pytest.mark.parametrize("kid", ["../../dev/null", "' OR 1=1 --", "x" * 1000])
def test_S87_kid_is_never_used(mdm, store, request_with, kid):
    token = mdm.token(mdm.claims(), header={"kid": kid})
    assert mdm.method.authenticate(request_with(token), store, BEGIN) is not None


def sign_raw(mdm, header, body):
    token = f"{part(header)}.{part(body)}"
    r_s = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256).sign(token.encode(), mdm.key)
    return f"{token}.{base64.urlsafe_b64encode(r_s).rstrip(b'=').decode()}"


def test_S88_duplicate_members_are_refused_although_signed(mdm, store, request_with):
    claims = json.dumps(mdm.claims())
    twice = (claims[:-1] + ', "sub": "device 18"}').encode()
    nested = claims.replace('"csr": {', '"csr": {"names": [], ').encode()
    header = b'{"alg": "ES256"}'
    assert mdm.method.authenticate(request_with(sign_raw(mdm, header, claims.encode())), store, BEGIN) is not None
    for body in (twice, nested, b"[]", b"7", b"\xff{}", b"{" * 10, b""):
        token = sign_raw(mdm, header, body)
        if body:
            assert refused(mdm, store, request_with(token)) is Reason.challenge_malformed
    double = sign_raw(mdm, b'{"alg": "none", "alg": "ES256"}', claims.encode())
    assert refused(mdm, store, request_with(double)) is Reason.challenge_malformed


@pytest.mark.parametrize("name", ["iss", "sub", "aud", "iat", "nbf", "exp", "jti", "csr"])
@pytest.mark.parametrize("value", [MISSING, None, "", 0, [], {}, True], ids=range(7))
def test_S89_every_claim_must_be_there_and_say_something(mdm, store, request_with, name, value):
    token = sign_raw(mdm, {"alg": "ES256"}, mdm.claims(**{name: value}))
    assert refused(mdm, store, request_with(token)) is (
        Reason.challenge_wrong_audience if name == "aud" and value is not MISSING else Reason.challenge_malformed
    )


def test_S89_a_claim_in_excess_is_refused(mdm, store, request_with):
    token = mdm.token(mdm.claims(admin=True))
    assert refused(mdm, store, request_with(token)) is Reason.challenge_malformed


def expected_of(changes):
    if "aud" in changes:
        return Reason.challenge_wrong_audience
    in_future = changes in ({"iat": NOW + 120, "exp": NOW + 600}, {"nbf": NOW + 120})
    return Reason.challenge_not_yet_valid if in_future else Reason.challenge_malformed


@pytest.mark.parametrize("version", [0, 2, 1.0, "1", None, True, [1]])
def test_C9_a_token_of_another_version_has_a_reason_of_its_own(mdm, store, request_with, version):
    token = sign_raw(mdm, {"alg": "ES256"}, {**mdm.claims(), "ver": version, "new": 7})
    assert refused(mdm, store, request_with(token)) is Reason.challenge_version_unknown
    own = sign_raw(mdm, {"alg": "ES256"}, {**mdm.claims(), "ver": 1})
    assert mdm.method.authenticate(request_with(own), store, BEGIN) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://scep.example.net/scep/laptops"},
        {"aud": [AUDIENCE, "https://elsewhere"]},
        {"aud": AUDIENCE + "/"},
        {"jti": "short"},
        {"jti": "x" * 129},
        {"jti": "x" * 15 + "\n"},
        {"sub": "a\nb"},
        {"sub": "x" * 300},
        {"exp": NOW + 3601},
        {"exp": NOW * 1000},
        {"exp": NOW + 600.0},
        {"exp": str(NOW + 600)},
        {"exp": -1},
        {"exp": NOW},
        {"exp": 10**400},
        {"iat": NOW + 120, "exp": NOW + 600},
        {"nbf": NOW + 120},
        {"nbf": NOW + 600},
        {"csr": {"subject": "O=Example,CN=r1.example.net"}},
        {"csr": {"names": []}},
        {"csr": {}},
        {"csr": {"key": "ec-256", "eku": []}},
        {"csr": {"spki": "AB"}},
        {"csr": {"spki": None}},
        {"csr": {"subject": 7, "names": []}},
        {"csr": {"subject": "CN=x", "names": [7]}},
        {"csr": {"subject": "CN=x", "names": ["dns:a", "dns:a"]}},
        {"csr": {"spki": "0" * 64, "any": True}},
    ],
    ids=lambda changes: json.dumps(changes)[:40],
)
def test_S89_S90_a_claim_of_another_form_is_refused(mdm, store, request_with, changes):
    token = sign_raw(mdm, {"alg": "ES256"}, mdm.claims(**changes))
    assert refused(mdm, store, request_with(token)) is expected_of(changes)


@pytest.mark.parametrize("number", [b"1e400", b"NaN", b"Infinity", b"-Infinity"])
def test_S90_numbers_without_bounds_are_refused(mdm, store, request_with, number):
    body = json.dumps(mdm.claims()).encode().replace(b'"exp": %d' % (NOW + 600), b'"exp": ' + number)
    assert refused(mdm, store, request_with(sign_raw(mdm, b'{"alg":"ES256"}', body))) is Reason.challenge_malformed


def test_S90_time_has_a_leeway_of_a_minute(mdm, store, request_with):
    request = request_with(mdm.token(mdm.claims()))
    for seconds in (-60, 0, 659):
        assert mdm.method.authenticate(request, store, BEGIN.replace(microsecond=0) + timedelta(seconds=seconds))
    late, early = BEGIN.replace(microsecond=0) + timedelta(seconds=660), BEGIN - timedelta(seconds=62)
    assert refused(mdm, store, request, late) is Reason.challenge_expired
    assert refused(mdm, store, request, early) is Reason.challenge_not_yet_valid


EKU_CLIENT = Extension("2.5.29.37", False, bytes.fromhex("300a06082b06010505070302"))


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "O=Example,CN=r2.example.net"},
        {"subject": "CN=r1.example.net"},
        {"subject": "OU=X,O=Example,CN=r1.example.net"},
        {"dns": ()},
        {"dns": ("r2.example.net",)},
        {"dns": ("r1.example.net", "r2.example.net")},
    ],
    ids=str,
)
def test_S92_subject_and_names_must_be_equal_one_changed_at_a_time(mdm, store, request_with, changes):
    request = request_with(mdm.token(mdm.claims()), **changes)
    assert refused(mdm, store, request) is Reason.challenge_not_for_request


def test_S89_S92_an_empty_list_of_names_means_none(mdm, store, request_with):
    token = mdm.token(mdm.claims(names=[]))
    assert refused(mdm, store, request_with(token)) is Reason.challenge_not_for_request
    assert mdm.method.authenticate(request_with(token, dns=()), store, BEGIN) is not None


def names_extension(der):
    return Extension("2.5.29.17", False, b"\x30" + bytes([len(der)]) + der)


def tagged(tag, content):
    return bytes([tag, len(content)]) + content


UPN = tagged(0xA0, bytes.fromhex("060a2b060104018237140203") + tagged(0xA0, tagged(12, b"administrator@corp")))
SID = tagged(0x86, b"tag:microsoft.com,2022-09-14:sid:S-1-5-21-1-2-3-500")


@pytest.mark.parametrize(
    "extra",
    [UPN, SID, tagged(0x81, b"a@example.net"), tagged(0x87, bytes([192, 0, 2, 1])), tagged(0x88, b"\x2a\x03")],
)
def test_S55_S92_no_kind_of_name_slips_through(mdm, store, device_key, extra):
    extension = names_extension(tagged(0x82, b"r1.example.net") + extra)
    token = mdm.token(mdm.claims())
    der = build_csr(
        subject=from_text("O=Example,CN=r1.example.net"),
        private_key=device_key,
        challenge=token,
        extensions=[extension],
        challenge_tag=12,
    )
    assert refused(mdm, store, parse_csr(der, longest_challenge=16_384)) is Reason.challenge_not_for_request


def test_S92_key_and_purposes_must_be_equal_where_named(mdm, store, device_key):
    def request(key, purposes, binding):
        bound = {"subject": "CN=r1", "names": [], **binding}
        return parse_csr(
            build_csr(
                subject=from_text("CN=r1"),
                private_key=key,
                challenge=mdm.token(mdm.claims(csr=bound)),
                extensions=purposes,
                challenge_tag=12,
            ),
            longest_challenge=16_384,
        )

    client = "1.3.6.1.5.5.7.3.2"
    edwards = ed25519.Ed25519PrivateKey.generate()
    for key, purposes, binding in (
        (device_key, [EKU_CLIENT], {"key": "ec-256", "eku": [client]}),
        (device_key, [], {"eku": []}),
        (edwards, [], {"key": "ed25519"}),
    ):
        assert mdm.method.authenticate(request(key, purposes, binding), store, BEGIN) is not None
    for key, purposes, binding in (
        (device_key, [], {"key": "rsa-2048"}),
        (device_key, [], {"key": "ec-384"}),
        (edwards, [], {"key": "ec-256"}),
        (device_key, [EKU_CLIENT], {"eku": []}),
        (device_key, [], {"eku": [client]}),
    ):
        assert refused(mdm, store, request(key, purposes, binding)) is Reason.challenge_not_for_request
    broken = [Extension("2.5.29.37", False, b"\x30\x01")]
    assert refused(mdm, store, request(device_key, broken, {"eku": []})) is Reason.extension_refused


SHAPES = [
    "short",
    "a.b",
    "a.b.c.d",
    "..",
    "a..c",
    "a.b.c=",
    "eyJ.eyJ. ",
    "é.b.c",
    "x" * 300,
    "a.b." + "c" * 10_000 + ".d",
]


@pytest.mark.parametrize("shape", SHAPES, ids=range(len(SHAPES)))
def test_S93_the_profile_names_the_method_never_the_shape(mdm, store, request_with, shape):
    request = request_with(shape)
    static = StaticChallenge.from_secret(Secret(shape), STORE_KEY)
    other = StaticChallenge.from_secret(Secret("something else"), STORE_KEY)
    for methods in ((mdm.method,), (mdm.method, other)):
        with pytest.raises(Reject) as caught:
            authenticate_in_order(methods, request, store, BEGIN)
        assert caught.value.reason is Reason.challenge_invalid
    assert authenticate_in_order((mdm.method, static), request, store, BEGIN).method == "static"


def test_S93_a_token_that_was_refused_is_tried_by_no_other_method(mdm, store, request_with):
    token = mdm.token(mdm.claims(), key=ec.generate_private_key(ec.SECP256R1()))
    anything = StaticChallenge.from_secret(Secret(token), STORE_KEY)
    with pytest.raises(Reject):
        authenticate_in_order((mdm.method, anything), request_with(token), store, BEGIN)


# --- Replay: the store is the judge.


@pytest.fixture
def issuer():
    return Issuer.make()


def take(mdm, store, issuer, request, *, device=None, act="claim", **changes):
    """Enrol as far as the store goes."""
    identity = mdm.method.authenticate(request, store, BEGIN)
    device = device or Device(request.subject, ec.generate_private_key(ec.SECP256R1()))
    make = make_intent if act == "claim" else make_petition
    asked = make(issuer, device, identity=identity, wishes=request.wishes, **changes)
    return getattr(store, act)(asked), asked, device


def reason_of(function, *arguments, **options):
    with pytest.raises(Reject) as caught:
        function(*arguments, **options)
    return caught.value.reason


def test_S91_a_token_is_used_once_also_after_a_restart_and_in_another_profile(
    mdm, store, issuer, request_with, tmp_path, clock
):
    request = request_with(mdm.token(mdm.claims()))
    (claimed, _), intent, device = take(mdm, store, issuer, request)
    store.record(claimed, certificate_of(issuer, device, intent), ())
    again = open_repository(tmp_path, clock, owner="beta/1")
    assert reason_of(mdm.method.authenticate, request, again, BEGIN) is Reason.challenge_replayed
    identity = intent.identity
    other = make_intent(issuer, Device.make(), identity=identity, profile="laptops")
    assert reason_of(again.claim, other) is Reason.challenge_replayed
    again.close()


def test_S91_another_issuers_token_with_the_same_identifier_is_another(mdm, store, issuer, request_with, tmp_path):
    (tmp_path / "other").mkdir()
    other = Mdm(tmp_path / "other", ec.generate_private_key(ec.SECP256R1()))
    claims = mdm.claims()
    take(mdm, store, issuer, request_with(mdm.token(claims)))
    take(other, store, issuer, request_with(other.token(claims)))


def test_S35_S91_of_many_at_once_one_gets_the_token(mdm, store, issuer, request_with, tmp_path, clock):
    request = request_with(mdm.token(mdm.claims()))
    identity = mdm.method.authenticate(request, store, BEGIN)
    devices = [Device.make() for _ in range(8)]
    outcomes = []

    def race(number):
        repository = open_repository(tmp_path, clock, owner=f"alpha/{number + 1}")
        try:
            outcomes.append(repository.claim(make_intent(issuer, devices[number], identity=identity))[1])
        except Reject as reject:
            outcomes.append(reject.reason)
        finally:
            repository.close()

    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(True) == 1
    assert outcomes.count(Reason.challenge_replayed) == 7


def test_C207_the_same_request_under_another_transaction_gets_the_same_answer(mdm, store, issuer, request_with):
    request = request_with(mdm.token(mdm.claims()))
    (claimed, created), intent, _ = take(mdm, store, issuer, request)
    assert created
    again = attrs.evolve(intent, key=attrs.evolve(intent.key, transaction_id="another"), serial=intent.serial + 1)
    answered, made = store.claim(again)
    assert (answered.id, answered.serial, made) == (claimed.id, claimed.serial, False)
    other_wishes = attrs.evolve(again, wishes=bytes(32))
    assert reason_of(store.claim, other_wishes) is Reason.challenge_replayed


def test_S34_a_token_is_free_again_when_its_request_was_given_up(mdm, store, issuer, request_with):
    request = request_with(mdm.token(mdm.claims()))
    (claimed, _), _, _ = take(mdm, store, issuer, request)
    store.abandon(claimed, Reason.interrupted, "", ())
    (waiting, _), _, _ = take(mdm, store, issuer, request, act="petition")
    store.decide(waiting.id, approve=False, who="ann")
    (waiting, _), _, _ = take(mdm, store, issuer, request, act="petition")
    store.decide(waiting.id, approve=True, who="ann")
    assert reason_of(take, mdm, store, issuer, request) is Reason.challenge_replayed


def test_S91_each_device_has_so_many_in_a_sliding_window(mdm, store, issuer, request_with, clock):
    def fresh(**changes):
        moment = int(clock.moment.timestamp())
        times = {"iat": moment, "nbf": moment, "exp": moment + 600}
        request = request_with(mdm.token(mdm.claims(**times, **changes)))
        identity = mdm.method.authenticate(request, store, clock.moment)
        return store.claim(make_intent(issuer, Device.make(), identity=identity))

    for hours in range(3):
        clock.moment = BEGIN + timedelta(hours=hours)
        fresh()
    assert reason_of(fresh) is Reason.challenge_device_limit
    assert fresh(sub="device 18")[1]
    clock.moment = BEGIN + timedelta(hours=24, seconds=1)
    assert fresh()[1]
    assert reason_of(fresh) is Reason.challenge_device_limit


def test_S91_what_is_swept_could_not_be_used_any_more(mdm, store, issuer, request_with, clock):
    request = request_with(mdm.token(mdm.claims()))
    _, intent, _ = take(mdm, store, issuer, request)
    clock.moment = BEGIN + timedelta(hours=23)
    assert store.sweep_tickets() == 0
    late = make_intent(issuer, Device.make(), identity=intent.identity)
    assert reason_of(store.claim, late) is Reason.challenge_expired
    clock.moment = BEGIN + timedelta(hours=24, seconds=1)
    assert (store.sweep_tickets(), store.sweep_tickets()) == (1, 0)
    assert reason_of(store.claim, late) is Reason.challenge_expired


# --- The file of the anchors.


def write(path, octets):
    fresh = path.with_suffix(".new")
    fresh.write_bytes(octets)
    fresh.rename(path)


def bad_files(key):
    good = certificate_pem(key)
    weak = rsa.generate_private_key(65537, 1024)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return {
        "empty": b"",
        "half": good[: len(good) // 2],
        "one good, one half": good + good[:60],
        "expired": certificate_pem(key, begin=BEGIN - timedelta(days=9), end=BEGIN - timedelta(days=1)),
        "not yet": certificate_pem(key, begin=BEGIN + timedelta(days=1)),
        "CA": certificate_pem(key, ca=True),
        "one good, one CA": good + certificate_pem(key, ca=True),
        "no signer": certificate_pem(key, usage=False),
        "weak": public_pem(weak),
        "other curve": public_pem(ec.generate_private_key(ec.SECP384R1())),
        "edwards": public_pem(ed25519.Ed25519PrivateKey.generate()),
        "private": private,
        "garbled": b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        "too many": good * 17,
        "too large": good + b"#" * 300_000,
    }


KINDS = (
    "empty half expired CA weak edwards private garbled|one good, one half|not yet|one good, one CA|no signer|"
    "other curve|too many|too large"
)
KINDS = [*KINDS.partition("|")[0].split(), *KINDS.partition("|")[2].split("|")]


@pytest.fixture(scope="session")
def bad(signer):
    return bad_files(signer)


@pytest.mark.parametrize("kind", KINDS)
def test_S94_a_file_that_cannot_be_used_leaves_the_old_one_and_is_told_once(mdm, store, request_with, bad, kind):
    request = request_with(mdm.token(mdm.claims()))
    write(mdm.path, bad[kind])
    for _ in range(3):
        assert mdm.method.authenticate(request, store, BEGIN) is not None
    assert len(mdm.told) == 1
    with pytest.raises(OperatorError):  # at a start there is no old one
        AnchorFile(mdm.path, BEGIN, mdm.told.append)


def test_S94_a_new_file_is_believed_at_once_and_the_old_key_no_more(mdm, store, request_with):
    old = request_with(mdm.token(mdm.claims()))
    new = ec.generate_private_key(ec.SECP256R1())
    write(mdm.path, b"# the new one\n" + certificate_pem(new, ca=False, usage=True))
    assert refused(mdm, store, old) is Reason.challenge_signature_invalid
    assert mdm.method.authenticate(request_with(mdm.token(mdm.claims(), key=new)), store, BEGIN) is not None
    assert mdm.told == []


def test_S94_a_file_that_is_gone_leaves_the_old_one(mdm, store, request_with):
    mdm.path.unlink()
    for _ in range(2):
        assert mdm.method.authenticate(request_with(mdm.token(mdm.claims())), store, BEGIN) is not None
    assert len(mdm.told) == 1


def test_S94_an_anchor_is_unusable_from_its_end_on(mdm, store, request_with):
    write(mdm.path, certificate_pem(mdm.key, end=BEGIN + timedelta(seconds=30)))
    request = request_with(mdm.token(mdm.claims()))
    assert mdm.method.authenticate(request, store, BEGIN) is not None
    assert refused(mdm, store, request, BEGIN + timedelta(seconds=31)) is Reason.challenge_signature_invalid


@pytest.mark.parametrize("octets", [b"", b"7", b"nothing", b'{"a":1,"a":1}', b"{}{}", b'{"a":"\xff"}', b"[" * 100_000])
def test_S84_S88_strict_json_takes_one_object_with_one_meaning(octets):
    with pytest.raises(NotStrict):
        parse_object(octets)
