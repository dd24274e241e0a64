"""The keys of the SCEP client: the one that is certified, and the one that signs the request."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from scepd.cli.files import PRIVATE, create
from scepd.message.algorithms import Digest
from scepd.message.signature import SigningKey, can_sign
from scepd.records import Name
from scepd.refusal import OperatorError
from scepd.x509.certificate import new_serial
from scepd.x509.names import from_text, to_x509

_CURVES: dict[str, Callable[[], ec.EllipticCurve]] = {
    "ec:P-256": ec.SECP256R1,
    "ec:P-384": ec.SECP384R1,
    "ec:P-521": ec.SECP521R1,
}
_RSA = {f"rsa:{bits}": bits for bits in (2048, 3072, 4096, 8192, 1024)}
KEY_TYPES = (*_RSA, *_CURVES, "ed25519")

_SIGNER_LIFE = timedelta(days=8)  # longer than a week of waiting for an approver


@attrs.frozen
class Signer:
    """What signs a request, and what its reply is encrypted to: a key and its certificate (RFC 8894 section 2.3)."""

    key: SigningKey
    certificate_der: bytes

    @property
    def can_decrypt(self) -> bool:
        """Whether a reply can be encrypted to it; else only a password protects it (RFC 8894 section 3.1)."""
        return isinstance(self.key, rsa.RSAPrivateKey)


def obtain_key(path: Path, kind: str) -> tuple[SigningKey, bool]:
    """Return the key in the file, or generate one of `KEY_TYPES` and keep it there with mode 0600; and whether it is new.

    Raises `OperatorError` for a file that holds no plain RSA, EC or Ed25519 key.
    """
    if path.exists():
        return load_key(path), False
    key = _generate(kind)
    create(path, key_pem(key), PRIVATE)
    return key, True


def _generate(kind: str) -> SigningKey:
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind]())
    if kind in _RSA:
        return rsa.generate_private_key(public_exponent=65537, key_size=_RSA[kind])
    return ed25519.Ed25519PrivateKey.generate()


def key_pem(key: SigningKey) -> bytes:
    """Return the key as PKCS#8 in PEM, not encrypted."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def make_signer(key: SigningKey, subject: Name, serial: int, now: datetime, *, passing: bool = False) -> Signer:
    """Return what signs the request: the key itself with a self-signed certificate.

    With `passing` a throw-away RSA key signs in its place, for servers that encrypt to RSA keys alone.
    """
    signing = rsa.generate_private_key(public_exponent=65537, key_size=2048) if passing else key
    name = to_x509(subject)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(signing.public_key())
        .serial_number(serial)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _SIGNER_LIFE)
        .sign(signing, None if isinstance(signing, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    )
    return Signer(signing, certificate.public_bytes(Encoding.DER))


def make_passing_signer(random: Callable[[int], bytes], now: datetime) -> Signer:
    """Return a throw-away RSA key that asks for what anybody may know."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return make_signer(key, from_text("CN=scepd client"), new_serial(random), now)


def held(certificate_file: Path, key_file: Path) -> Signer:
    """Return a certificate that the device has, the first of its file, and its key.

    Raises `OperatorError` when they do not belong together.
    """
    try:
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
    except (OSError, ValueError) as error:
        raise OperatorError(f"{certificate_file} holds no PEM certificate", "--cert FILE") from error
    key = load_key(key_file)
    if certificate.public_key() != key.public_key():
        raise OperatorError(f"{key_file} is not the key of {certificate_file}", "--key FILE")
    return Signer(key, certificate.public_bytes(Encoding.DER))


def check_digest(key: SigningKey, digest: Digest) -> Digest:
    """Return the digest with which the key signs: for Ed25519 always SHA-512 (RFC 8419); raises `OperatorError`."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return Digest.SHA512
    if not can_sign(key, digest):
        raise OperatorError(f"an EC key cannot sign with {digest.name}", "--digest sha256")
    return digest


def public_key_der(key: SigningKey) -> bytes:
    """Return the SubjectPublicKeyInfo."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def load_key(path: Path) -> SigningKey:
    """Return the private key of a PEM file; raises `OperatorError`."""
    try:
        return parse_key(path.read_bytes(), path)
    except OSError as error:
        raise OperatorError(f"{path} holds no PEM private key", "--key with a new file name makes one") from error


def parse_key(pem: bytes, path: Path) -> SigningKey:
    """Return the private key of a PEM text that came from the file; raises `OperatorError`."""
    try:
        key = load_pem_private_key(pem, None)
    except TypeError as error:
        raise OperatorError(
            f"{path} is encrypted with a passphrase", f"openssl pkey -in {path} -out plain.key"
        ) from error
    except ValueError as error:
        raise OperatorError(f"{path} holds no PEM private key", "--key with a new file name makes one") from error
    if not isinstance(key, SigningKey):
        raise OperatorError(f"{path} holds no RSA, EC or Ed25519 key", "--key with a new file name makes one")
    return key
