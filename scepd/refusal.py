"""Why a request is refused: the closed list of reasons, and what each becomes on the wire."""

import enum
from collections.abc import Mapping
from types import MappingProxyType


class FailInfo(enum.IntEnum):
    """The failInfo values of RFC 8894 section 3.2.1.4."""

    badAlg = 0
    badMessageCheck = 1
    badRequest = 2
    badTime = 3
    badCertId = 4


class Reason(enum.Enum):
    """Every cause of a refusal: metric label, log field, audit word; `FailInfo` and text follow from `WIRE`."""

    # Decided from clear data.
    algorithm_unsupported = "algorithm_unsupported"
    signer_key_refused = "signer_key_refused"
    signature_invalid = "signature_invalid"
    signer_missing = "signer_missing"
    signed_attributes_invalid = "signed_attributes_invalid"
    message_type_unsupported = "message_type_unsupported"
    envelope_missing = "envelope_missing"
    envelope_invalid = "envelope_invalid"
    recipient_unknown = "recipient_unknown"
    signing_time_refused = "signing_time_refused"
    reply_unprotectable = "reply_unprotectable"
    password_parameters_refused = "password_parameters_refused"  # noqa: S105 - a reason
    lookup_disabled = "lookup_disabled"
    issuer_superseded = "issuer_superseded"
    renewal_disabled = "renewal_disabled"
    renewal_signer_unknown = "renewal_signer_unknown"
    renewal_signer_altered = "renewal_signer_altered"
    renewal_signer_expired = "renewal_signer_expired"
    renewal_signer_revoked = "renewal_signer_revoked"
    renewal_other_profile = "renewal_other_profile"
    renewal_too_early = "renewal_too_early"
    renewal_exhausted = "renewal_exhausted"
    # Decided from decrypted bytes, before the requester has proved that it wrote them: one uniform answer.
    decryption_failed = "decryption_failed"
    content_malformed = "content_malformed"
    csr_signature_invalid = "csr_signature_invalid"
    signer_mismatch = "signer_mismatch"
    password_unknown = "password_unknown"  # noqa: S105 - a reason
    renewal_names_changed = "renewal_names_changed"
    # A lookup proves nothing of its writer: whatever is wrong with its content has one answer of its own.
    lookup_unreadable = "lookup_unreadable"
    certificate_unknown = "certificate_unknown"
    # Decided after that proof.
    csr_algorithm_refused = "csr_algorithm_refused"
    csr_invalid = "csr_invalid"
    key_refused = "key_refused"
    challenge_missing = "challenge_missing"
    challenge_invalid = "challenge_invalid"
    challenge_malformed = "challenge_malformed"
    challenge_version_unknown = "challenge_version_unknown"
    challenge_signature_invalid = "challenge_signature_invalid"
    challenge_wrong_audience = "challenge_wrong_audience"
    challenge_not_yet_valid = "challenge_not_yet_valid"
    challenge_expired = "challenge_expired"
    challenge_replayed = "challenge_replayed"
    challenge_not_for_request = "challenge_not_for_request"
    challenge_device_limit = "challenge_device_limit"
    challenge_backend_denied = "challenge_backend_denied"
    compliance_denied = "compliance_denied"
    client_certificate_missing = "client_certificate_missing"
    client_certificate_refused = "client_certificate_refused"
    identity_limit = "identity_limit"
    profile_disabled = "profile_disabled"
    subject_refused = "subject_refused"
    name_refused = "name_refused"
    extension_refused = "extension_refused"
    lint_failed = "lint_failed"
    validity_exhausted = "validity_exhausted"
    transaction_conflict = "transaction_conflict"
    transaction_unknown = "transaction_unknown"
    certificate_revoked = "certificate_revoked"
    rejected_by_approver = "rejected_by_approver"
    request_expired = "request_expired"
    pending_full = "pending_full"
    name_taken = "name_taken"
    key_taken = "key_taken"
    renewal_key_unchanged = "renewal_key_unchanged"
    renewal_key_taken = "renewal_key_taken"
    renewal_superseded = "renewal_superseded"
    interrupted = "interrupted"


_UNIFORM = (FailInfo.badRequest, "request refused")
_NO_CERTIFICATE = (FailInfo.badCertId, "no such certificate")

WIRE: Mapping[Reason, tuple[FailInfo, str]] = MappingProxyType(
    {
        Reason.algorithm_unsupported: (FailInfo.badAlg, "algorithm not accepted"),
        Reason.signer_key_refused: (FailInfo.badAlg, "signer key not accepted"),
        Reason.signature_invalid: (FailInfo.badMessageCheck, "message signature invalid"),
        Reason.signer_missing: (FailInfo.badMessageCheck, "signer certificate missing or ambiguous"),
        Reason.signed_attributes_invalid: (FailInfo.badMessageCheck, "signed attributes invalid"),
        Reason.message_type_unsupported: (FailInfo.badRequest, "message type not supported"),
        Reason.envelope_missing: (FailInfo.badRequest, "encrypted content missing"),
        Reason.envelope_invalid: (FailInfo.badRequest, "encrypted content malformed"),
        Reason.recipient_unknown: (FailInfo.badRequest, "not encrypted to this server"),
        Reason.signing_time_refused: (FailInfo.badTime, "signing time not accepted"),
        Reason.reply_unprotectable: (FailInfo.badRequest, "no encryption method for this key"),
        Reason.password_parameters_refused: (FailInfo.badAlg, "password encryption parameters not accepted"),
        Reason.lookup_disabled: (FailInfo.badRequest, "lookup not enabled"),
        Reason.issuer_superseded: (FailInfo.badRequest, "CA certificate superseded"),
        Reason.renewal_disabled: (FailInfo.badRequest, "renewal not enabled"),
        Reason.renewal_signer_unknown: (FailInfo.badRequest, "signer certificate not known"),
        Reason.renewal_signer_altered: (FailInfo.badMessageCheck, "signer certificate is not the one issued"),
        Reason.renewal_signer_expired: (FailInfo.badRequest, "signer certificate not valid now"),
        Reason.renewal_signer_revoked: (FailInfo.badRequest, "signer certificate revoked"),
        Reason.renewal_other_profile: (FailInfo.badRequest, "signer certificate of another profile"),
        Reason.renewal_too_early: (FailInfo.badRequest, "renewal too early"),
        Reason.renewal_exhausted: (FailInfo.badRequest, "renewed as often as allowed"),
        Reason.decryption_failed: _UNIFORM,
        Reason.content_malformed: _UNIFORM,
        Reason.csr_signature_invalid: _UNIFORM,
        Reason.signer_mismatch: _UNIFORM,
        Reason.password_unknown: _UNIFORM,
        Reason.renewal_names_changed: _UNIFORM,
        Reason.lookup_unreadable: _NO_CERTIFICATE,
        Reason.certificate_unknown: _NO_CERTIFICATE,
        Reason.csr_algorithm_refused: (FailInfo.badAlg, "request algorithm not accepted"),
        Reason.csr_invalid: (FailInfo.badRequest, "certification request not accepted"),
        Reason.key_refused: (FailInfo.badRequest, "key rejected"),
        Reason.challenge_missing: (FailInfo.badRequest, "challenge rejected"),
        Reason.challenge_invalid: (FailInfo.badRequest, "challenge rejected"),
        Reason.challenge_malformed: (FailInfo.badRequest, "challenge rejected"),
        Reason.challenge_version_unknown: (FailInfo.badRequest, "challenge rejected"),
        Reason.challenge_signature_invalid: (FailInfo.badRequest, "challenge rejected"),
        Reason.challenge_wrong_audience: (FailInfo.badRequest, "challenge rejected"),
        Reason.challenge_not_yet_valid: (FailInfo.badRequest, "challenge rejected"),
        Reason.challenge_expired: (FailInfo.badRequest, "challenge rejected"),
        Reason.challenge_replayed: (FailInfo.badRequest, "challenge rejected"),
        Reason.challenge_not_for_request: (FailInfo.badRequest, "challenge rejected"),
        Reason.challenge_device_limit: (FailInfo.badRequest, "challenge rejected"),
        Reason.challenge_backend_denied: (FailInfo.badRequest, "challenge rejected"),
        Reason.compliance_denied: (FailInfo.badRequest, "device not compliant"),
        Reason.client_certificate_missing: (FailInfo.badRequest, "client certificate missing"),
        Reason.client_certificate_refused: (FailInfo.badRequest, "client certificate not accepted"),
        Reason.identity_limit: (FailInfo.badRequest, "too many active certificates"),
        Reason.profile_disabled: (FailInfo.badRequest, "profile not enabled"),
        Reason.subject_refused: (FailInfo.badRequest, "subject not allowed"),
        Reason.name_refused: (FailInfo.badRequest, "subject alternative name not allowed"),
        Reason.extension_refused: (FailInfo.badRequest, "extension not allowed"),
        Reason.lint_failed: (FailInfo.badRequest, "certificate would be invalid"),
        Reason.validity_exhausted: (FailInfo.badRequest, "issuer expires too soon"),
        Reason.transaction_conflict: (FailInfo.badRequest, "transaction already used for another request"),
        Reason.transaction_unknown: (FailInfo.badCertId, "no such transaction"),
        Reason.certificate_revoked: (FailInfo.badRequest, "certificate revoked"),
        Reason.rejected_by_approver: (FailInfo.badRequest, "request rejected"),
        Reason.request_expired: (FailInfo.badRequest, "request expired"),
        Reason.pending_full: (FailInfo.badRequest, "too many requests wait for approval"),
        Reason.name_taken: (FailInfo.badRequest, "subject already in use"),
        Reason.key_taken: (FailInfo.badRequest, "key already certified"),
        Reason.renewal_key_unchanged: (FailInfo.badRequest, "renewal needs a new key"),
        Reason.renewal_key_taken: (FailInfo.badRequest, "key already certified"),
        Reason.renewal_superseded: (FailInfo.badRequest, "certificate already renewed"),
        Reason.interrupted: (FailInfo.badRequest, "request could not be completed"),
    },
)


# What somebody hears who guesses at a challenge.
WRONG_CHALLENGE = frozenset(
    {
        Reason.challenge_invalid,
        Reason.challenge_malformed,
        Reason.challenge_version_unknown,
        Reason.challenge_signature_invalid,
        Reason.challenge_wrong_audience,
        Reason.challenge_not_yet_valid,
        Reason.challenge_expired,
        Reason.challenge_replayed,
        Reason.challenge_not_for_request,
        Reason.challenge_backend_denied,
    }
)


class Reject(Exception):  # noqa: N818 - the house's word for a protocol refusal
    """A request is refused: `reason` decides the wire answer, `detail` goes to log and trail only."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        """Keep the closed reason and the operator's detail (never a secret)."""
        super().__init__(reason.value, detail)
        self.reason = reason
        self.detail = detail

    @property
    def fail_info(self) -> FailInfo:
        """The failInfo of the CertRep."""
        return WIRE[self.reason][0]

    @property
    def fail_info_text(self) -> str:
        """The fixed failInfoText of the CertRep (RFC 8894 section 3.2.1.4)."""
        return WIRE[self.reason][1]


class Unavailable(Exception):  # noqa: N818 - a state of ours, not an error of the caller
    """We cannot answer now (token, store, overload): HTTP 503 with Retry-After, never a FAILURE to the device."""

    def __init__(self, cause: str, retry_after: int = 5) -> None:
        """Keep the cause (for the log) and the seconds after which a retry makes sense."""
        super().__init__(cause)
        self.cause = cause
        self.retry_after = retry_after


class OperatorError(Exception):
    """Something the operator must mend: what is wrong, and a command or configuration line to try."""

    def __init__(self, problem: str, hint: str) -> None:
        """Keep both halves of the message."""
        super().__init__(f"{problem}\n  try: {hint}")
        self.problem = problem
        self.hint = hint
