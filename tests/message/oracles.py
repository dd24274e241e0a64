"""Independent readers: the openssl command and asn1crypto."""

import subprocess
import tempfile
from pathlib import Path

from asn1crypto import cms
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


def openssl(*arguments, stdin=b"", files=None):
    """Return what `openssl` writes; `files` are named in the arguments as {name}."""
    with tempfile.TemporaryDirectory() as directory:
        paths = {}
        for name, octets in (files or {}).items():
            paths[name] = Path(directory) / name
            paths[name].write_bytes(octets)
        command = ["openssl", *(argument.format(**paths) for argument in arguments)]
        run = subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=30)
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout


def pem_key(party):
    """Return a party's private key for openssl."""
    return party.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def pem_certificate(certificate_der):
    """Return a certificate for openssl."""
    return openssl("x509", "-inform", "DER", stdin=certificate_der)


def cms_verify(message, certificate_der):
    """Return the content of a SignedData that `openssl cms` has verified under that certificate's key."""
    return openssl(
        "cms", "-verify", "-inform", "DER", "-binary", "-noverify", "-certfile", "{signer}", "-nointern",
        stdin=message, files={"signer": pem_certificate(certificate_der)},
    )  # fmt: skip


def cms_decrypt(envelope, party):
    """Return the content of an EnvelopedData that `openssl cms` has decrypted; old ciphers included."""
    return openssl(
        "cms", "-decrypt", "-inform", "DER", "-binary", "-recip", "{certificate}", "-inkey", "{key}",
        "-provider", "legacy", "-provider", "default",
        stdin=envelope, files={"certificate": pem_certificate(party.certificate_der), "key": pem_key(party)},
    )  # fmt: skip


def cms_sign(content, party, *options):
    """Return the DER SignedData that `openssl cms` makes."""
    return openssl(
        "cms", "-sign", "-binary", "-nodetach", "-outform", "DER", "-signer", "{certificate}", "-inkey", "{key}", *options,
        stdin=content, files={"certificate": pem_certificate(party.certificate_der), "key": pem_key(party)},
    )  # fmt: skip


def cms_encrypt(content, party, *options):
    """Return the DER EnvelopedData that `openssl cms` makes."""
    return openssl(
        "cms", "-encrypt", "-binary", "-outform", "DER", "-recip", "{certificate}", *options,
        "-provider", "legacy", "-provider", "default",
        stdin=content, files={"certificate": pem_certificate(party.certificate_der)},
    )  # fmt: skip


def signed_data(message):
    """Return asn1crypto's view of a SignedData."""
    info = cms.ContentInfo.load(message, strict=True)
    assert info["content_type"].native == "signed_data"
    return info["content"]


def signed_attributes(message):
    """Return asn1crypto's view of the signed attributes: dotted OID to the one value."""
    (signer,) = signed_data(message)["signer_infos"]
    found = {}
    for attribute in signer["signed_attrs"]:
        oid = attribute["type"].dotted
        assert oid not in found
        values = attribute["values"]
        assert len(values) == 1
        found[oid] = values[0]
    return found
