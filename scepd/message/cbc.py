"""Whole blocks in CBC mode, with the ciphers that SCEP knows."""

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import ciphers
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from scepd.message.algorithms import MODERN_CIPHERS, Cipher


def encrypt_blocks(cipher: Cipher, key: bytes, iv: bytes, blocks: bytes) -> bytes:
    """Return whole blocks encrypted; ValueError for anything else."""
    encryptor = _cipher(cipher, key, iv).encryptor()
    return encryptor.update(blocks) + encryptor.finalize()


def decrypt_blocks(cipher: Cipher, key: bytes, iv: bytes, blocks: bytes) -> bytes:
    """Return whole blocks decrypted, their padding still on them; ValueError for anything else."""
    decryptor = _cipher(cipher, key, iv).decryptor()
    return decryptor.update(blocks) + decryptor.finalize()


def _cipher(cipher: Cipher, key: bytes, iv: bytes) -> ciphers.Cipher[CBC]:
    """Return the cipher; single DES is triple DES with its key three times."""
    if cipher in MODERN_CIPHERS:
        return ciphers.Cipher(AES(key), CBC(iv))
    return ciphers.Cipher(TripleDES(key * 3 if cipher is Cipher.DES else key), CBC(iv))
