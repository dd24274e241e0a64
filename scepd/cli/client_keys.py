"""The keys of the SCEP client: the one that is certified, and the one that signs the request."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from scepd.cli.files import PRIVATE, create
from scepd.records import Name
from scepd.refusal import OperatorError
from scepd.x509.names import to_x509

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

CURVES: dict[str, Callable[[], ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1,
    "P-384": ec.SECP384R1,
    "P-521": ec.SECP521R1,
}

_SIGNER_LIFE = timedelta(days=8)  # longer than a week of waiting for an approver


@attrs.frozen
class Signer:
    """What signs a request and decrypts its reply: an RSA key and a self-signed certificate (RFC 8894 section 2.3)."""

    key: rsa.RSAPrivateKey
    certificate_der: bytes


def obtain_key(path: Path, *, bits: int, curve: str | None) -> tuple[PrivateKey, bool]:
    """Return the key in the file, or generate one and keep it there with mode 0600; and whether it is new.

    Raises `OperatorError` for a file that holds no plain RSA or EC key.
    """
    if path.exists():
        return _load(path), False
    key: PrivateKey
    if curve is None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    else:
        key = ec.generate_private_key(CURVES[curve]())
    create(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), PRIVATE)
    return key, True


def make_signer(key: PrivateKey, subject: Name, serial: int, now: datetime) -> Signer:
    """Return what signs the request: the key itself, or for an EC key a throw-away RSA key.

    The reply is encrypted to the signer, and an EC key cannot take it (RFC 8894 section 3.1).
    """
    signing = (
        key if isinstance(key, rsa.RSAPrivateKey) else rsa.generate_private_key(public_exponent=65537, key_size=2048)
    )
    name = to_x509(subject)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(signing.public_key())
        .serial_number(serial)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _SIGNER_LIFE)
        .sign(signing, hashes.SHA256())
    )
    return Signer(signing, certificate.public_bytes(Encoding.DER))


def public_key_der(key: PrivateKey) -> bytes:
    """Return the SubjectPublicKeyInfo."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _load(path: Path) -> PrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except TypeError as error:
        raise OperatorError(
            f"{path} is encrypted with a passphrase", f"openssl pkey -in {path} -out plain.key"
        ) from error
    except (OSError, ValueError) as error:
        raise OperatorError(f"{path} holds no PEM private key", "--key with a new file name makes one") from error
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise OperatorError(f"{path} holds neither an RSA nor an EC key", "--key with a new file name makes one")
    return key
