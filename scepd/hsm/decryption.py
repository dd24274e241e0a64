"""RA decryption keys: content keys unwrapped with implicit rejection, the same calls for good and bad input."""

from collections.abc import Callable
from typing import Any

import attrs
from cryptography.hazmat.primitives.asymmetric import rsa
from pkcs11 import MGF, Mechanism, exceptions

from scepd.hsm import mechanisms
from scepd.hsm.faults import decryption_fault, describe
from scepd.hsm.signing import Recorder
from scepd.hsm.token import Session
from scepd.message.algorithms import OAEP_SHA1, OAEP_SHA256, PKCS1V15, Digest, KeyTransport
from scepd.refusal import Unavailable

# The bare private-key operation: octets of the modulus' size in, what the token made of them out; b"" where it
# refuses the ciphertext.
PrivateOperation = Callable[[bytes, KeyTransport], bytes]

TRANSPORTS = (PKCS1V15, OAEP_SHA1, OAEP_SHA256)

_OAEP = {
    Digest.SHA1: (Mechanism.SHA_1, MGF.SHA1, None),
    Digest.SHA256: (Mechanism.SHA256, MGF.SHA256, None),
    Digest.SHA384: (Mechanism.SHA384, MGF.SHA384, None),
    Digest.SHA512: (Mechanism.SHA512, MGF.SHA512, None),
}


@attrs.frozen(eq=False)
class RsaDecryptionKey:
    """An RSA key that only unwraps content keys; implements `ports.DecryptionKey`.

    `raw` tells that `operation` is plain RSA, whose result the host unpads; otherwise the token unpads. `transports`
    are those that a probe at opening found working.
    """

    public_key: rsa.RSAPublicKey
    operation: PrivateOperation
    raw: bool
    secret: bytes = attrs.field(repr=False)
    transports: frozenset[KeyTransport] = frozenset(TRANSPORTS)
    _modulus: int = attrs.field(init=False, repr=False)
    _size: int = attrs.field(init=False, repr=False)
    _substitute: bytes = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        """Prepare what depends on the public key: the modulus and the ciphertext that stands in for impossible ones."""
        modulus = self.public_key.public_numbers().n
        size = (self.public_key.key_size + 7) // 8
        number = (
            int.from_bytes(mechanisms.rejection_key(self.secret, b"substitute", 32), "big") + 2
        )  # below any modulus
        object.__setattr__(self, "_modulus", modulus)
        object.__setattr__(self, "_size", size)
        object.__setattr__(self, "_substitute", number.to_bytes(size, "big"))

    def supports(self, transport: KeyTransport) -> bool:
        """Return whether the token can undo this key transport at all."""
        return transport in self.transports

    def unwrap(self, encrypted_key: bytes, transport: KeyTransport, length: int) -> bytes:
        """Return a content key of `length` octets, pseudo-random where anything is wrong with the encrypted one.

        One token call whatever comes in (threats S-10, S-11; the idea of RFC 5246 section 7.4.7.1). Raises
        `TokenFault` and `Unavailable` only for what cannot depend on the padding: a lost session or device, plain RSA
        that fails.
        """
        rejected = mechanisms.rejection_key(self.secret, encrypted_key, length)
        ciphertext, fits = mechanisms.fit_ciphertext(encrypted_key, self._modulus, self._size, self._substitute)
        block = self.operation(ciphertext, transport)
        if self.raw:
            # Some tokens strip the leading zeros of a raw result. A refusal becomes an all-zero block: bad padding.
            key, padded = mechanisms.unpad(block.rjust(self._size, b"\x00"), transport, length)
        else:
            key, padded = block.ljust(length, b"\x00")[:length], len(block) == length
        return mechanisms.choose(fits & padded, key, rejected)


@attrs.frozen
class TokenDecryption:
    """The private-key operation of one key object in one session."""

    session: Session
    key: Any  # pkcs11.PrivateKey with DECRYPT
    raw: bool
    recorder: Recorder | None = None

    def __call__(self, ciphertext: bytes, transport: KeyTransport) -> bytes:
        """Return the token's result, b"" for an error that may speak of the ciphertext.

        Plain RSA has no padding to find fault with, and takes every ciphertext that `fit_ciphertext` lets through: its
        errors speak of the token, and the requester is told to come again. They open no circuit (the timed probe does),
        so that nobody can take the token out of service with a ciphertext. Raises `TokenFault`, `Unavailable`.
        """
        self.session.guard()
        mechanism, parameter = self._mechanism(transport)
        if self.recorder is not None:
            self.recorder(f"C_Decrypt {mechanism.name}", len(ciphertext))
        try:
            with self.session.call("C_Decrypt"):
                return bytes(self.key.decrypt(ciphertext, mechanism=mechanism, mechanism_param=parameter))
        except exceptions.PKCS11Error as error:
            fault = decryption_fault(error)
            if fault is not None:
                raise fault from error
            if self.raw:
                raise Unavailable(f"the token did not decrypt: {describe(error)}", retry_after=1) from error
            return b""

    def _mechanism(self, transport: KeyTransport) -> tuple[Mechanism, Any]:
        if self.raw:
            return Mechanism.RSA_X_509, None
        if transport.oaep is None:
            return Mechanism.RSA_PKCS, None
        return Mechanism.RSA_PKCS_OAEP, _OAEP[transport.oaep]
