"""Certificates in order, and what follows from what."""

import itertools
from datetime import timedelta

import pytest

from scepd.message import tlv
from scepd.refusal import OperatorError
from scepd.x509.certificate import IssuerCertificate
from scepd.x509.chain import ChainError, order_chain, verify_issued, verify_path
from scepd.x509.draft import seal
from tests.x509.material import (
    NOW,
    bend,
    ca_der,
    ca_key,
    certificate,
    draft,
    ec_key,
    issuer,
    leaf,
    sub_ca,
)


def three():
    root = issuer(path_length=1)
    sub = seal(sub_ca(root).der, ca_key("rsa"), root.public_key)
    by = IssuerCertificate.load(sub)
    return seal(draft(by=by).der, ec_key("sub"), by.public_key), sub, root.der


def test_a_chain_is_ordered_from_any_order_and_without_copies():
    chain = list(three())
    for shuffled in itertools.permutations(chain):
        assert order_chain(shuffled) == chain
    assert order_chain([*chain, *chain]) == chain
    assert order_chain(chain[:1]) == chain[:1]
    assert order_chain([]) == []


@pytest.mark.parametrize(
    "others",
    [
        lambda: [leaf(), ca_der("p256")],
        lambda: [three()[0], three()[2]],
        lambda: [leaf(), leaf("rsa", ec_key("device")), ca_der()],
        lambda: [b"\x30\0"],
        lambda: [bend(ca_der(), 0, tlv.explicit(0, tlv.integer(1)))],
    ],
)
def test_what_is_no_single_chain_is_refused(others):
    with pytest.raises(OperatorError):
        order_chain(others())


def test_C284_C285_what_we_issue_verifies():
    verify_issued(leaf(), issuer(), NOW)
    end = NOW + timedelta(days=365)
    verify_issued(leaf(), issuer(), end)
    for moment in (end + timedelta(seconds=1), NOW - timedelta(minutes=5, seconds=1)):
        with pytest.raises(ChainError, match="not valid"):
            verify_issued(leaf(), issuer(), moment)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: b"", "unreadable"),
        (lambda: certificate(authority_key=None), "unreadable"),
        (lambda: bend(leaf(), 1, tlv.integer(7)), "signature"),
        (lambda: draft().der, "signature"),
        (lambda: leaf("p256"), "another issuer"),
        (lambda: certificate(by="CN=Device CA,O=Exemple,C=CH"), "another issuer"),
        (lambda: certificate(end=issuer().not_after + timedelta(seconds=1)), "longer"),
    ],
)
def test_S110_C284_what_we_did_not_issue_does_not(make, problem):
    with pytest.raises(ChainError, match=problem):
        verify_issued(make(), issuer(), NOW)


def test_C284_the_path_verifier_accepts_our_chains():
    end_entity, sub, root = three()
    assert verify_path(end_entity, [sub], [root], NOW) == [end_entity, sub, root]
    sealed = leaf("p384")
    assert verify_path(sealed, [], [ca_der("p384")], NOW) == [sealed, ca_der("p384")]


@pytest.mark.parametrize(
    ("intermediates", "anchors", "moment"),
    [
        ([], [ca_der(path_length=1)], NOW),
        ([three()[1]], [ca_der("p256")], NOW),
        ([three()[1]], [three()[2]], NOW + timedelta(days=400)),
        ([b"\x30\0"], [three()[2]], NOW),
    ],
)
def test_the_path_verifier_refuses_other_chains(intermediates, anchors, moment):
    with pytest.raises(ChainError):
        verify_path(three()[0], intermediates, anchors, moment)
