"""The compiled profile: its defaults, what it refuses to be, and that it travels to a worker."""

import pickle
import re
from datetime import timedelta
from ipaddress import ip_network

import attrs
import pytest

from scepd.message.algorithms import CryptoPolicy, Digest
from scepd.profile.model import NamePolicy, OneTimeRule, Profile, RenewalRule, StaticRule, SubjectPolicy
from scepd.records import Attribute, Secret
from scepd.x509.names import OIDS
from scepd.x509.usages import EXTENDED_KEY_USAGES


def test_a_profile_that_says_nothing_is_conservative():
    profile = Profile(name="routers")
    assert profile.segment == "routers"
    assert profile.subject.allow == (
        "CN",
        "O",
        "OU",
        "C",
        "ST",
        "L",
        "serialNumber",
        "unstructuredName",
        "unstructuredAddress",
    )
    assert profile.names == NamePolicy()
    assert profile.key_usage == {"digitalSignature", "keyEncipherment"}
    assert profile.extended_key_usage == ("clientAuth",)
    assert Digest.SHA1 not in profile.crypto.digests | profile.csr_crypto.digests
    assert profile.reply_chain == "issuer"
    assert profile.insecure == ()
    assert not profile.default


def test_a_profile_survives_pickling():
    profile = Profile(
        name="routers",
        path="r",
        challenge=(OneTimeRule(timedelta(hours=2)), StaticRule(Secret("s"))),
        subject=SubjectPolicy(patterns=(("CN", re.compile("r[0-9]+")),), fixed=(Attribute(OIDS["O"], "Example"),)),
        names=NamePolicy(ip=(ip_network("192.0.2.0/24"),), uri=(re.compile("urn:.*"),)),
        crypto=CryptoPolicy(digests=frozenset({Digest.SHA1})),
    )
    assert profile.segment == "r"
    assert pickle.loads(pickle.dumps(profile)) == profile
    assert "Secret(***)" in repr(profile)


def test_a_profile_cannot_be_changed():
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Profile(name="routers").validity = timedelta(1)


@pytest.mark.parametrize("usages", [(), ("keyCertSign",), ("cRLSign", "digitalSignature"), ("signing",)])
def test_S58_C279_no_profile_gives_ca_usages(usages):
    with pytest.raises(ValueError, match="key_usage"):
        Profile(name="p", key_usage=frozenset(usages))


@pytest.mark.parametrize(
    "word",
    [
        *("anyExtendedKeyUsage", "OCSPSigning", "cmcCA", "cmcRA", "cmcArchive", "certificateRequestAgent"),
        EXTENDED_KEY_USAGES["OCSPSigning"],
    ],
)
def test_S59_no_profile_gives_an_authoritys_purpose(word):
    with pytest.raises(ValueError, match="extended_key_usage"):
        Profile(name="p", extended_key_usage=("clientAuth", word))


def test_S59_no_profile_is_without_purpose():
    with pytest.raises(ValueError, match="nothing"):
        Profile(name="p", extended_key_usage=())


def test_S53_policies_know_their_words():
    with pytest.raises(ValueError, match="allow: common_name"):
        SubjectPolicy(allow=("common_name",))
    with pytest.raises(ValueError, match="required: cn"):
        SubjectPolicy(required=("cn",))
    with pytest.raises(ValueError, match="fixed: C"):
        SubjectPolicy(fixed=(Attribute(OIDS["C"], "Schweiz"),))


@pytest.mark.parametrize("pattern", ["", "*.", "a*.example.com", "*example.com", "*.*.com", "r 1", "192.0.2.1", "**"])
def test_S54_patterns_are_host_names(pattern):
    with pytest.raises(ValueError, match="dns"):
        NamePolicy(dns=("r1.example.com", "*.example.com", "*", pattern))


@pytest.mark.parametrize("earliest", [-0.1, 1, 2.5])
def test_C181_the_earliest_renewal_is_a_part_of_a_life(earliest):
    with pytest.raises(ValueError, match="no part of a life"):
        RenewalRule(earliest=earliest)
