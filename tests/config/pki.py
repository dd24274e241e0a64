"""Certificates and keys for configuration tests: made once, in memory, never in a token."""

import datetime as dt
import functools
import json
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = dt.datetime(2030, 6, 1, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)

ALL_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


@functools.cache
def key(name: str):
    """Return the key of that name; the name's beginning says its kind."""
    if name.startswith("ed"):
        return ed25519.Ed25519PrivateKey.generate()
    if name.startswith("ec"):
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(65537, 1024 if name.startswith("small") else 2048)


def subject(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificate(
    own,
    *,
    name="Devices CA",
    issuer=None,
    signer=None,
    ca=False,
    usages=(),
    begin=NOW - 10 * DAY,
    end=NOW + 3650 * DAY,
    dns=(),
    purposes=(),
    features=(),
) -> x509.Certificate:
    """Return a certificate for a named key; without an issuer it is signed by itself."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject(name))
        .issuer_name(subject(issuer or name))
        .public_key(key(own).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
    if usages:
        builder = builder.add_extension(
            x509.KeyUsage(**{usage: usage in usages for usage in ALL_USAGES}), critical=True
        )
    if dns:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(host) for host in dns]), critical=False
        )
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    if features:
        kinds = [next(kind for kind in x509.TLSFeatureType if kind.value == number) for number in features]
        builder = builder.add_extension(x509.TLSFeature(kinds), critical=False)
    signing = key(signer or own)
    return builder.sign(signing, None if isinstance(signing, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def crl(signer, name, *, end=NOW + DAY) -> bytes:
    """Return an empty CRL as DER."""
    builder = x509.CertificateRevocationListBuilder(subject(name), NOW - DAY, end)
    return builder.sign(key(signer), hashes.SHA256()).public_bytes(Encoding.DER)


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


def public_pem(name: str) -> bytes:
    return key(name).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def key_pem(name: str, password: bytes | None = None) -> bytes:
    protection = NoEncryption() if password is None else BestAvailableEncryption(password)
    return key(name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)


CA_USAGES = ("key_cert_sign", "crl_sign")
OCSP = (ExtendedKeyUsageOID.OCSP_SIGNING,)
RA_USAGES = ("digital_signature", "key_encipherment")


@functools.cache
def good() -> dict[str, bytes]:
    """Return the files of a working directory by name."""
    issued = {"issuer": "Devices CA", "signer": "ec-ca"}
    following = {"issuer": "Devices CA", "signer": "ec-ca-2"}
    return {
        "devices-ca.pem": pem(certificate("ec-ca", ca=True, usages=CA_USAGES)),
        "devices-ra-sign.pem": pem(certificate("rsa-sign", name="RA", usages=("digital_signature",), **issued)),
        "devices-ra-decrypt.pem": pem(certificate("rsa-decrypt", name="RA", usages=("key_encipherment",), **issued)),
        "devices-ra-sign-old.pem": pem(certificate("rsa-old-sign", name="RA", usages=("digital_signature",), **issued)),
        "devices-ra-decrypt-old.pem": pem(certificate("rsa-old", name="RA", usages=("key_encipherment",), **issued)),
        "devices-ocsp.pem": pem(
            certificate("ec-ocsp", name="OCSP", usages=("digital_signature",), purposes=OCSP, end=NOW - DAY, **issued)
        ),
        "devices-2-ocsp.pem": pem(
            certificate("ec-ocsp-2", name="OCSP", usages=("digital_signature",), purposes=OCSP, **following)
        ),
        # The issuer that follows, one with a single RA key, one whose CA is its own RA.
        "devices-2-ca.pem": pem(certificate("ec-ca-2", ca=True, usages=CA_USAGES)),
        "devices-2-ra-sign.pem": pem(certificate("rsa-sign-2", name="RA", usages=("digital_signature",), **following)),
        "devices-2-ra-decrypt.pem": pem(
            certificate("rsa-decrypt-2", name="RA", usages=("key_encipherment",), **following)
        ),
        "sensors-ca.pem": pem(certificate("ec-sensors", name="Sensors CA", ca=True, usages=CA_USAGES)),
        "sensors-ra.pem": pem(
            certificate("ec-sensors-ra", name="RA", usages=("digital_signature",), issuer="Sensors CA", signer="ec-sensors")
        ),
        "sensors-ra-rsa.pem": pem(
            certificate("rsa-sensors-ra", name="RA", usages=RA_USAGES, issuer="Sensors CA", signer="ec-sensors")
        ),
        "pix-ca.pem": pem(certificate("rsa-pix", name="PIX CA", ca=True, usages=(*CA_USAGES, *RA_USAGES))),
        "tls.pem": pem(certificate("ec-tls", name="pki", dns=("pki.example.net", "*.example.org"), **issued)),
        "scepd-audit.pem": public_pem("ec-audit"),
        "scepd-audit-old.pem": public_pem("ec-audit-old"),
        # Those who say who may enrol.
        "proxies.pem": pem(certificate("ec-factory", name="Proxies", ca=True, usages=CA_USAGES)),
        "factory.pem": pem(certificate("ec-factory", name="Factory CA", ca=True, usages=CA_USAGES)),
        "factory.crl": crl("ec-factory", "Factory CA"),
        "mdm-ca.pem": pem(certificate("ec-mdm", name="MDM CA", ca=True, usages=CA_USAGES)),
        "anchors.pem": pem(certificate("rsa-connector", name="Connector", usages=("digital_signature",))),
        "intune.pem": pem(certificate("rsa-intune", name="scepd", usages=("digital_signature",))),
        "networks.txt": b"# balancers\n192.0.2.0/24\n\n2001:db8::1 # the old one\n",
        "blocked-keys.txt": b"# leaked\n" + b"0" * 64 + b"\n" + b"1" * 20 + b" # Debian\n",
        "module.so": b"\x7fELF",
        "softhsm2.conf": b"directories.tokendir = tokens\n",
    }


def secrets() -> dict[str, bytes]:
    return {
        "tls.key": key_pem("ec-tls"),
        "hsm-pin": b"123456\n",
        "store-key": bytes(range(32)),
        "lab-challenge": b"correct horse battery staple\n",
        "webhook-key": b"0123456789abcdef" * 2 + b"\n",
        "intune-key": key_pem("rsa-intune"),
    }


def lay_out(directory: Path) -> Path:
    """Write all files into a directory and return it."""
    for name, content in good().items():
        (directory / name).write_bytes(content)
        (directory / name).chmod(0o644)
    for name, content in secrets().items():
        write_secret(directory / name, content)
    return directory


def write_secret(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def following() -> dict:
    """Return the table of the issuer that can follow the base configuration's."""
    return {
        "key": "pkcs11:token=scepd;object=devices-2-ca",
        "certificate": "devices-2-ca.pem",
        "ra_sign": {"key": "pkcs11:object=devices-2-ra-sign", "certificate": "devices-2-ra-sign.pem"},
        "ra_decrypt": {"key": "pkcs11:object=devices-2-ra-decrypt", "certificate": "devices-2-ra-decrypt.pem"},
    }


def sensors(certificate="sensors-ra.pem") -> dict:
    """Return the table of an issuer with a single RA key, EC unless said."""
    return {
        "key": "pkcs11:token=scepd;object=sensors-ca",
        "certificate": "sensors-ca.pem",
        "ra": {"key": "pkcs11:object=sensors-ra", "certificate": certificate},
    }


def pix() -> dict:
    """Return the table of an issuer whose CA is its own RA."""
    return {"key": "pkcs11:object=pix-ca", "certificate": "pix-ca.pem", "insecurely_ca_is_ra": True}


def to_toml(value) -> str:
    """Return a value as TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {to_toml(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(to_toml(entry) for entry in value) + "]"
    if isinstance(value, dt.date):
        return value.isoformat()
    return json.dumps(value)


def write_configuration(directory: Path, tables: dict, name: str = "scepd.toml") -> Path:
    path = directory / name
    path.write_text("".join(f"{json.dumps(key)} = {to_toml(value)}\n" for key, value in tables.items()))
    path.chmod(0o644)
    return path


def base() -> dict:
    """Return the tables of a configuration in which nothing is wrong."""
    return {
        "workers": 2,
        "appliance": {"name": "Example", "public_url": "http://pki.example.net", "state": "state", "runtime": "run"},
        "hsm": {"module": "module.so", "token": "scepd", "pin": {"file": "hsm-pin"}},
        "store": {"key": {"file": "store-key"}},
        "log": {"format": "json", "level": "debug"},
        "limits": {"body": 100_000},
        "issuer": {
            "devices": {
                "key": "pkcs11:token=scepd;object=devices-ca",
                "certificate": "devices-ca.pem",
                "ra_sign": {"key": "pkcs11:object=devices-ra-sign", "certificate": "devices-ra-sign.pem"},
                "ra_decrypt": {"key": "pkcs11:object=devices-ra-decrypt", "certificate": "devices-ra-decrypt.pem"},
            },
        },
        "listener": {
            "plain": {"address": "127.0.0.1:8080"},
            "tls": {
                "address": ["127.0.0.1:8443", "[::1]:8443"],
                "tls": {"certificate": "tls.pem", "key": {"file": "tls.key"}},
            },
        },
        "profile": {
            "routers": {
                "issuer": "devices",
                "default": True,
                "validity": "90d",
                "challenge": [{"method": "one-time", "valid": "24h"}],
            },
            "lab": {
                "issuer": "devices",
                "path": "laboratory",
                "challenge": [{"method": "static", "secret": {"file": "lab-challenge"}}],
            },
        },
    }
