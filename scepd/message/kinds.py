"""Of which kind a key is: asked of its class once, since cryptography's key classes are abstract and slow to ask."""

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

if TYPE_CHECKING:
    from typing_extensions import TypeIs

_is_one: Callable[[type, type], bool] = lru_cache(maxsize=256)(issubclass)


def is_rsa(key: object) -> "TypeIs[rsa.RSAPublicKey]":
    """Return whether it is a public RSA key."""
    return _is_one(type(key), rsa.RSAPublicKey)


def is_ec(key: object) -> "TypeIs[ec.EllipticCurvePublicKey]":
    """Return whether it is a public key on a curve."""
    return _is_one(type(key), ec.EllipticCurvePublicKey)


def is_ed25519(key: object) -> "TypeIs[ed25519.Ed25519PublicKey]":
    """Return whether it is a public Ed25519 key."""
    return _is_one(type(key), ed25519.Ed25519PublicKey)


def is_private_rsa(key: object) -> "TypeIs[rsa.RSAPrivateKey]":
    """Return whether it is a private RSA key, in memory or in a token."""
    return _is_one(type(key), rsa.RSAPrivateKey)


def is_private_ec(key: object) -> "TypeIs[ec.EllipticCurvePrivateKey]":
    """Return whether it is a private key on a curve, in memory or in a token."""
    return _is_one(type(key), ec.EllipticCurvePrivateKey)


def is_private_ed25519(key: object) -> "TypeIs[ed25519.Ed25519PrivateKey]":
    """Return whether it is a private Ed25519 key."""
    return _is_one(type(key), ed25519.Ed25519PrivateKey)
