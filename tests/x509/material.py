"""Keys, issuers and bent certificates for the tests of x509; keys are made once per run."""

import random
import subprocess
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from scepd.message import tlv
from scepd.records import GeneralName, Template
from scepd.x509.certificate import (
    IssuerCertificate,
    draft_ca_certificate,
    draft_certificate,
    draft_ocsp_certificate,
    draft_ra_certificate,
    draft_tls_certificate,
    new_serial,
)
from scepd.x509.draft import seal, split
from scepd.x509.fields import tbs_fields
from scepd.x509.keys import encode_public_key
from scepd.x509.names import from_text
from scepd.x509.usages import purpose_oid

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
BEGIN = NOW - timedelta(days=1)
END = NOW + timedelta(days=3650)
CA_NAME = from_text("CN=Device CA,O=Example,C=CH")
SERIAL = new_serial(random.Random(1).randbytes)


@cache
def rsa_key(name, bits=2048):
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key(name, curve="secp256r1"):
    return ec.generate_private_key({c.name: c for c in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())}[curve])


@cache
def ed_key(name):
    return ed25519.Ed25519PrivateKey.generate()


def ca_key(kind):
    return {"rsa": lambda: rsa_key("ca"), "p256": lambda: ec_key("ca"), "p384": lambda: ec_key("ca", "secp384r1")}[
        kind
    ]()


@cache
def ca_der(kind="rsa", begin=BEGIN, end=END, path_length=0):
    key = ca_key(kind)
    draft = draft_ca_certificate(
        CA_NAME, key.public_key(), serial=SERIAL, not_before=begin, not_after=end, path_length=path_length
    )
    return seal(draft.der, key, key.public_key())


@cache
def issuer(kind="rsa", digest=None, **fields):
    return IssuerCertificate.load(ca_der(kind, **fields), digest)


def template(**fields):
    return Template(
        **{
            "subject": from_text("CN=r1.example.com,O=Example,C=CH"),
            "names": (GeneralName("dns", "r1.example.com"), GeneralName("ip", "192.0.2.7")),
            "key_usage": frozenset({"digitalSignature", "keyEncipherment"}),
            "extended_key_usage": ("clientAuth",),
            "validity": timedelta(days=365),
            "crl_urls": ("http://pki.example.com/crl",),
            "ocsp_urls": ("http://pki.example.com/ocsp",),
            "issuer_urls": ("http://pki.example.com/ca.cer",),
            **fields,
        },
    )


def spki(key):
    return encode_public_key(key.public_key())


def draft(kind="rsa", key=None, *, by=None, serial=SERIAL, now=NOW, **fields):
    key = key or rsa_key("device")
    return draft_certificate(template(**fields), spki(key), by or issuer(kind), serial=serial, now=now)


def leaf(kind="rsa", key=None, **fields):
    return seal(draft(kind, key, **fields).der, ca_key(kind), ca_key(kind).public_key())


def ra(role="both", by=None):
    return draft_ra_certificate(
        from_text("CN=RA,O=Example"),
        rsa_key("ra").public_key(),
        role=role,
        issuer=by or issuer(),
        serial=SERIAL,
        now=NOW,
        validity=timedelta(days=365),
    )


SCEP_NAMES = (GeneralName("dns", "scep.example.com"),)


def ocsp():
    return draft_ocsp_certificate(
        from_text("CN=Responder"),
        ec_key("ocsp").public_key(),
        issuer=issuer(),
        serial=SERIAL,
        now=NOW,
        validity=timedelta(days=14),
    )


def tls(names=SCEP_NAMES):
    return draft_tls_certificate(
        names, ec_key("tls").public_key(), issuer(), serial=SERIAL, now=NOW, validity=timedelta(days=90)
    )


def sub_ca(by, path_length=0, like=None):
    return draft_ca_certificate(
        from_text("CN=Sub CA"),
        ec_key("sub").public_key(),
        issuer=by,
        serial=SERIAL,
        not_before=BEGIN,
        not_after=END,
        path_length=path_length,
        like=like,
    )


def _name(name):
    return name if isinstance(name, x509.Name) else x509.Name.from_rfc4514_string(name)


def certificate(*, subject="CN=r1.example.com,O=Example,C=CH", by=None, key=None, begin=NOW, end=None, **extensions):
    """Return a sound leaf but for what is given: an extension by its key below as (value, critical), or None for none."""
    key = key or rsa_key("device").public_key()
    whole = {
        "constraints": (x509.BasicConstraints(ca=False, path_length=None), True),
        "usage": (usage("digital_signature", "key_encipherment"), True),
        "purposes": (purposes("clientAuth"), False),
        "names": (x509.SubjectAlternativeName([x509.DNSName("r1.example.com")]), False),
        "subject_key": (x509.SubjectKeyIdentifier.from_public_key(key), False),
        "authority_key": (x509.AuthorityKeyIdentifier(issuer().key_identifier, None, None), False),
        **extensions,
    }
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(issuer().certificate.subject if by is None else _name(by))
        .public_key(key)
        .serial_number(SERIAL)
        .not_valid_before(begin)
        .not_valid_after(end or begin + timedelta(days=365))
    )
    for extension in filter(None, whole.values()):
        builder = builder.add_extension(extension[0], critical=extension[1])
    return builder.sign(rsa_key("ca"), hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def usage(*bits):
    words = "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign encipher_only decipher_only"
    return x509.KeyUsage(**{word: word in bits for word in words.split()})


def purposes(*words):
    return x509.ExtendedKeyUsage([x509.ObjectIdentifier(purpose_oid(word)) for word in words])


def raw(oid, value):
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)


def url(text):
    return x509.UniformResourceIdentifier(text)


def bend(der, index, field):
    """Return a certificate with one field of its TBSCertificate replaced (or, beyond the last, added)."""
    tbs, algorithm, signature = split(der)
    fields = tbs_fields(tbs)
    fields[index : index + 1] = [field]
    return frame(fields, algorithm, signature)


def frame(fields, algorithm, signature):
    return tlv.sequence(tlv.sequence(*fields), algorithm, tlv.bit_string(signature))


def pem(*ders):
    return b"".join(x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM) for der in ders)


def openssl(*arguments, stdin=b""):
    finished = subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=False)
    return finished.returncode, (finished.stdout + finished.stderr).decode()


def openssl_verify(directory: Path, certificate_der, *chain_ders, at=NOW):
    """Return what `openssl verify` says of a certificate under a root and intermediates, strictly."""
    (directory / "leaf.pem").write_bytes(pem(certificate_der))
    (directory / "root.pem").write_bytes(pem(chain_ders[-1]))
    extra = []
    if chain_ders[:-1]:
        (directory / "between.pem").write_bytes(pem(*chain_ders[:-1]))
        extra = ["-untrusted", str(directory / "between.pem")]
    return openssl(
        "verify",
        "-x509_strict",
        "-attime",
        str(int(at.timestamp())),
        "-CAfile",
        str(directory / "root.pem"),
        *extra,
        str(directory / "leaf.pem"),
    )
