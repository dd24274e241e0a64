"""Who wrote the plaintext: until that is proved, every refusal of what was decrypted is the same (threats S-06, S-10)."""

from scepd.enroll.case import Asking, Case
from scepd.enroll.context import Context
from scepd.message.csr import CertificationRequest, parse_csr
from scepd.profile.model import Profile
from scepd.profile.renewal import has_subject_of
from scepd.records import Certificate
from scepd.refusal import Reason, Reject
from scepd.x509.keys import check_public_key, load_public_key, spki_digest, verify_csr
from scepd.x509.names import to_text


def prove_possession(context: Context, case: Case, csr: CertificationRequest) -> None:
    """Hold a first request against its signer: one key signed both, the request and the message around it."""
    # The envelope is not authenticated to its writer: whoever re-wraps another's request holds another key.
    if csr.spki_der != case.signer.spki_der:
        raise Reject(Reason.signer_mismatch, "the signer's key is not the request's key")
    verify_csr(csr, case.profile.csr_crypto)
    case.subject = to_text(csr.subject)
    csr.check()
    check_key(context, case, csr, digest=case.key.requester)


def prove_renewal(context: Context, case: Case, csr: CertificationRequest, previous: Certificate) -> None:
    """Hold a renewal against the certificate that signed it: the same subject, and the new key's own signature (C-183).

    The message is signed by the old key, so that the names are what binds the request to its signer.
    """
    if not has_subject_of(case.profile, csr, previous.subject):
        raise Reject(Reason.renewal_names_changed, f"the request is for {to_text(csr.subject)!r}")
    verify_csr(csr, case.profile.csr_crypto)
    csr.check()
    check_key(context, case, csr, digest=spki_digest(csr.spki_der))


def read_request(profile: Profile, der: bytes) -> CertificationRequest:
    """Return a PKCS#10, read as the profile says; raises Reject(content_malformed)."""
    return parse_csr(der, verisign=profile.verisign_extension_request, longest_challenge=profile.longest_challenge)


def check_key(context: Context, asking: Asking, csr: CertificationRequest, *, digest: bytes) -> None:
    """Hold the request's key against the profile's key policy, our own keys, the block list, and what was revoked."""
    key = load_public_key(csr.spki_der)
    check_public_key(key, asking.profile.keys, forbidden=context.forbidden_keys, digest=digest)
    require_unlisted(context, csr.spki_der)
    if context.store.is_key_blocked(digest):
        raise Reject(Reason.key_refused, "a certificate of the key was revoked as compromised, withdrawn or held")
    asking.trail.step("possession")


def require_unlisted(context: Context, spki_der: bytes) -> None:
    """Raise Reject(key_refused) for a key on the appliance's block list (threats S-28)."""
    if context.blocked_keys is not None:
        context.blocked_keys.check(spki_der)
