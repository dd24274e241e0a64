"""Which algorithms the SCEP client uses, by what the server announces (RFC 8894 section 3.5.2)."""

import attrs

from scepd.message.algorithms import (
    MODERN_CIPHERS,
    MODERN_DIGESTS,
    OAEP_SHA1,
    OAEP_SHA256,
    PKCS1V15,
    Cipher,
    CryptoPolicy,
    Digest,
    KeyTransport,
)
from scepd.refusal import OperatorError

_STANDARD = "SCEPStandard"
_DIGESTS = (("SHA-256", Digest.SHA256), ("SHA-512", Digest.SHA512), ("SHA-384", Digest.SHA384))
_PASSWORD = "pwri"  # noqa: S105 - the name of a way, RFC 5652 section 6.2.4

# How a content key is encrypted, by the words of --transport; None: with the challenge.
TRANSPORTS: dict[str, KeyTransport | None] = {
    "v1.5": PKCS1V15,
    "oaep-sha1": OAEP_SHA1,
    "oaep-sha256": OAEP_SHA256,
    _PASSWORD: None,
}


@attrs.frozen(kw_only=True)
class Choice:
    """The algorithms and the HTTP method of one transaction; `transport` None encrypts with the challenge."""

    digest: Digest
    cipher: Cipher
    transport: KeyTransport | None = PKCS1V15
    pss: bool = False
    post: bool

    @property
    def policy(self) -> CryptoPolicy:
        """What a reply may use: the modern algorithms, and what was asked for by name."""
        return CryptoPolicy(digests=MODERN_DIGESTS | {self.digest}, ciphers=MODERN_CIPHERS | {self.cipher})


def choose(
    capabilities: frozenset[str],
    *,
    digest: str | None = None,
    cipher: str | None = None,
    transport: str = "v1.5",
    pss: bool = False,
    get: bool = False,
) -> Choice:
    """Return the choice: what was asked for by name, else SHA-256 and AES-128 where announced.

    The list of capabilities is not authenticated: whoever forges it must not bring the client to SHA-1 or DES, so
    those are used only when asked for by name. A server without GetCACaps is tried with the modern ones.
    """
    return Choice(
        digest=Digest[digest.upper()] if digest else _digest(capabilities),
        cipher=Cipher[cipher.upper()] if cipher else _cipher(capabilities),
        transport=TRANSPORTS[transport],
        pss=pss,
        post=not get and bool(capabilities & {"POSTPKIOperation", _STANDARD}),
    )


def _digest(capabilities: frozenset[str]) -> Digest:
    if not capabilities or _STANDARD in capabilities:
        return Digest.SHA256
    for word, digest in _DIGESTS:
        if word in capabilities:
            return digest
    raise OperatorError("the server announces no SHA-2 digest", "--digest sha1, if that is acceptable")


def _cipher(capabilities: frozenset[str]) -> Cipher:
    if not capabilities or capabilities & {"AES", _STANDARD}:
        return Cipher.AES128
    raise OperatorError("the server announces no AES", "--cipher des3, if that is acceptable")
