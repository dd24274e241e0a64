"""Who passed the gate of the mTLS route is known by that certificate (threats M)."""

import attrs
import pytest

from scepd.challenge.client_certificate import ClientCertificateChallenge, require_same_name
from scepd.records import ClientIdentity, Identity
from scepd.refusal import Reason, Reject
from tests.store.building import BEGIN

CLIENT = ClientIdentity("CN=r1.example.net,O=Example", ("dns:r1.example.net", "ip:192.0.2.7"), 7, "CN=Factory", b"d" * 32)


def identity(csr_, store, client=CLIENT, subject="same"):
    return ClientCertificateChallenge(subject).of(client).authenticate(csr_, store, BEGIN)


def refused(csr_, store, client=CLIENT):
    with pytest.raises(Reject) as caught:
        identity(csr_, store, client)
    return caught.value.reason


def test_S97_without_a_client_certificate_nobody_is_known(csr, store):
    assert identity(csr(None), store, client=None) is None
    assert ClientCertificateChallenge().authenticate(csr("x"), store, BEGIN) is None


def test_the_certificate_says_who_asks_and_vouches_for_its_names(csr, store):
    expected = Identity(
        "client-certificate",
        CLIENT.subject,
        names=CLIENT.names,
        attributes=(("O", "Example"), ("CN", "r1.example.net")),
    )
    assert identity(csr(None), store) == expected
    assert identity(csr(None, dns=("r1.example.net",)), store) == expected


@pytest.mark.parametrize("subject", ["CN=r2.example.net", "O=Example", "CN=r1.example.net,CN=x", "CN=R1.example.net"])
def test_S53_another_name_than_its_own_is_refused(csr, store, subject):
    assert refused(csr(None, subject=subject), store) is Reason.client_certificate_refused
    assert identity(csr(None, subject=subject), store, subject="any") is not None


def test_S54_alternative_names_beside_its_own_are_refused(csr, store):
    assert refused(csr(None, dns=("r1.example.net", "r2.example.net")), store) is Reason.client_certificate_refused
    assert identity(csr(None, dns=("r2.example.net",)), store, subject="any") is not None


def test_without_a_common_name_the_whole_subject_must_be_the_same(csr, store):
    client = attrs.evolve(CLIENT, subject="serialNumber=FTX1,O=Example")
    assert identity(csr(None, subject="serialNumber=FTX1,O=Example"), store, client).name == client.subject
    assert refused(csr(None, subject="serialNumber=FTX2,O=Example"), store, client) is Reason.client_certificate_refused
    nameless = attrs.evolve(CLIENT, subject="")
    assert identity(csr(None, subject=""), store, nameless).name == "certificate 7"


def test_S55_a_client_certificate_vouches_for_no_account(csr, store):
    accounts = ("upn:admin@corp", "uri:tag:microsoft.com,2022-09-14:sid:S-1-5-21-1-2-3-500", "URI:TAG:microsoft.com,2022-09-14:sid:x")
    client = attrs.evolve(CLIENT, names=(*CLIENT.names, *accounts, "uri:urn:a"))
    assert identity(csr(None), store, client).names == (*CLIENT.names, "uri:urn:a")


def test_a_subject_that_cannot_be_read_is_refused(csr, store):
    assert refused(csr(None), store, attrs.evolve(CLIENT, subject="no name at all")) is Reason.client_certificate_refused


def test_the_gate_can_be_held_against_a_request_of_any_method(csr):
    require_same_name(csr("a challenge"), CLIENT)
    with pytest.raises(Reject, match="r2"):
        require_same_name(csr("a challenge", subject="CN=r2"), CLIENT)
