"""SoftHSM tokens for tests: prepared once with the three keys of an issuer, copied for every test."""

import functools
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scepd.hsm.generate import generate_ec, generate_rsa
from scepd.hsm.keys import KeyName, open_decryption_key, open_signing_key
from scepd.hsm.module import Module, load_module
from scepd.hsm.pin import PinMemory
from scepd.hsm.token import Token, TokenSettings
from scepd.records import Secret
from tests.tokens import CHOSEN, Made, scratch

SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
LABEL = "test"
PIN = "canary-4711"
SO_PIN = "security-officer"
SECRET = b"a secret of this process, 32 oct"


def configure(directory: Path) -> Path:
    """Write a softhsm2.conf for directory/tokens and select it."""
    (directory / "tokens").mkdir(parents=True, exist_ok=True)
    conf = directory / "softhsm2.conf"
    conf.write_text(
        f"directories.tokendir = {directory}/tokens\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n"
    )
    os.environ["SOFTHSM2_CONF"] = str(conf)
    return conf


def init_token(label: str = LABEL, pin: str = PIN) -> None:
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", SO_PIN],
        check=True,
        capture_output=True,
    )


def certificate_for(public_key, name: str = "key") -> bytes:
    """Return a certificate DER for the public key, issued by nobody in particular."""
    issuer = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public_key)
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(issuer, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )


@attrs.frozen
class Prepared:
    """A directory with a token that holds three keys, and their certificates by label."""

    directory: Path
    certificates: dict[str, bytes]
    made: Made


def prepare(directory: Path) -> Prepared:
    """Make the token that TOKEN chose, with the three keys; SoftHSM's own way is the one that can be copied."""
    if CHOSEN.name != "softhsm2":
        return _prepare_once()
    return _prepare(directory)


@functools.cache
def _prepare_once() -> Prepared:
    """Make it once in a process: p11-kit's client takes the address of its server when it is loaded."""
    return _prepare(scratch("scepd-"))  # the path of a socket is short


def _prepare(directory: Path) -> Prepared:
    made = CHOSEN.make(directory)
    if made is None:
        configure(directory)
        init_token()
        made = Made(Path(SOFTHSM), LABEL, directory / "pin", {})
        made.pin_file.write_text(PIN)
    os.environ.update(made.environment)
    module = load_module(str(made.module))
    session = open_token(module, made).session(writable=True)
    public = {
        "ra-sign": generate_rsa(session, "ra-sign", 2048, "sign"),
        "ra-decrypt": generate_rsa(session, "ra-decrypt", 2048, "decrypt"),
        "ca": generate_ec(session, "ca", "P-256") if CHOSEN.elliptic else generate_rsa(session, "ca", 2048, "sign"),
    }
    module.finalise()
    return Prepared(directory, {label: certificate_for(key, label) for label, key in public.items()}, made)


def open_token(module: Module, made: Made, memory: PinMemory | None = None) -> Token:
    settings = TokenSettings(module.path, made.label)
    return Token.open(module, settings, Secret(made.pin_file.read_text().strip()), memory=memory)


@attrs.define
class Bench:
    """One test's own copy of the prepared token, logged in."""

    directory: Path
    certificates: dict[str, bytes]
    module: Module
    token: Token

    @property
    def settings(self) -> TokenSettings:
        return self.token.settings

    def public_key(self, label: str):
        return x509.load_der_x509_certificate(self.certificates[label]).public_key()

    def signing(self, label: str, *args):
        return open_signing_key(self.token.session(), KeyName(label=label), self.certificates[label], *args)

    def decryption(self, *args):
        name = KeyName(label="ra-decrypt")
        return open_decryption_key(self.token.session(), name, self.certificates["ra-decrypt"], SECRET, *args)

    def hide(self) -> None:
        """Take the token away, as a pulled one."""
        if CHOSEN.name == "softhsm2":
            (self.directory / "tokens").rename(self.directory / "away")
        else:
            CHOSEN.hide(self.directory)

    def bring_back(self) -> None:
        if CHOSEN.name == "softhsm2":
            (self.directory / "away").rename(self.directory / "tokens")
        else:
            CHOSEN.bring_back(self.directory)


def open_bench(prepared: Prepared, directory: Path, path: str | None = None, memory: PinMemory | None = None) -> Bench:
    """Log in to a copy of the prepared token; where tokens cannot be copied, to the prepared one.

    `path`: another module that stands before the token's own.
    """
    if CHOSEN.name == "softhsm2":
        shutil.copytree(prepared.directory / "tokens", directory / "tokens")
        configure(directory)
    else:
        directory = prepared.directory
    module = load_module(path or str(prepared.made.module))
    return Bench(directory, prepared.certificates, module, open_token(module, prepared.made, memory))
