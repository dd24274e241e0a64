"""Keys in memory behind the protocols of token keys, for tests: any cryptography private key signs as it is."""

from cryptography.hazmat.primitives.asymmetric import rsa

from scepd.hsm.decryption import RsaDecryptionKey
from scepd.hsm.signing import Recorder
from scepd.message.algorithms import KeyTransport


def software_decryption_key(
    private_key: rsa.RSAPrivateKey, fallback_secret: bytes, recorder: Recorder | None = None
) -> RsaDecryptionKey:
    """Return the decryption key of a private key in memory, by plain RSA (RFC 8017 section 5.1.2) in Python.

    Slow, and not in constant time: never with a key that matters.
    """
    numbers = private_key.private_numbers()
    size = (private_key.key_size + 7) // 8

    def operation(ciphertext: bytes, _transport: KeyTransport) -> bytes:
        if recorder is not None:
            recorder("software RSA", len(ciphertext))
        value = int.from_bytes(ciphertext, "big")
        first, second = pow(value, numbers.dmp1, numbers.p), pow(value, numbers.dmq1, numbers.q)
        result = second + numbers.q * ((first - second) * numbers.iqmp % numbers.p)
        return result.to_bytes(size, "big")

    return RsaDecryptionKey(private_key.public_key(), operation, raw=True, secret=fallback_secret)
