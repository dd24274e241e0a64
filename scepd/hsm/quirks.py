"""What single tokens need otherwise than the portable subset, as data.

The portable subset: the host hashes; CKM_RSA_PKCS over a DigestInfo, CKM_RSA_PKCS_PSS, CKM_ECDSA over a digest; raw RSA
(CKM_RSA_X_509) for decryption where the token has it, else CKM_RSA_PKCS and the OAEP that a probe finds working.
"""

import attrs


@attrs.frozen
class Quirks:
    """How one kind of token differs; `hashes` name the digests of CKM_SHAn_RSA_PKCS where only these sign.

    `states_usage`: the public half's template may say what the key is for.
    """

    hashes: frozenset[str] | None = None
    states_usage: bool = True


PORTABLE = Quirks()

# By a beginning of the library's own description (C_GetInfo).
_BY_LIBRARY = {
    # A TPM's key that signs and does not decrypt has no bare private-key operation, which CKM_RSA_PKCS would need; and
    # the library takes any word on VERIFY or ENCRYPT in the public template for a contradiction.
    "TPM2.0 Cryptoki": Quirks(
        hashes=frozenset({"SHA1", "SHA256", "SHA384", "SHA512"}),
        states_usage=False,
    ),
}


def quirks_of(library: str) -> Quirks:
    """Return what is known of the tokens of a library, by its description."""
    return next((quirks for beginning, quirks in _BY_LIBRARY.items() if library.startswith(beginning)), PORTABLE)
