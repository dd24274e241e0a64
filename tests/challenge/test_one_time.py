"""The one-time challenge: known, bound, expiring, spent."""

from datetime import timedelta

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from scepd.challenge.digest import keyed_digest
from scepd.challenge.one_time import OneTimeChallenge
from scepd.challenge.order import authenticate_in_order
from scepd.challenge.static import StaticChallenge
from scepd.message.csr import Extension
from scepd.records import Identity, Secret
from scepd.refusal import Reason, Reject
from scepd.x509.keys import spki_digest
from tests.store.building import BEGIN, Device, Issuer, add_challenge, certificate_of, make_intent

from .conftest import STORE_KEY

TEXT = "k3vx-29ab"
METHOD = OneTimeChallenge("routers", STORE_KEY)


@pytest.fixture
def issuer():
    return Issuer.make()


def add(store, text=TEXT, **options):
    return add_challenge(store, digest=keyed_digest(STORE_KEY, text), **options)


def spend(store, issuer, challenge, request, key):
    """Enrol a request with a challenge, as far as the store goes."""
    device = Device(request.subject, key)
    intent = make_intent(issuer, device, challenge=challenge.id, wishes=request.wishes)
    claimed, _ = store.claim(intent)
    return store.record(claimed, certificate_of(issuer, device, intent), ())


def refused(store, request, now=BEGIN, method=METHOD):
    with pytest.raises(Reject) as caught:
        method.authenticate(request, store, now)
    assert TEXT not in caught.value.detail
    return caught.value.reason


def test_a_free_challenge_tells_who_asks(store, csr):
    challenge = add(store, common_name="r1.example.net")
    assert METHOD.authenticate(csr(TEXT), store, BEGIN) == Identity("one-time", "r1.example.net", challenge.id)
    unbound = add(store, "other")
    assert METHOD.authenticate(csr("other"), store, BEGIN) == Identity("one-time", "challenge 2", unbound.id)
    assert store.challenge(challenge.id) == challenge  # judged, not taken


@pytest.mark.parametrize("text", ["k3vx-29aB", "k3vx29ab", " k3vx-29ab", "", None])
def test_C150_an_unknown_challenge_or_none_is_left_to_the_next_method(store, csr, text):
    add(store)
    assert METHOD.authenticate(csr(text), store, BEGIN) is None


def test_C150_the_empty_challenge_is_unknown_even_if_one_were_stored(store, csr):
    add(store, "")
    assert METHOD.authenticate(csr(""), store, BEGIN) is None
    assert METHOD.authenticate(csr(None), store, BEGIN) is None


def test_C152_a_challenge_of_another_profile_is_unknown(store, csr):
    add(store, profile="phones")
    assert METHOD.authenticate(csr(TEXT), store, BEGIN) is None
    assert OneTimeChallenge("phones", STORE_KEY).authenticate(csr(TEXT), store, BEGIN) is not None


def test_C152_an_expired_challenge_is_refused(store, csr):
    add(store, expires=BEGIN + timedelta(hours=1))
    late = BEGIN + timedelta(hours=1)
    assert METHOD.authenticate(csr(TEXT), store, late - timedelta(microseconds=1)) is not None
    assert refused(store, csr(TEXT), late) is Reason.challenge_expired


@pytest.mark.parametrize(
    "subject", ["CN=r2.example.net", "O=r1.example.net", "CN=R1.example.net", "CN=r1.example.net.", ""]
)
def test_C152_a_challenge_bound_to_a_common_name_serves_no_other(store, csr, subject):
    add(store, common_name="r1.example.net")
    assert refused(store, csr(TEXT, subject=subject)) is Reason.challenge_not_for_request


def test_C152_a_second_common_name_cannot_ride_along(store, csr):
    add(store, common_name="r1.example.net")
    for subject in ("CN=r1.example.net,CN=admin", "CN=admin,CN=r1.example.net", "CN=r1.example.net+CN=admin"):
        assert refused(store, csr(TEXT, subject=subject)) is Reason.challenge_not_for_request


@pytest.mark.parametrize("subject", ["CN=r1.example.net", "O=Example,CN=r2.example.net", "CN=r1.example.net,O=Example", ""])
def test_C152_S05_a_challenge_bound_to_a_subject_serves_exactly_this(store, csr, subject):
    add(store, subject="O=Example,CN=r1.example.net")
    assert refused(store, csr(TEXT, subject=subject)) is Reason.challenge_not_for_request
    identity = METHOD.authenticate(csr(TEXT), store, BEGIN)
    assert identity.name == "O=Example,CN=r1.example.net"


RSA = rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize(
    ("bound", "good", "bad"),
    [
        ("rsa", RSA, None),
        ("rsa-2048", RSA, None),
        ("rsa-3072", None, RSA),
        ("rsa-204", None, RSA),
        ("ec", ec.generate_private_key(ec.SECP384R1()), RSA),
        ("ec-384", ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP256R1())),
        ("ed25519", ed25519.Ed25519PrivateKey.generate(), RSA),
    ],
)
def test_C152_S05_a_challenge_bound_to_a_kind_of_key_serves_no_other(store, csr, bound, good, bad):
    add(store, key_type=bound)
    if good is not None:
        assert METHOD.authenticate(csr(TEXT, key=good), store, BEGIN) is not None
    if bad is not None:
        assert refused(store, csr(TEXT, key=bad)) is Reason.challenge_not_for_request


@pytest.mark.parametrize(
    "dns", [(), ("a.example",), ("a.example", "c.example"), ("a.example", "b.example", "c.example")]
)
def test_C152_a_challenge_bound_to_names_serves_exactly_these(store, csr, dns):
    add(store, names=("dns:a.example", "dns:b.example"))
    assert refused(store, csr(TEXT, dns=dns)) is Reason.challenge_not_for_request


def test_C152_bound_names_match_in_any_order_and_host_names_in_any_case(store, csr):
    add(store, names=("dns:a.example", "dns:B.example"))
    assert METHOD.authenticate(csr(TEXT, dns=("b.example", "A.EXAMPLE")), store, BEGIN) is not None


def test_C159_names_that_a_challenge_vouches_for_are_those_of_the_request_in_any_case(store, csr):
    from scepd.profile.alternative_names import judge_names
    from scepd.profile.model import NamePolicy
    from scepd.x509.general_names import general_names_from_extension

    add(store, names=("dns:Host.Example", "upn:Ann@EXAMPLE"))
    upn = b"\xa0\x1b\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x14\x02\x03\xa0\x0d\x0c\x0bAnn@EXAMPLE"
    wish = b"\x30\x2b" + b"\x82\x0cHOST.example" + upn
    request = attrs.evolve(csr(TEXT), extensions=(Extension("2.5.29.17", False, wish),))
    identity = METHOD.authenticate(request, store, BEGIN)
    assert identity.names == ("dns:host.example", "upn:Ann@EXAMPLE")
    wished = general_names_from_extension(wish)
    assert judge_names(NamePolicy(), wished, common_name=None, vouched=identity.names) == wished


def test_without_bound_names_the_profile_decides(store, csr):
    add(store, common_name="r1.example.net")
    assert METHOD.authenticate(csr(TEXT, dns=("any.example",)), store, BEGIN) is not None


def test_a_cancelled_challenge_is_refused(store, csr):
    challenge = add(store)
    store.cancel_challenge(challenge.id, cancelled_by="bob")
    assert refused(store, csr(TEXT)) is Reason.challenge_replayed


def test_C151_a_challenge_spent_by_another_key_is_refused(store, csr, issuer, device_key):
    challenge = add(store)
    spend(store, issuer, challenge, csr(TEXT), device_key)
    other = ec.generate_private_key(ec.SECP256R1())
    assert refused(store, csr(TEXT, key=other)) is Reason.challenge_replayed
    late = BEGIN + timedelta(days=9)  # replayed, not merely expired
    assert refused(store, csr(TEXT, key=other), late) is Reason.challenge_replayed


def test_C151_a_challenge_reserved_by_another_key_is_refused(store, csr, issuer, device_key):
    challenge = add(store)
    store.claim(make_intent(issuer, Device(csr(TEXT).subject, device_key), challenge=challenge.id))
    assert refused(store, csr(TEXT, key=ec.generate_private_key(ec.SECP256R1()))) is Reason.challenge_replayed


def test_C151_C207_the_same_key_is_known_again_and_gets_its_certificate_again(store, csr, issuer, device_key):
    challenge = add(store)
    request = csr(TEXT)
    issued = spend(store, issuer, challenge, request, device_key)
    again = csr(TEXT)  # signed anew
    assert again.der != request.der
    late = BEGIN + timedelta(days=9)
    identity = METHOD.authenticate(again, store, late)
    assert identity == Identity("one-time", f"challenge {challenge.id}", challenge.id)
    device = Device(again.subject, device_key)
    assert device.key_digest == spki_digest(again.spki_der)
    intent = make_intent(issuer, device, challenge=challenge.id, wishes=again.wishes, transaction_id="fresh")
    assert store.claim(intent) == (issued, False)


def test_C151_the_same_key_with_other_wishes_is_refused_by_the_claim(store, csr, issuer, device_key):
    challenge = add(store)
    spend(store, issuer, challenge, csr(TEXT), device_key)
    other = csr(TEXT, subject="CN=admin")
    assert METHOD.authenticate(other, store, BEGIN) is not None
    device = Device(other.subject, device_key)
    with pytest.raises(Reject) as caught:
        store.claim(make_intent(issuer, device, challenge=challenge.id, wishes=other.wishes, transaction_id="fresh"))
    assert caught.value.reason is Reason.challenge_replayed


def test_C152_of_a_counted_challenge_each_user_is_known_again(store, csr, issuer):
    challenge = add(store, uses=2)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
    for key in keys[:2]:
        spend(store, issuer, challenge, csr(TEXT, key=key), key)
    for key in keys[:2]:
        assert METHOD.authenticate(csr(TEXT, key=key), store, BEGIN) is not None
    # A third is told apart by the claim.
    third = csr(TEXT, key=keys[2])
    assert METHOD.authenticate(third, store, BEGIN) is not None
    with pytest.raises(Reject) as caught:
        spend(store, issuer, challenge, third, keys[2])
    assert caught.value.reason is Reason.challenge_replayed


def test_methods_are_asked_in_the_profiles_order(store, csr):
    add(store, "shared")
    static = StaticChallenge.from_secret(Secret("shared"), STORE_KEY)
    assert authenticate_in_order([static, METHOD], csr("shared"), store, BEGIN).method == "static"
    assert authenticate_in_order([METHOD, static], csr("shared"), store, BEGIN).method == "one-time"


def test_C150_no_challenge_is_missing(store, csr):
    static = StaticChallenge.from_secret(Secret("shared"), STORE_KEY)
    for text in (None, ""):
        with pytest.raises(Reject) as caught:
            authenticate_in_order([static, METHOD], csr(text), store, BEGIN)
        assert caught.value.reason is Reason.challenge_missing


def test_a_challenge_that_no_method_knows_is_invalid(store, csr):
    static = StaticChallenge.from_secret(Secret("shared"), STORE_KEY)
    for methods in ([static, METHOD], []):
        with pytest.raises(Reject) as caught:
            authenticate_in_order(methods, csr("guess"), store, BEGIN)
        assert caught.value.reason is Reason.challenge_invalid
        assert "guess" not in caught.value.detail


def test_a_method_that_refuses_its_own_challenge_ends_the_search(store, csr):
    add(store, "shared", expires=BEGIN)
    static = StaticChallenge.from_secret(Secret("shared"), STORE_KEY)
    with pytest.raises(Reject) as caught:
        authenticate_in_order([METHOD, static], csr("shared"), store, BEGIN)
    assert caught.value.reason is Reason.challenge_expired


def test_no_challenge_text_reaches_the_store(store, csr, issuer, device_key, tmp_path):
    challenge = add(store, "canary-7f3a-canary")
    spend(store, issuer, challenge, csr("canary-7f3a-canary"), device_key)
    for path in tmp_path.iterdir():
        assert b"canary-7f3a" not in path.read_bytes()
