"""What a good configuration becomes, and how it travels to a child."""

import ipaddress
import pickle
from datetime import timedelta

import attrs
import pytest

from scepd.config.listener_settings import ListenerSettings
from scepd.config.settings import LimitSettings, Settings, dump, restore
from scepd.message.algorithms import MODERN_CIPHERS, MODERN_DIGESTS, Cipher, Digest
from scepd.profile.model import OneTimeRule, Profile, StaticRule, SubjectPolicy
from scepd.records import Attribute

from .pki import base, good, key_pem

DEFAULTS = Profile(name="x")


def routers(compiled, **changes):
    tables = base()
    tables["profile"]["routers"].update(changes)
    return compiled(tables).profiles[0]


def test_settings_of_the_base_configuration(site, compiled):
    settings = compiled(base())
    assert isinstance(settings, Settings)
    assert settings.appliance.name == "Example"
    assert settings.appliance.state == site / "state"
    assert settings.appliance.runtime == site / "run"
    assert settings.appliance.marks == settings.appliance.state
    assert (settings.hsm.module, settings.hsm.token, settings.hsm.serial) == (site / "module.so", "scepd", None)
    assert (settings.hsm.lanes, settings.hsm.deadline, settings.hsm.queue) == (1, timedelta(seconds=10), 512)
    assert settings.store.url == f"sqlite:///{site}/state/scepd.sqlite"
    assert settings.store.key_file == site / "store-key"
    assert (settings.workers, settings.cpu_affinity) == (2, True)
    assert settings.limits == LimitSettings(body=100_000)
    assert settings.insecure == ()
    issuer = settings.issuer["devices"]
    assert (issuer.key, issuer.chain) == ("pkcs11:token=scepd;object=devices-ca", ())
    assert issuer.ra_decrypt.key == "pkcs11:object=devices-ra-decrypt"
    plain, tls = settings.listeners
    assert plain == ListenerSettings("plain", (("127.0.0.1", 8080),), None, ("scep",))
    assert tls.addresses == (("127.0.0.1", 8443), ("::1", 8443))
    assert tls.tls.certificate_pem == good()["tls.pem"]
    assert tls.tls.key_pem.reveal().encode() == key_pem("ec-tls")
    assert tls.tls.minimum == "1.2"
    assert settings.default_profile.name == "routers"


def test_profile_that_says_little_is_the_model_s_default(compiled):
    profile = routers(compiled)
    assert profile.challenge == (OneTimeRule(timedelta(hours=24)),)
    assert (profile.path, profile.default, profile.validity) == ("routers", True, timedelta(days=90))
    assert (profile.crypto.digests, profile.crypto.ciphers) == (MODERN_DIGESTS, MODERN_CIPHERS)
    same = (
        "csr_crypto", "subject", "key_usage", "extended_key_usage", "reply_chain", "backdate", "insecure", "renewal",
        "approval", "signing_time", "unique_subject", "get_cert", "get_crl", "password_encryption", "get_only",
        "ca_certificate_chain", "insecurely_accept_raw_csr",
    )  # fmt: skip
    assert profile.keys == attrs.evolve(DEFAULTS.keys, curves=frozenset())
    assert {name: getattr(profile, name) for name in same} == {name: getattr(DEFAULTS, name) for name in same}


def test_profile_that_says_everything(compiled):
    profile = routers(
        compiled,
        subject={"allow": ["CN"], "set": {"O": "Example"}, "required": ["CN", "O"], "patterns": {"CN": "r[0-9]+"}},
        names={"dns": ["*.Net.example", "*"], "ip": ["10.0.0.0/8", "2001:db8::1"], "email": ["a@b.example", "*.c.example"], "uri": ["urn:.*"], "common_name": False},
        key={"rsa": [3072, 4096], "curves": ["P-256"], "ed25519": True},
        key_usage=["digitalSignature"],
        extended_key_usage=["clientAuth", "1.3.6.1.5.5.7.3.1", "serverAuth", "1.3.6.1.4.1.99999.1"],
        include_chain="full",
        serve_root=True,
        unknown_extensions="refuse",
        backdate="1h",
        advertise_sha384=False,
        omit_fail_info_text=True,
        omit_empty_content=True,
        verisign_extension_request=True,
        strict_nonce=True,
    )  # fmt: skip
    assert profile.subject.allow == ("CN",)
    assert profile.subject.fixed == (Attribute("2.5.4.10", "Example"),)
    assert profile.subject.required == ("CN", "O")
    assert profile.subject.patterns[0][1].fullmatch("r12")
    assert profile.names.dns == ("*.net.example", "*")
    assert profile.names.ip == (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8::1/128"))
    assert profile.names.email == ("a@b.example", "*.c.example")
    assert profile.names.uri[0].fullmatch("urn:x")
    assert profile.names.common_name is False
    assert (profile.keys.rsa_minimum, profile.keys.rsa_maximum) == (3072, 4096)
    assert (profile.keys.curves, profile.keys.ed25519) == (frozenset({"P-256"}), True)
    assert profile.key_usage == frozenset({"digitalSignature"})
    assert profile.extended_key_usage == ("clientAuth", "serverAuth", "1.3.6.1.4.1.99999.1")
    assert (profile.reply_chain, profile.serve_root, profile.unknown_extensions) == ("full", True, "refuse")
    assert (profile.backdate, profile.advertise_sha384) == (timedelta(hours=1), False)
    assert (profile.omit_fail_info_text, profile.omit_empty_content) == (True, True)
    assert (profile.verisign_extension_request, profile.strict_nonce) == (True, True)


def test_S54_the_appliance_s_own_names_are_reserved(compiled):
    assert routers(compiled).names.reserved == {"pki.example.net", "127.0.0.1", "::1"}


@pytest.mark.parametrize(
    ("switch", "digest", "cipher", "bits"),
    [
        ("insecurely_accept_md5", Digest.MD5, None, 2048),
        ("insecurely_accept_sha1", Digest.SHA1, None, 2048),
        ("insecurely_accept_des", None, Cipher.DES, 2048),
        ("insecurely_accept_3des", None, Cipher.DES3, 2048),
        ("insecurely_accept_small_rsa", None, None, 1024),
        ("insecurely_accept_raw_csr", None, None, 2048),
    ],
)
def test_C265_each_switch_changes_what_its_name_says(compiled, switch, digest, cipher, bits):
    tables = base()
    tables["profile"]["routers"][switch] = True
    settings = compiled(tables)
    profile = settings.profiles[0]
    assert profile.crypto.digests == MODERN_DIGESTS | ({digest} - {None})
    assert profile.crypto.ciphers == MODERN_CIPHERS | ({cipher} - {None})
    assert profile.csr_crypto == profile.crypto
    assert (profile.crypto.minimum_signer_rsa, profile.keys.rsa_minimum) == (bits, bits)
    assert profile.insecurely_accept_raw_csr == (switch == "insecurely_accept_raw_csr")
    assert profile.insecure == (switch,)
    assert settings.insecure == (f"profile.routers.{switch}",)
    assert settings.profiles[1].insecure == ()


def test_small_keys_by_switch_and_bounds(compiled):
    profile = routers(compiled, insecurely_accept_small_rsa=True, key={"rsa": [1536, 2048]})
    assert (profile.keys.rsa_minimum, profile.keys.rsa_maximum) == (1536, 2048)
    assert profile.crypto.minimum_signer_rsa == 1024


def test_preset_gives_keys_that_the_profile_may_change(compiled):
    profile = routers(compiled, preset="modern", strict_nonce=False)
    assert (profile.strict_nonce, profile.omit_empty_content, profile.unknown_extensions) == (False, True, "refuse")


def test_static_rule(compiled):
    (rule,) = compiled(base()).profiles[1].challenge
    assert isinstance(rule, StaticRule)
    assert rule.secret.reveal() == "correct horse battery staple"


def test_methods_keep_their_order(compiled):
    static = {"method": "static", "secret": {"file": "lab-challenge"}}
    profile = routers(compiled, challenge=[static, {"method": "one-time"}])
    assert [type(rule) for rule in profile.challenge] == [StaticRule, OneTimeRule]
    assert profile.challenge[1] == OneTimeRule()


def test_a_profile_alone_is_the_default_one(compiled):
    tables = base()
    del tables["profile"]["lab"]
    del tables["profile"]["routers"]["default"]
    assert compiled(tables).default_profile.name == "routers"


def test_workers_are_the_cores_where_nothing_is_written(compiled):
    tables = base()
    del tables["workers"]
    assert compiled(tables).workers == 3
    tables["workers"] = 0
    tables["cpu_affinity"] = False
    settings = compiled(tables)
    assert (settings.workers, settings.cpu_affinity) == (0, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", timedelta(seconds=30)),
        ("15m", timedelta(minutes=15)),
        ("12h", timedelta(hours=12)),
        ("90d", timedelta(days=90)),
        ("4w", timedelta(days=28)),
        ("2y", timedelta(days=730)),
    ],
)
def test_durations(compiled, text, expected):
    assert routers(compiled, validity=text).validity == expected


def test_validity_may_be_the_issuer_s_whole_life(compiled):
    assert routers(compiled, validity="3660d").validity == timedelta(days=3660)


@pytest.mark.parametrize("url", ["sqlite:///deep/er.db", "sqlite:////var/tmp/x.db"])
def test_store_paths_begin_at_the_state_directory(site, compiled, url):
    tables = base()
    tables["store"]["url"] = url
    tables["appliance"]["state"] = str(site / "s")
    path = "/var/tmp/x.db" if url.endswith("x.db") else f"{site}/s/deep/er.db"
    assert compiled(tables).store.url == f"sqlite:///{path}"


def test_subject_defaults_to_the_usual_attributes(compiled):
    assert routers(compiled, subject={"set": {"OU": "Lab"}}).subject.allow == SubjectPolicy().allow


def test_settings_travel_unchanged(compiled):
    tables = base()
    tables["profile"]["routers"] |= {
        "names": {"dns": ["*"], "ip": ["10.0.0.0/8"], "uri": ["urn:.*"]},
        "subject": {"patterns": {"CN": "r.*"}, "set": {"O": "Example"}},
    }
    settings = compiled(tables)
    assert restore(dump(settings)) == settings


def test_a_pipe_that_carries_something_else_is_refused():
    with pytest.raises(TypeError):
        restore(pickle.dumps({"not": "settings"}))


def test_settings_are_frozen(compiled):
    with pytest.raises(AttributeError):
        compiled(base()).workers = 5


def test_what_the_module_reads_from_its_environment(compiled, site):
    tables = base()
    tables["hsm"]["environment"] = {"TPM2_PKCS11_STORE": "/var/lib/tpm2", "SOFTHSM2_CONF": "another"}
    tables["hsm"]["softhsm2_conf"] = "softhsm2.conf"
    assert compiled(tables).hsm.variables == {
        "TPM2_PKCS11_STORE": "/var/lib/tpm2", "SOFTHSM2_CONF": str(site / "softhsm2.conf"),
    }  # fmt: skip


def test_S105_marks_may_be_on_another_volume(site, compiled):
    tables = base()
    tables["appliance"]["marks"] = "volume/marks"
    settings = compiled(tables)
    assert settings.appliance.marks == site / "volume/marks"
    assert restore(dump(settings)).appliance.marks == site / "volume/marks"
