"""Every mistake that a ceremony must stop before it makes or signs anything: tried on a real token, in one process."""

import json
import os
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from pkcs11 import Attribute, KeyType, MechanismFlag
from pkcs11.util.ec import encode_named_curve_parameters
from pkcs11.util.rsa import decode_rsa_private_key

from scepd.ca.performance import Stage, carry_out
from scepd.ca.plan import Plan, PlannedKey, PlannedSigner, Step
from scepd.cli.configured import load_token
from scepd.cli.files import create
from scepd.cli.stage import real_tokens
from scepd.hsm.listing import list_keys
from scepd.refusal import OperatorError, Reject

HERE = "pkcs11:token=scepd;object="
NOW = datetime.now(UTC)
END = f"{NOW.year + 1}-01-31T00:00:00Z"
KEY = PlannedKey(uri=f"{HERE}never", kind="ec:P-256", role="sign", fresh=True)
CA = PlannedKey(uri=f"{HERE}devices-ca", kind="ec:P-256", role="sign", fresh=False)


def cases(directory):
    ca = PlannedSigner(uri=f"{HERE}devices-ca", certificate=str(directory / "devices-ca.pem"), kind="ec:P-256")
    files = {word: str(directory / f"made-{word}.pem") for word in ("root", "ra", "tls")}
    root = Step(makes="root", key=KEY, subject="CN=Root", not_after=END, path_length=1, output=files["root"])
    ra = Step(makes="ra-sign", key=KEY, subject="CN=RA", not_after=END, signer=ca, output=files["ra"])
    tls = Step(makes="tls", key=KEY, names=("dns:pki.example.net",), not_after=END, signer=ca, output=files["tls"])
    sub = attrs.evolve(root, makes="ca", signer=ca)
    change = attrs.evolve
    key = lambda step, **fields: attrs.evolve(step, key=attrs.evolve(step.key, **fields))  # noqa: E731
    signer = lambda step, **fields: attrs.evolve(step, signer=attrs.evolve(step.signer, **fields))  # noqa: E731
    csr = (directory / "bent.csr").read_text()
    return {
        "existing label": [key(root, uri=f"{HERE}devices-ca")],
        "existing label of a public key": [key(root, uri=f"{HERE}devices-ra-decrypt")],
        "extractable key": [key(root, uri=f"{HERE}weak-extractable", kind="rsa:2048", fresh=False)],
        "key that derives": [key(root, uri=f"{HERE}weak-derive", kind="ec:P-256", fresh=False)],
        "imported key": [key(root, uri=f"{HERE}weak-imported", kind="rsa:2048", fresh=False)],
        "two roles": [key(root, uri=f"{HERE}weak-both", kind="rsa:2048", fresh=False)],
        "wrong role": [key(ra, uri=f"{HERE}devices-ra-decrypt", kind="rsa:2048", fresh=False)],
        "no such key": [key(root, fresh=False)],
        "wrong curve": [attrs.evolve(root, key=attrs.evolve(CA, kind="ec:P-384"))],
        "wrong kind": [attrs.evolve(root, key=attrs.evolve(CA, kind="rsa:3072"))],
        "unknown curve": [key(root, kind="ec:P-192")],
        "small RSA": [key(root, kind="rsa:1024")],
        "EC key that decrypts": [key(change(ra, makes="ra-decrypt"), role="decrypt")],
        "another token": [key(root, uri="pkcs11:token=elsewhere;object=never")],
        "no label": [key(root, uri="pkcs11:token=scepd;id=%01%02")],
        "past end": [change(root, not_after="2020-01-01T00:00:00Z")],
        "no moment": [change(root, not_after="soon")],
        "no such day": [change(root, not_after="2031-02-30T00:00:00Z")],
        "outlives the issuer": [change(ra, not_after="2099-01-01T00:00:00Z")],
        "existing file": [change(root, output=str(directory / "devices-ca.pem"))],
        "no directory": [change(root, output=str(directory / "nowhere" / "root.pem"))],
        "empty subject": [change(root, subject="")],
        "a bad subject": [change(root, subject="CN=a\u202eb")],
        "subject of the issuer": [change(ra, subject="CN=scepd Devices CA")],
        "no names": [change(tls, names=())],
        "bad name": [change(tls, names=("dns:*.example.net",))],
        "unknown kind of name": [change(tls, names=("upn:x",))],
        "CA below a CA that may have none": [change(sub, path_length=0)],
        "signer of another certificate": [signer(ra, uri=f"{HERE}devices-ra-sign")],
        "no signer": [signer(ra, uri=f"{HERE}nobody")],
        "certificate of the signer missing": [signer(ra, certificate=str(directory / "nowhere.pem"))],
        "signer is no CA": [signer(ra, certificate=str(directory / "devices-ra-sign.pem"))],
        "signed by nobody": [change(ra, signer=None)],
        "request of somebody else's key": [change(sub, key=None, request=csr)],
        "no request": [change(sub, key=None, request="-----BEGIN CERTIFICATE REQUEST-----\n")],
        "the same file twice": [root, change(ra, output=files["root"])],
        "the same key twice": [root, ra],
        "mistake in the last step": [root, change(key(ra, uri=f"{HERE}never-2"), not_after="2020-01-01T00:00:00Z")],
    }


def make_weak_keys(session, directory):
    """Make keys that nothing of ours would make, and a request whose signature is not its key's."""
    plain = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.DERIVE: False, Attribute.UNWRAP: False}
    sign, both = (
        MechanismFlag.SIGN | MechanismFlag.VERIFY,
        MechanismFlag.SIGN | MechanismFlag.VERIFY | MechanismFlag.DECRYPT,
    )
    for number, (label, capabilities, odd) in enumerate(
        (("weak-extractable", sign, {Attribute.EXTRACTABLE: True}), ("weak-both", both, {}))
    ):
        session.generate_keypair(
            KeyType.RSA, 2048, store=True, label=label, id=bytes([9, number]), capabilities=capabilities,
            private_template=plain | odd,
        )  # fmt: skip
    curve = {Attribute.EC_PARAMS: encode_named_curve_parameters("1.2.840.10045.3.1.7")}
    session.create_domain_parameters(KeyType.EC, curve, local=True).generate_keypair(
        store=True,
        label="weak-derive",
        id=b"\x09\x08",
        capabilities=sign,
        private_template=plain | {Attribute.DERIVE: True},
    )
    outside = rsa.generate_private_key(65537, 2048)
    der = outside.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    session.create_object(
        decode_rsa_private_key(der)
        | plain
        | {
            Attribute.TOKEN: True,
            Attribute.PRIVATE: True,
            Attribute.SIGN: True,
            Attribute.LABEL: "weak-imported",
            Attribute.ID: b"\x09\x09",
        }
    )
    info = x509.CertificateSigningRequestBuilder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Root")]))
    csr = bytearray(info.sign(outside, hashes.SHA256()).public_bytes(Encoding.DER))
    csr[-1] ^= 1
    (directory / "bent.csr").write_bytes(x509.load_der_x509_csr(bytes(csr)).public_bytes(Encoding.PEM))


def main():
    directory = Path(sys.argv[1])
    tokens = real_tokens(load_token(directory / "scepd.toml"), None)
    make_weak_keys(tokens.session(None).handle, directory)
    stage = Stage(session=tokens.session, place=Path, write=create, now=NOW, random=os.urandom)
    told = {}
    for name, steps in cases(directory).items():
        try:
            carry_out(Plan(title=name, steps=tuple(steps)), stage)
            told[name] = "DONE"
        except OperatorError as error:
            told[name] = f"{error.problem} / {error.hint}"
        except Reject as reject:
            told[name] = f"{reject.reason.value} {reject.detail}"
        except Exception:  # noqa: BLE001 - shown by the test
            told[name] = f"TRACEBACK {traceback.format_exc()}"
    keys = [row.label for row in list_keys(tokens.session(None))]
    print(json.dumps({"told": told, "keys": keys}))


if __name__ == "__main__":
    main()
