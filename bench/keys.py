"""The pool of client keys: kept in a file, since making them takes longer than a run."""

import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bench.report import say

POOL = 256
_END = b"-----END PRIVATE KEY-----\n"


def key_pool(path: Path | None, size: int = POOL) -> list[rsa.RSAPrivateKey]:
    """Return `size` RSA-2048 keys, from the file where it has them; they are worth nothing to anybody."""
    keys = _read(path)[:size] if path is not None and path.exists() else []
    if len(keys) < size:
        say(f"making {size - len(keys)} client keys (once)")
        keys += [rsa.generate_private_key(65537, 2048) for _ in range(size - len(keys))]
        if path is not None:
            _write(path, keys)
    return keys


def _read(path: Path) -> list[rsa.RSAPrivateKey]:
    blocks = path.read_bytes().split(_END)
    keys = [
        serialization.load_pem_private_key(block + _END, None, unsafe_skip_rsa_key_validation=True)
        for block in blocks
        if block.strip()
    ]
    return [key for key in keys if isinstance(key, rsa.RSAPrivateKey)]


def _write(path: Path, keys: list[rsa.RSAPrivateKey]) -> None:
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    partial = path.with_name(path.name + ".new")
    with os.fdopen(os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
        file.writelines(key.private_bytes(*form) for key in keys)
    partial.rename(path)
