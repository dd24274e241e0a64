"""The answer to GetCACaps (RFC 8894 section 3.5), computed from what a profile takes."""

from scepd.message.algorithms import Cipher, CryptoPolicy, Digest


def capabilities(policy: CryptoPolicy, *, renewal: bool, next_ca: bool, post: bool = True) -> bytes:
    """Return the keywords, one a line, without a last line break: some clients refuse an empty line.

    SHA-384 is no word of the RFC; strongSwan 5.9.8 picks AES only if it is listed. The single words stand beside
    SCEPStandard because jscep looks for them (C-035). SCEPStandard means what RFC 8894 section 2.9 demands of every
    implementation: AES, SHA-256 and POST (C-034).
    """
    aes = Cipher.AES128 in policy.ciphers
    sha256 = Digest.SHA256 in policy.digests
    words = (
        ("AES", aes),
        ("DES3", Cipher.DES3 in policy.ciphers),
        ("GetNextCACert", next_ca),
        ("POSTPKIOperation", post),
        ("Renewal", renewal),
        ("SHA-1", Digest.SHA1 in policy.digests),
        ("SHA-256", sha256),
        ("SHA-384", Digest.SHA384 in policy.digests),
        ("SHA-512", Digest.SHA512 in policy.digests),
        ("SCEPStandard", aes and sha256 and post),
    )
    return "\n".join(word for word, offered in words if offered).encode()


def parse_capabilities(body: bytes) -> frozenset[str]:
    """Return the keywords of a reply, whatever its line ends; unknown ones stay."""
    return frozenset(word for line in body.decode("ascii", "replace").splitlines() if (word := line.strip()))
