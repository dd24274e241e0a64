"""Legacy switches in use: each use counted, each peer told of once an hour (C-269)."""

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from scepd.enroll.answer import Answerer
from scepd.message.algorithms import Cipher, CryptoPolicy, Digest
from scepd.observe.legacy import LegacyWatch
from scepd.x509.keys import KeyPolicy
from tests import make
from tests.enroll.conftest import Device
from tests.enroll.test_answer import OneLane
from tests.world import ORIGIN, STATIC, default_profile, make_world

SMALL = make.party("small", "rsa1024")
SWITCHES = ("md5", "sha1", "des", "3des", "small_rsa")


@pytest.fixture
def world(keys, tmp_path):
    crypto = CryptoPolicy(digests=frozenset(Digest), ciphers=frozenset(Cipher), minimum_signer_rsa=1024)
    profile = default_profile(
        crypto=crypto,
        csr_crypto=crypto,
        keys=KeyPolicy(rsa_minimum=1024),
        insecure=tuple(f"insecurely_accept_{word}" for word in SWITCHES),
    )
    return make_world(keys, tmp_path, profiles=[profile])


@pytest.mark.parametrize(
    ("fields", "needed"),
    [
        ({}, ()),
        ({"digest": Digest.MD5}, ("md5",)),
        ({"digest": Digest.SHA1, "cipher": Cipher.DES}, ("sha1", "des")),
        ({"cipher": Cipher.DES3}, ("3des",)),
        ({"signer": SMALL}, ("small_rsa",)),
    ],
)
def test_C269_an_answer_names_the_switches_that_the_request_needed(world, fields, needed):
    answer = world.respond(Device(world).request(**fields)).answer
    assert answer.outcome == "issued"
    assert answer.legacy == tuple(f"insecurely_accept_{word}" for word in needed)


def test_C269_a_signer_that_cannot_be_read_needed_nothing(world):
    odd = make.Party(make.device().key, make.certificate(make.device().key, spki_der=b"\x30\x00"))
    answer = world.respond(Device(world).request(signer=odd)).answer
    assert (answer.outcome, answer.legacy) == ("rejected", ())


def test_C269_a_refused_request_without_a_signer(world):
    answer = world.respond(Device(world).request(certificates=[])).answer
    assert (answer.reason, answer.legacy) == ("signer_missing", ())


def test_C269_each_use_is_counted_and_told_once_an_hour(world):
    clock = Clock()
    answerer = Answerer(OneLane(world.context), clock)
    told = []
    observer = told.append
    globalLogPublisher.addObserver(observer)
    try:
        for seconds in (0, 1800, 1800):
            clock.advance(seconds)
            body = Device(world).request(digest=Digest.SHA1)
            ensureDeferred(answerer.answer(world.profiles["default"], body, ORIGIN))
        ensureDeferred(answerer.answer_raw(world.profiles["default"], make.csr(challenge=STATIC), ORIGIN))
    finally:
        globalLogPublisher.removeObserver(observer)
    lines = [(event["switch"], event["address"]) for event in told if event.get("event") == "legacy_used"]
    assert lines == [("insecurely_accept_sha1", ORIGIN.address)] * 2 + [("insecurely_accept_raw_csr", ORIGIN.address)]
    assert answerer.legacy.counts["default", "insecurely_accept_sha1"] == 3


def test_C269_what_is_remembered_of_peers_is_bounded():
    watch = LegacyWatch(lambda: 0.0)
    assert all(watch.note("p", "s", f"198.51.100.{number}") for number in range(10_001))
    assert not watch.note("p", "s", "198.51.100.10000")
    assert watch.note("p", "s", "198.51.100.0")  # forgotten
