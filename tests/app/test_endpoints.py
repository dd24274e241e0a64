"""What GetCACaps and GetCACert answer, from the settings alone."""

from datetime import UTC, datetime, timedelta

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from scepd.app.endpoints import advertise, make_endpoints, served_certificates
from scepd.config.settings import IssuerSettings, RaSettings
from scepd.message.certrep import read_certs_only
from scepd.profile.model import Profile
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


@pytest.fixture
def endpoint(tmp_path):
    def make(devices):
        (tmp_path / "config.json").write_text("{}")
        settings = make_settings(tmp_path)
        profile = Profile(name="p", path="routers", issuer="devices", default=True)
        changed = type(settings)(
            **{
                name: getattr(settings, name)
                for name in ("appliance", "hsm", "store", "listeners", "workers", "limits", "log")
            },
            issuers=(devices,),
            profiles=(profile,),
        )
        return make_endpoints(changed, answerer=None)["routers"]

    return make


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
