"""[audit]: the key that seals, its public key, how often, and where the seals are repeated."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import load_der_public_key

from scepd.config.load import load, load_premises
from scepd.config.own_keys import own_keys
from scepd.message.certificate import load_certificate
from scepd.x509.keys import spki_digest

from .pki import base, certificate, key, pem, public_pem, write_configuration

AUDIT = {"key": "pkcs11:token=scepd;object=scepd-audit", "public_key": "scepd-audit.pem"}


def with_audit(**changes):
    table = {name: value for name, value in {**AUDIT, **changes}.items() if value is not None}
    return {**base(), "audit": table}


def test_nothing_is_sealed_without_the_table(compiled):
    assert compiled(base()).audit is None


def test_the_audit_key_is_named_with_its_public_key(compiled, site):
    audit = compiled(with_audit()).audit
    assert audit.key == AUDIT["key"]
    assert load_der_public_key(audit.public_key_der) == key("ec-audit").public_key()
    assert (audit.seal_every, audit.seals) == (timedelta(hours=1), site / "state" / "audit-seals.jsonl")


def test_a_certificate_of_the_audit_key_does_too(compiled, site):
    (site / "cert.pem").write_bytes(pem(certificate("ec-audit", ca=None)))
    (site / "cert.pem").chmod(0o644)
    settings = compiled(with_audit(public_key="cert.pem", seal_every="5m", seals="/logs/seals.jsonl"))
    assert load_der_public_key(settings.audit.public_key_der) == key("ec-audit").public_key()
    assert (settings.audit.seal_every, str(settings.audit.seals)) == (timedelta(minutes=5), "/logs/seals.jsonl")


def test_keys_that_sealed_before_are_believed(compiled):
    audit = compiled(with_audit(previous=["scepd-audit-old.pem"])).audit
    assert [load_der_public_key(der) for der in audit.public_keys] == [
        key(name).public_key() for name in ("ec-audit", "ec-audit-old")
    ]


@pytest.mark.parametrize("file", ["devices-ca.pem", "devices-ra-sign.pem", "devices-ra-decrypt.pem"])
def test_S119_a_key_that_does_something_else_is_no_audit_key(refused, file):
    (problem,) = refused(with_audit(public_key=file))
    assert (problem.path, problem.reason[:25]) == ("$.audit.public_key", "is a key of issuer device")


def test_commands_that_need_no_issuer_know_it(site):
    path = write_configuration(site, {name: table for name, table in with_audit().items() if name != "issuer"})
    assert load_premises(path, environ={}).audit.key == AUDIT["key"]
    with_none = write_configuration(site, {name: table for name, table in base().items() if name != "issuer"})
    assert load_premises(with_none, environ={}).audit is None


@pytest.mark.parametrize(
    ("changes", "content", "path", "reason"),
    [
        ({"public_key": None}, None, "$.audit.public_key", "is missing"),
        ({"key": None}, None, "$.audit.key", "is missing"),
        ({"public_key": "absent.pem"}, None, "$.audit.public_key", "does not exist"),
        ({"public_key": "odd.pem"}, b"nothing", "$.audit.public_key", "no readable PEM public key or certificate"),
        ({"public_key": "odd.pem"}, public_pem("ed-audit"), "$.audit.public_key", "neither an RSA nor an EC key"),
        ({"public_key": "odd.pem"}, public_pem("small-audit"), "$.audit.public_key", "RSA key of 1024 bits"),
        ({"previous": ["absent.pem"]}, None, "$.audit.previous[0]", "does not exist"),
        ({"seal_every": "8d"}, None, "$.audit.seal_every", "more than a week"),
    ],
)
def test_what_cannot_seal_is_refused(refused, site, changes, content, path, reason):
    if content is not None:
        (site / "odd.pem").write_bytes(content)
        (site / "odd.pem").chmod(0o644)
    (problem,) = refused(with_audit(**changes))
    assert problem.path == path
    assert reason in problem.reason


def test_a_public_key_that_others_may_write_is_refused(refused, site):
    (site / "scepd-audit.pem").chmod(0o666)
    (problem,) = refused(with_audit())
    assert problem.path == "$.audit.public_key"


def test_the_premises_name_what_is_wrong_with_it(site):
    path = write_configuration(site, with_audit(public_key="absent.pem"))
    for read in (load, load_premises):
        with pytest.raises(Exception, match=r"absent\.pem"):
            read(path, environ={})


def test_S28_nobody_enrols_with_the_audit_key(compiled):
    settings = compiled(with_audit())
    assert spki_digest(settings.audit.public_key_der) in own_keys(settings)
    assert spki_digest(load_certificate(settings.issuers[0].certificate_der).spki_der) in own_keys(settings)
