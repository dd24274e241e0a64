"""Renewal: the certificate that signed the request is the credential, judged by clear data before anything is decrypted."""

from scepd.enroll.case import Case
from scepd.enroll.context import Context
from scepd.enroll.recall import answer_again
from scepd.enroll.succession import generations
from scepd.message.csr import CertificationRequest
from scepd.message.names import MessageType
from scepd.profile.model import RenewalRule
from scepd.records import Answered, Certificate, CertificateState
from scepd.refusal import Reason, Reject
from scepd.x509.keys import spki_digest


def find_previous(context: Context, case: Case) -> Certificate | None:
    """Return the issued certificate that signed the request, exactly these octets; None where it is none of ours.

    Not a chain but the row decides (threats S-42): another CA with our name, an RA or TLS certificate has none.
    Raises Reject(renewal_signer_altered) where the row of that issuer and serial holds other octets (C-178).
    """
    signer = case.signer
    if signer.self_issued:
        return None
    rows = [
        row
        for name, issuer in context.issuers.items()
        if issuer.certificate.subject_der == signer.issuer_der
        and (row := context.store.certificate(name, signer.serial)) is not None
        and row.der is not None
    ]
    for row in rows:
        if row.der == signer.der:
            return row
    if rows:
        raise Reject(Reason.renewal_signer_altered, f"certificate {signer.serial:x} was issued with other octets")
    return None


def previous_of(context: Context, case: Case) -> Certificate | None:
    """Return the certificate that this request renews, judged; None for a first request.

    A RenewalReq is nothing else (C-186, threats S-50). A PKCSReq is one where the profile takes such renewals and a
    certificate of ours signed it (C-184); it is then judged by these rules alone.
    """
    rule = case.profile.renewal
    if case.message_type == MessageType.RenewalReq:
        if rule is None:
            raise Reject(Reason.renewal_disabled, "the profile renews nothing")
        previous = find_previous(context, case)
        if previous is None:
            raise Reject(Reason.renewal_signer_unknown, "signed by no certificate that was issued here")
    elif rule is None or not rule.by_pkcsreq:
        return None
    else:
        previous = find_previous(context, case)
        if previous is None:
            return None
    _judge(context, case, rule, previous)
    case.subject = previous.subject
    case.trail.step("renewing", f"certificate {previous.serial:x}")
    return previous


def _judge(context: Context, case: Case, rule: RenewalRule, previous: Certificate) -> None:
    if previous.issuer not in {*generations(case.profile.issuer, context.successions), *rule.issuers}:
        raise Reject(Reason.renewal_signer_unknown, f"issued by {previous.issuer}, which this profile does not renew")
    if previous.profile not in {case.profile.name, *rule.profiles}:
        raise Reject(Reason.renewal_other_profile, f"issued under profile {previous.profile}")
    if previous.state is not CertificateState.ISSUED:
        raise Reject(Reason.renewal_signer_revoked, f"certificate {previous.serial:x} is {previous.state.value}")
    now = context.clock.now()
    if now < previous.not_before or now > previous.not_after + rule.grace:
        raise Reject(Reason.renewal_signer_expired, f"valid {previous.not_before} to {previous.not_after}")
    earliest = previous.not_before + (previous.not_after - previous.not_before) * rule.earliest
    if now < earliest:
        raise Reject(Reason.renewal_too_early, f"not before {earliest:%Y-%m-%d %H:%M:%S}Z")
    _judge_line(context, rule, previous)


def _judge_line(context: Context, rule: RenewalRule, previous: Certificate) -> None:
    """Refuse endless renewal (C-187, threats S-49)."""
    renewals = 0 if previous.lineage is None else previous.lineage.renewals
    first = previous.not_before if previous.lineage is None else previous.lineage.first_issued
    if rule.most is not None and renewals >= rule.most:
        raise Reject(Reason.renewal_exhausted, f"renewed {renewals} times")
    if rule.longest is not None and context.clock.now() - first > rule.longest:
        raise Reject(Reason.renewal_exhausted, f"of a line that began {first:%Y-%m-%d}")


def judge_key(context: Context, case: Case, previous: Certificate, public_key: bytes) -> None:
    """Raise `Reject` for a key that may not renew: the old one where a new is due, or one that another certificate has.

    `public_key` is the SHA-256 of the request's SubjectPublicKeyInfo (C-171, threats S-48).
    """
    rule = case.profile.renewal
    if public_key == previous.public_key:
        if rule is not None and not rule.same_key:
            raise Reject(Reason.renewal_key_unchanged, "the profile wants a new key")
    elif context.store.is_key_certified(public_key, context.clock.now(), besides=previous.id):
        raise Reject(Reason.renewal_key_taken, "another live certificate has the key")


def answer_renewed(context: Context, case: Case, csr: CertificationRequest, previous: Certificate) -> Answered | None:
    """Return the answer of the renewal that a certificate has had; whoever comes with another key may hold a stolen one.

    None where it was never renewed. Raises Reject(renewal_superseded) and leaves an audit row (threats S-49).
    """
    successor = context.store.successor(previous.id)
    if successor is None:
        return None
    if successor.public_key == spki_digest(csr.spki_der) and successor.transaction is not None:
        transaction = context.store.transaction(successor.transaction)
        assert transaction is not None  # a foreign key
        return answer_again(context, transaction, csr.wishes)
    context.store.suspect_clone(previous.id, case.key, case.origin.address)
    raise Reject(Reason.renewal_superseded, f"certificate {previous.serial:x} has been renewed with another key")
