"""Private keys that sign in the token, as cryptography's own classes, so that its builders can use them.

Nobody sees a signature before it verifies: what it stands under would be worthless, and a fault in one half of an RSA
operation gives the key away (Boneh, DeMillo, Lipton, "On the Importance of Checking Cryptographic Protocols for Faults").
"""

from collections.abc import Callable
from typing import Any, Never

import attrs
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.utils import Buffer
from pkcs11 import MGF, Mechanism, exceptions

from scepd.hsm import mechanisms
from scepd.hsm.faults import WrongSignature, signing_fault
from scepd.hsm.token import Session
from scepd.x509.unreadable import Unreadable

# Told the name and the octets of every token call, by tests that compare call sequences.
Recorder = Callable[[str, int], None]

_PSS = {
    "sha1": (Mechanism.SHA_1, MGF.SHA1),
    "sha224": (Mechanism.SHA224, MGF.SHA224),
    "sha256": (Mechanism.SHA256, MGF.SHA256),
    "sha384": (Mechanism.SHA384, MGF.SHA384),
    "sha512": (Mechanism.SHA512, MGF.SHA512),
}

_HASHING = {
    "SHA1": Mechanism.SHA1_RSA_PKCS,
    "SHA256": Mechanism.SHA256_RSA_PKCS,
    "SHA384": Mechanism.SHA384_RSA_PKCS,
    "SHA512": Mechanism.SHA512_RSA_PKCS,
}


@attrs.frozen
class TokenSigner:
    """A private key object of one session, and what it is asked for."""

    session: Session
    key: Any  # pkcs11.PrivateKey with SIGN
    recorder: Recorder | None = None

    def sign(self, data: bytes, mechanism: Mechanism, parameter: Any = None) -> bytes:
        """Return the token's signature over the octets as they are. Raises `TokenFault`."""
        self.session.guard()
        if self.recorder is not None:
            self.recorder(f"C_Sign {mechanism.name}", len(data))
        try:
            with self.session.call("C_Sign"):
                return bytes(self.key.sign(data, mechanism=mechanism, mechanism_param=parameter))
        except exceptions.PKCS11Error as error:
            raise signing_fault(error) from error


class RsaTokenKey(Unreadable, rsa.RSAPrivateKey):
    """An RSA key in the token: PKCS#1 v1.5 and, where the token has CKM_RSA_PKCS_PSS, PSS; hashed on the host."""

    def __init__(self, signer: TokenSigner, public_key: rsa.RSAPublicKey) -> None:
        """Keep the token's key and the public key it was proved to belong to."""
        self._signer = signer
        self._public_key = public_key

    def sign(
        self,
        data: Buffer,
        padding: padding.AsymmetricPadding,
        algorithm: Any,  # hashes.HashAlgorithm or Prehashed
    ) -> bytes:
        """Return the signature (RFC 8017 sections 8.1, 8.2). Raises `TokenFault`; TypeError for another padding."""
        return _verified(self._public_key, self._sign(data, padding, algorithm), bytes(data), padding, algorithm)

    def _sign(self, data: Buffer, padding: padding.AsymmetricPadding, algorithm: Any) -> bytes:
        if padding.name == "EMSA-PKCS1-v1_5" and self.hashes is not None:
            return self._sign_hashing(bytes(data), algorithm)
        name, octets = mechanisms.digest(bytes(data), algorithm)
        if padding.name == "EMSA-PKCS1-v1_5":
            return self._signer.sign(mechanisms.digest_info(name, octets), Mechanism.RSA_PKCS)
        if padding.name != "EMSA-PSS":
            raise TypeError(f"the token signs with PKCS#1 v1.5 or PSS, not {padding.name}")
        return self._sign_pss(name, octets, padding)

    def _sign_hashing(self, data: bytes, algorithm: Any) -> bytes:
        """Let the token hash too: some keys have no operation on a bare DigestInfo."""
        assert self.hashes is not None  # the caller has looked
        name = getattr(algorithm, "name", "prehashed").upper()
        if name not in self.hashes or name not in _HASHING:
            raise TypeError(f"this token signs data with {', '.join(sorted(self.hashes))}, not {name}")
        return self._signer.sign(data, _HASHING[name])

    def _sign_pss(self, name: str, octets: bytes, scheme: Any) -> bytes:
        if not self.supports_pss:
            raise TypeError("this token has no CKM_RSA_PKCS_PSS")
        mgf_name = scheme.mgf._algorithm.name  # noqa: SLF001 - cryptography gives no other way to it
        parameter = (_PSS[name][0], _PSS[mgf_name][1], self._salt_length(len(octets), scheme))
        return self._signer.sign(octets, Mechanism.RSA_PKCS_PSS, parameter)

    def _salt_length(self, digest_size: int, scheme: Any) -> int:
        length = scheme._salt_length  # noqa: SLF001 - cryptography gives no other way to it
        if isinstance(length, int):
            return length
        if length is padding.PSS.DIGEST_LENGTH:
            return digest_size
        return (self._public_key.key_size + 6) // 8 - digest_size - 2  # RFC 8017 section 9.1.1: emLen - hLen - 2

    @property
    def hashes(self) -> frozenset[str] | None:
        """The digests that the token makes itself, None where it signs any that we make (`x509.unreadable.own_hashes`)."""
        return self._signer.session.token.quirks.hashes

    @property
    def supports_pss(self) -> bool:
        """Whether the token pads PSS."""
        return Mechanism.RSA_PKCS_PSS in self._signer.session.token.mechanisms

    @property
    def key_size(self) -> int:
        """Bits of the modulus."""
        return self._public_key.key_size

    def public_key(self) -> rsa.RSAPublicKey:
        """Return the public key."""
        return self._public_key

    def decrypt(self, *_arguments: Any, **_options: Any) -> Never:
        """Refuse: a signing key never decrypts."""
        raise TypeError("a signing key does not decrypt")


class EcTokenKey(Unreadable, ec.EllipticCurvePrivateKey):
    """An EC key in the token: CKM_ECDSA over a digest made on the host."""

    def __init__(self, signer: TokenSigner, public_key: ec.EllipticCurvePublicKey) -> None:
        """Keep the token's key and the public key it was proved to belong to."""
        self._signer = signer
        self._public_key = public_key

    def sign(self, data: Buffer, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """Return the DER Ecdsa-Sig-Value (RFC 3279 section 2.2.3). Raises `TokenFault`."""
        _, octets = mechanisms.digest(bytes(data), signature_algorithm.algorithm)
        raw = self._signer.sign(mechanisms.ecdsa_input(octets, self._public_key.key_size), Mechanism.ECDSA)
        return _verified(self._public_key, mechanisms.ecdsa_der(raw), bytes(data), signature_algorithm)

    @property
    def curve(self) -> ec.EllipticCurve:
        """The curve."""
        return self._public_key.curve

    @property
    def key_size(self) -> int:
        """Bits of the curve's order."""
        return self._public_key.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Return the public key."""
        return self._public_key

    def exchange(self, *_arguments: Any, **_options: Any) -> Never:
        """Refuse: a signing key derives nothing."""
        raise TypeError("a signing key does not derive")


def sign_and_verify(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, data: bytes) -> None:
    """Sign, with whatever key, and verify with its own public key. Raises `TokenFault`: `WrongSignature` among others."""
    arguments = (padding.PKCS1v15(), hashes.SHA256()) if isinstance(key, rsa.RSAPrivateKey) else (ec.ECDSA(hashes.SHA256()),)
    _verified(key.public_key(), key.sign(data, *arguments), data, *arguments)


def _verified(public_key: Any, signature: bytes, *arguments: Any) -> bytes:
    """Return the signature; `arguments` are those of the key's `verify`. Raises `WrongSignature`."""
    try:
        public_key.verify(signature, *arguments)
    except InvalidSignature as error:
        raise WrongSignature from error
    return signature
