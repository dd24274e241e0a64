"""Which of its legacy switches a request needed: what an operator wants to know before switching one off (C-269)."""

from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric import rsa

from scepd.enroll.case import Case
from scepd.message.algorithms import Cipher, Digest
from scepd.refusal import Reject

_DIGESTS = {Digest.MD5: "insecurely_accept_md5", Digest.SHA1: "insecurely_accept_sha1"}
_CIPHERS = {Cipher.DES: "insecurely_accept_des", Cipher.DES3: "insecurely_accept_3des"}
_SMALL = 2048  # bits


def legacy_uses(case: Case) -> tuple[str, ...]:
    """Return the names of the profile's switches without which the request would have been refused."""
    if not case.profile.insecure:
        return ()
    return tuple(switch for switch in _uses(case) if switch in case.profile.insecure)


def _uses(case: Case) -> Iterator[str]:
    if case.message.digest in _DIGESTS:
        yield _DIGESTS[case.message.digest]
    if case.envelope is not None and case.envelope.cipher in _CIPHERS:
        yield _CIPHERS[case.envelope.cipher]
    if case.message.signer is not None and _is_small(case):
        yield "insecurely_accept_small_rsa"


def _is_small(case: Case) -> bool:
    try:
        key = case.signer.public_key()
    except Reject:
        return False
    return isinstance(key, rsa.RSAPublicKey) and key.key_size < _SMALL
