"""Which algorithms the SCEP client uses, by what the server announces (RFC 8894 section 3.5.2)."""

from scepd.cli.client_session import Choice
from scepd.message.algorithms import OAEP_SHA1, OAEP_SHA256, PKCS1V15, Cipher, Digest
from scepd.refusal import OperatorError

_STANDARD = "SCEPStandard"
_DIGESTS = (("SHA-256", Digest.SHA256), ("SHA-512", Digest.SHA512), ("SHA-384", Digest.SHA384))
_TRANSPORTS = {None: PKCS1V15, "sha1": OAEP_SHA1, "sha256": OAEP_SHA256}


def choose(
    capabilities: frozenset[str],
    *,
    digest: str | None = None,
    cipher: str | None = None,
    oaep: str | None = None,
    get: bool = False,
) -> Choice:
    """Return the choice: what was asked for by name, else SHA-256 and AES-128 where announced.

    The list of capabilities is not authenticated: whoever forges it must not bring the client to SHA-1 or DES, so
    those are used only when asked for by name. A server without GetCACaps is tried with the modern ones.
    """
    return Choice(
        digest=Digest[digest.upper()] if digest else _digest(capabilities),
        cipher=Cipher[cipher.upper()] if cipher else _cipher(capabilities),
        transport=_TRANSPORTS[oaep],
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
