"""What Intune's codes mean (IntuneScepServiceException in Microsoft's library), and the numbers that we report to it."""

import binascii
from collections.abc import Mapping
from types import MappingProxyType

from scepd.refusal import Reason, Reject

SUCCESS = "Success"

# Code → the reason of the refusal, and what the operator reads beside the code.
CODES: Mapping[str, tuple[Reason, str]] = MappingProxyType(
    {
        "Unknown": (Reason.challenge_backend_denied, "Intune gave no cause"),
        "CertificateRequestDecodingFailed": (Reason.csr_invalid, "Intune could not read the request"),
        "ChallengePasswordMissing": (Reason.challenge_missing, "the request carries no challenge"),
        "ChallengeDeserializationError": (Reason.challenge_invalid, "the challenge is none of Intune's"),
        "ChallengeDecryptionError": (Reason.challenge_invalid, "the challenge was made for another tenant or key"),
        "ChallengeDecodingError": (Reason.challenge_invalid, "the challenge is none of Intune's"),
        "ChallengeInvalidTimestamp": (Reason.challenge_expired, "the challenge has no time that can be believed"),
        "ChallengeExpired": (Reason.challenge_expired, "the challenge is older than an hour: let the device sync again"),
        "SubjectNameMissing": (Reason.subject_refused, "the SCEP profile wants a subject"),
        "SubjectNameMismatch": (Reason.subject_refused, "not the subject of the SCEP profile"),
        "SubjectAltNameMissing": (Reason.name_refused, "the SCEP profile wants alternative names"),
        "SubjectAltNameMismatch": (Reason.name_refused, "not the alternative names of the SCEP profile"),
        "KeyUsageMismatch": (Reason.extension_refused, "not the key usage of the SCEP profile"),
        "KeyLengthMismatch": (Reason.key_refused, "not the key length of the SCEP profile"),
        "EnhancedKeyUsageMissing": (Reason.extension_refused, "the SCEP profile wants an extended key usage"),
        "EnhancedKeyUsageMismatch": (Reason.extension_refused, "not the extended key usage of the SCEP profile"),
        "AadKeyIdentifierListMissing": (Reason.challenge_not_for_request, "the device registered no key"),
        "RegisteredKeyMismatch": (Reason.challenge_not_for_request, "not the key that the device registered"),
        "SigningCertThumbprintMismatch": (Reason.challenge_not_for_request, "signed by another certificate"),
        "ScepProfileNoLongerTargetedToTheClient": (
            Reason.challenge_not_for_request,
            "the SCEP profile is no longer assigned to the device",
        ),
        "SignatureValidationFailed": (Reason.challenge_invalid, "the challenge's signature is wrong"),
        "BadCertificateRequestIdInChallenge": (Reason.challenge_not_for_request, "the challenge names another request"),
        "BadDeviceIdInChallenge": (Reason.challenge_not_for_request, "the challenge names another device"),
        "BadUserIdInChallenge": (Reason.challenge_not_for_request, "the challenge names another user"),
    }
)

# Whoever presents these has a challenge of some other method.
NOT_OURS = frozenset({"ChallengeDeserializationError", "ChallengeDecodingError"})

_HRESULT = 0xA004_0000  # failure, ours and not Microsoft's, facility of interfaces ([MS-ERREF] section 2.1)


def refusal_of(code: str) -> Reject:
    """Return what a code other than Success refuses with; one that is not known is a no, too."""
    if code in CODES:
        reason, words = CODES[code]
        return Reject(reason, f"Intune: {code}: {words}")
    shown = code if code.isascii() and code.isalnum() and len(code) <= 64 else "an unreadable code"
    return Reject(Reason.challenge_backend_denied, f"Intune: {shown}: not a code that is known here")


def hresult_of(reason: str) -> int:
    """Return the number that Intune's console shows for a reason: the same in every release, whatever the order."""
    return _HRESULT | binascii.crc_hqx(reason.encode(), 0)
