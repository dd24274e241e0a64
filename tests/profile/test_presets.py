"""Every preset is a profile that the configuration takes, and changes only what it is there for."""

import pytest

from scepd.config.load import load
from scepd.config.profile_sections import ProfileSection
from scepd.message.algorithms import MODERN_CIPHERS, MODERN_DIGESTS, Cipher, Digest
from scepd.profile.model import Profile
from scepd.profile.presets import PRESETS
from tests.config import pki

FAMILIES = {
    "default", "modern", "cisco-ios", "cisco-ios-legacy", "cisco-pix", "juniper", "apple", "windows", "chromeos", "sscep",
    "mobileiron",
}  # fmt: skip
LEGACY = {"cisco-ios-legacy", "cisco-pix"}


@pytest.fixture(scope="module")
def profiles(tmp_path_factory):
    """A profile of each preset, by its name, compiled from one configuration."""
    directory = pki.lay_out(tmp_path_factory.mktemp("presets"))
    tables = pki.base()
    tables["profile"] = {
        name: {"preset": name, "issuer": "devices", "default": name == "default", "challenge": [{"method": "one-time"}]}
        for name in PRESETS
    }
    settings = load(pki.write_configuration(directory, tables), environ={}, now=pki.NOW, cores=1)
    return {profile.name: profile for profile in settings.profiles}


def test_every_device_family_has_its_preset():
    assert set(PRESETS) == FAMILIES


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_says_nothing_but_keys_of_a_profile_and_cannot_be_changed(name):
    known = set(ProfileSection.__annotations__) - {"issuer", "challenge", "path", "default", "preset"}
    assert set(PRESETS[name]) <= known
    with pytest.raises(TypeError):
        PRESETS[name]["issuer"] = "devices"


@pytest.mark.parametrize("name", PRESETS)
def test_C266_no_preset_but_the_legacy_ones_weakens_anything(profiles, name):
    profile = profiles[name]
    if name not in LEGACY:
        assert profile.insecure == ()
        assert (profile.crypto.digests, profile.crypto.ciphers) == (MODERN_DIGESTS, MODERN_CIPHERS)
        assert (profile.crypto.minimum_signer_rsa, profile.keys.rsa_minimum) == (2048, 2048)


def test_C266_E10_what_old_ios_and_pix_need(profiles):
    old, pix = profiles["cisco-ios-legacy"], profiles["cisco-pix"]
    for profile in (old, pix):
        assert (profile.crypto.digests, profile.crypto.ciphers) == (frozenset(Digest), frozenset(Cipher))
        assert (profile.omit_fail_info_text, profile.advertise_sha384, profile.verisign_extension_request) == (
            True, False, True,
        )  # fmt: skip
        assert profile.ca_certificate_chain
    assert old.insecure == tuple(f"insecurely_accept_{word}" for word in ("md5", "sha1", "des", "3des"))
    assert pix.insecure == (*old.insecure, "insecurely_accept_small_rsa")
    assert (old.keys.rsa_minimum, pix.keys.rsa_minimum, pix.crypto.minimum_signer_rsa) == (2048, 1024, 1024)
    assert (pix.names.copy, pix.names.required) == (("unstructuredName", "CN"), ("dns",))


@pytest.mark.parametrize("name", ["cisco-ios", "cisco-ios-legacy", "cisco-pix"])
def test_cisco_names(profiles, name):
    profile = profiles[name]
    assert {"serialNumber", "unstructuredName", "unstructuredAddress"} <= set(profile.subject.allow)
    assert "DC" not in profile.subject.allow  # PIX cannot read it
    assert "unstructuredName" in profile.names.copy
    assert profile.reply_chain == "issuer"  # the VPN client wants the CA in the reply


@pytest.mark.parametrize("name", ["juniper", "apple"])
def test_C120_leaf_alone_for_those_that_take_any_first_certificate(profiles, name):
    assert profiles[name].reply_chain == "none"


def test_windows_clocks_are_behind(profiles):
    default, windows = Profile(name="x"), profiles["windows"]
    assert windows.backdate > default.backdate
    assert windows.signing_time.renewal_skew > default.signing_time.renewal_skew


def test_no_preset_serves_the_root_or_demands_a_nonce_of_clients_that_may_have_none(profiles):
    assert not any(profile.serve_root for profile in profiles.values())
    assert {name for name, profile in profiles.items() if profile.strict_nonce} == {"modern"}
