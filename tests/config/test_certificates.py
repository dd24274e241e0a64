"""Certificates and keys that are named: each unfit one is a problem at its place before any token is touched."""

import itertools

import pytest

from .pki import CA_USAGES, DAY, NOW, base, certificate, key_pem, pem, write_secret

ISSUED = {"issuer": "Devices CA", "signer": "ec-ca"}
CA_FILE, SIGN_FILE, DECRYPT_FILE, TLS_FILE = (
    "devices-ca.pem",
    "devices-ra-sign.pem",
    "devices-ra-decrypt.pem",
    "tls.pem",
)
AT_CA = "$.issuer.devices.certificate"
AT_SIGN = "$.issuer.devices.ra_sign.certificate"
AT_DECRYPT = "$.issuer.devices.ra_decrypt.certificate"
AT_TLS = "$.listener.tls.tls.certificate"


def ca(**changes):
    return pem(certificate("ec-ca", **{"ca": True, "usages": CA_USAGES} | changes))


def signer(own="rsa-sign", **changes):
    return pem(certificate(own, **{"name": "RA", "usages": ("digital_signature",), **ISSUED} | changes))


def recipient(own="rsa-decrypt", **changes):
    return pem(certificate(own, **{"name": "RA", "usages": ("key_encipherment",), **ISSUED} | changes))


UNFIT = [
    ("C051 no CA", CA_FILE, lambda: ca(ca=False, usages=()), AT_CA, "is no CA certificate"),
    ("C051 no basicConstraints", CA_FILE, lambda: ca(ca=None), AT_CA, "is no CA certificate"),
    ("C051 no keyCertSign", CA_FILE, lambda: ca(usages=("crl_sign",)), AT_CA, "may not sign certificates"),
    ("expired CA", CA_FILE, lambda: ca(end=NOW), AT_CA, "expired on 2030-06-01"),
    ("CA not yet valid", CA_FILE, lambda: ca(begin=NOW + DAY), AT_CA, "valid only from"),
    ("small CA key", CA_FILE, lambda: pem(certificate("small-ca", ca=True)), AT_CA, "RSA key of 1024 bits"),
    ("Ed25519 CA key", CA_FILE, lambda: pem(certificate("ed-ca", ca=True)), AT_CA, "key that cannot do this"),
    ("two in one file", CA_FILE, lambda: ca() * 2, AT_CA, "holds 2 certificates"),
    ("cut off", CA_FILE, lambda: ca()[:-60], AT_CA, "no readable PEM certificate"),
    ("not PEM", CA_FILE, lambda: b"\x30\x82\x01\x00", AT_CA, "no readable PEM certificate"),
    ("empty", CA_FILE, lambda: b"", AT_CA, "no readable PEM certificate"),
    ("key beside it", CA_FILE, lambda: ca() + key_pem("ec-ca"), AT_CA, "holds a private key"),
    ("C052 another CA's", SIGN_FILE, lambda: signer(signer="ec-other"), AT_SIGN, "is not signed by"),
    ("C052 another name's", SIGN_FILE, lambda: signer(issuer="Other CA"), AT_SIGN, "is not signed by"),
    ("C052 by itself", SIGN_FILE, lambda: signer(issuer=None, signer=None), AT_SIGN, "is not signed by"),
    ("C052 expired", SIGN_FILE, lambda: signer(end=NOW - DAY), AT_SIGN, "expired on"),
    ("C052 not yet valid", SIGN_FILE, lambda: signer(begin=NOW + DAY), AT_SIGN, "valid only from"),
    ("C052 cannot sign", SIGN_FILE, lambda: signer(usages=("key_encipherment",)), AT_SIGN, "may not sign replies"),
    ("C052 is a CA", SIGN_FILE, lambda: signer(ca=True), AT_SIGN, "is a CA certificate"),
    ("C052 small", SIGN_FILE, lambda: signer("small-sign"), AT_SIGN, "RSA key of 1024 bits"),
    ("C052 Ed25519", SIGN_FILE, lambda: signer("ed-sign"), AT_SIGN, "cannot do this"),
    ("C052 another CA's", DECRYPT_FILE, lambda: recipient(signer="ec-other"), AT_DECRYPT, "is not signed by"),
    ("C052 expired", DECRYPT_FILE, lambda: recipient(end=NOW - DAY), AT_DECRYPT, "expired on"),
    ("C052 no encipherment", DECRYPT_FILE, lambda: recipient(usages=("digital_signature",)), AT_DECRYPT, "may not be encrypted to"),
    ("C052 EC", DECRYPT_FILE, lambda: recipient("ec-decrypt"), AT_DECRYPT, "cannot do this"),
    ("C052 small", DECRYPT_FILE, lambda: recipient("small-decrypt"), AT_DECRYPT, "RSA key of 1024 bits"),
    ("S16 signer's key", DECRYPT_FILE, lambda: recipient("rsa-sign"), AT_DECRYPT, "the same key as that of ra_sign"),
    ("S16 CA's key", SIGN_FILE, lambda: signer("ec-ca"), AT_SIGN, "the same key as that of the issuer"),
    ("TLS expired", TLS_FILE, lambda: pem(certificate("ec-tls", end=NOW)), AT_TLS, "expired on"),
    ("TLS chain in disorder", TLS_FILE, lambda: pem(certificate("ec-tls", name="pki"), certificate("ec-ca")), AT_TLS, "is not signed by"),
    ("TLS other key", TLS_FILE, lambda: pem(certificate("ec-other")), "$.listener.tls.tls.key", "is not the key of the certificate"),
]  # fmt: skip


@pytest.mark.parametrize("case", UNFIT, ids=[f"{row[1]}-{row[0]}" for row in UNFIT])
def test_C051_C052_unfit_certificate_is_refused(site, refused, case):
    _, file, content, where, reason = case
    (site / file).write_bytes(content())
    found = [problem for problem in refused(base()) if problem.path == where]
    assert any(reason in problem.reason for problem in found), found
    assert all(problem.hint for problem in found)


@pytest.mark.parametrize("file", [SIGN_FILE, DECRYPT_FILE])
def test_C052_ra_certificate_may_lack_key_usage(site, compiled, file):
    make = signer if file == SIGN_FILE else recipient
    (site / file).write_bytes(make(usages=()))
    assert compiled(base()).issuers[0].name == "devices"


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(["key", "ra_sign", "ra_decrypt"], 2)))
@pytest.mark.parametrize(
    "spelling",
    ["pkcs11:object=one%20key", "pkcs11:object=one key;token=scepd", "pkcs11:token=scepd;object=one%20ke%79"],
)
def test_S16_one_key_in_two_roles_is_refused(refused, first, second, spelling):
    tables = base()
    issuer = tables["issuer"]["devices"]
    for role, uri in ((first, "pkcs11:object=one%20key"), (second, spelling)):
        if role == "key":
            issuer["key"] = uri
        else:
            issuer[role]["key"] = uri
    (problem,) = refused(tables)
    assert problem.path == f"$.issuer.devices.{second}.key"
    assert "is the same key as that of" in problem.reason
    assert "hsm keygen" in problem.hint


def make_chain(site):
    """Put an issuing CA below an upper CA below a root."""
    root = certificate("ec-root", name="Root", ca=True, usages=CA_USAGES)
    upper = certificate("ec-upper", name="Upper", ca=True, usages=CA_USAGES, issuer="Root", signer="ec-root")
    below = certificate("ec-ca", ca=True, usages=CA_USAGES, issuer="Upper", signer="ec-upper")
    for name, one in (("root.pem", root), ("upper.pem", upper), (CA_FILE, below)):
        (site / name).write_bytes(pem(one))
        (site / name).chmod(0o644)
    (site / "both.pem").write_bytes(pem(upper, root))


def test_chain_is_read_nearest_first(site, compiled):
    make_chain(site)
    tables = base()
    tables["issuer"]["devices"]["chain"] = ["upper.pem", "root.pem"]
    tables["profile"]["routers"]["serve_root"] = True
    apart = compiled(tables).issuers[0].chain
    assert len(apart) == 2
    tables["issuer"]["devices"]["chain"] = ["both.pem"]
    assert compiled(tables).issuers[0].chain == apart


def test_chain_in_disorder_is_refused(site, refused):
    make_chain(site)
    tables = base()
    tables["issuer"]["devices"]["chain"] = ["root.pem", "upper.pem"]
    problems = refused(tables)
    assert [problem.path for problem in problems] == [f"$.issuer.devices.chain[{index}]" for index in (0, 1)]
    assert all("nearest first" in problem.hint for problem in problems)


def test_chain_goes_on_after_a_file_that_is_not_there(site, refused):
    make_chain(site)
    tables = base()
    tables["issuer"]["devices"]["chain"] = ["absent.pem", "root.pem"]
    (problem,) = refused(tables)
    assert problem.path == "$.issuer.devices.chain[0]"


def test_serving_a_root_needs_one(site, refused):
    make_chain(site)
    tables = base()
    tables["issuer"]["devices"]["chain"] = ["upper.pem"]
    tables["profile"]["routers"]["serve_root"] = True
    (problem,) = refused(tables)
    assert (problem.path, problem.hint) == ("$.profile.routers.serve_root", '[issuer.devices] chain = ["root.pem"]')


@pytest.mark.parametrize(
    ("mode", "accepted"),
    [(0o600, True), (0o400, True), (0o640, False), (0o604, False), (0o644, False), (0o620, False), (0o666, False)],
)
def test_S102_tls_key_open_to_others_is_refused(site, compiled, refused, mode, accepted):
    (site / "tls.key").chmod(mode)
    if accepted:
        assert compiled(base()).listeners[1].tls.minimum == "1.2"
        return
    (problem,) = refused(base())
    assert problem.path == "$.listener.tls.tls.key"
    assert f"(mode {mode:04o})" in problem.reason
    assert problem.hint == f"chmod 600 {site}/tls.key"


def test_encrypted_tls_key_is_refused(site, refused):
    write_secret(site / "tls.key", key_pem("ec-tls", b"passphrase"))
    (problem,) = refused(base())
    assert problem.reason == "is encrypted with a passphrase"
    assert problem.hint.startswith("openssl pkey")


def with_tls_issuer(name):
    tables = base()
    tables["listener"]["public"] = tables["listener"].get("public", {}) | {
        "address": "0.0.0.0:443",
        "tls": {"certificate": "tls.pem", "key": {"file": "tls.key"}, "issuer": name},
    }
    return tables


def test_a_tls_certificate_of_ours_is_renewed_by_its_issuer(site, compiled):
    (listener,) = [one for one in compiled(with_tls_issuer("devices")).listeners if one.name == "public"]
    assert (listener.tls.renewal.issuer, listener.tls.renewal.file) == ("devices", site / "tls.pem")


def test_an_issuer_that_did_not_sign_it_or_is_not_there_cannot_renew(site, refused):
    (problem,) = refused(with_tls_issuer("device"))
    assert problem.path == "$.listener.public.tls.issuer"
    assert "there is no [issuer.device]" in problem.reason
    (site / "tls.pem").write_bytes(pem(certificate("ec-tls", name="pki", dns=("pki.example.net",))))
    (problem,) = refused(with_tls_issuer("devices"))
    assert problem.path == "$.listener.public.tls.issuer"
    assert "is not signed by" in problem.reason
