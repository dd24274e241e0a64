"""The one page: how a PKIMessage becomes an outcome, straight down, the same for every request."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from cryptography.hazmat.primitives.asymmetric import rsa

from scepd.enroll.authorize import Authorization, authorize_by_challenge
from scepd.enroll.case import Case
from scepd.enroll.context import Context
from scepd.enroll.envelope import read_envelope
from scepd.enroll.poll import poll
from scepd.enroll.recall import answer_again, finish, is_over, recall
from scepd.message.algorithms import PKCS1V15
from scepd.message.csr import CertificationRequest, parse_csr
from scepd.message.enveloped import decrypt_content
from scepd.message.names import MessageType
from scepd.message.request import verify_message
from scepd.ports import SerialTaken
from scepd.records import Intent, Outcome, Transaction
from scepd.refusal import Reason, Reject
from scepd.x509.keys import check_public_key, load_public_key, verify_csr
from scepd.x509.names import to_text

_SERIAL_ATTEMPTS = 3


def decide(context: Context, case: Case) -> Outcome:
    """Return the outcome of a parsed PKIMessage; every refusal is a `Reject`.

    The order is fixed: algorithms and signature from clear data, then the message type, then the envelope; what
    depends on decrypted bytes is refused uniformly until the requester has proved that it wrote them.
    """
    verify_message(case.message, case.profile.crypto)
    case.trail.step("verified")
    handler = HANDLERS.get(case.message.message_type)
    if handler is None:
        raise Reject(Reason.message_type_unsupported, f"messageType {case.message.message_type}")
    _refuse_unprotectable_reply(case)
    return handler(context, case)


def _refuse_unprotectable_reply(case: Case) -> None:
    # RFC 8894 section 3.1: a key that cannot encrypt leaves only the challenge password to protect the reply.
    if not isinstance(case.signer.public_key(), rsa.RSAPublicKey):
        raise Reject(Reason.reply_unprotectable, "the signer's key cannot encrypt")


def _decrypt(context: Context, case: Case) -> bytes:
    """Return the messageData; only for types whose content then proves who wrote it."""
    envelope, recipient, key = read_envelope(context, case)
    content_key = key.unwrap(recipient.encrypted_key, recipient.transport or PKCS1V15, envelope.cipher.key_size)
    plaintext = decrypt_content(envelope, content_key)
    case.trail.step("decrypted")
    return plaintext


def enrol(context: Context, case: Case) -> Outcome:
    """PKCSReq (RFC 8894 section 3.3.1): possession, recall, authorization, issue."""
    csr = parse_csr(_decrypt(context, case), verisign=case.profile.verisign_extension_request)
    _prove_possession(context, case, csr)
    known = recall(context, case.key, csr.wishes)
    if known is not None:
        return known
    authorization = authorize_by_challenge(context, case.profile, csr)
    case.trail.step("authorized", authorization.identity.method)
    return issue(context, case, csr, authorization)


def _prove_possession(context: Context, case: Case, csr: CertificationRequest) -> None:
    # The envelope is not authenticated to its writer: whoever re-wraps another's request holds another key.
    if csr.spki_der != case.signer.spki_der:
        raise Reject(Reason.signer_mismatch, "the signer's key is not the request's key")
    verify_csr(csr, case.profile.csr_crypto)
    case.subject = to_text(csr.subject)
    csr.check()
    check_public_key(
        load_public_key(csr.spki_der), case.profile.keys, forbidden=context.forbidden_keys, digest=case.key.requester
    )
    case.trail.step("possession")


def issue(context: Context, case: Case, csr: CertificationRequest, authorization: Authorization) -> Outcome:
    """Draft, lint, record the intent, sign in the token, verify, record the certificate.

    After the intent is durable only its stored draft is ever signed, here or by `recover`.
    """
    transaction, created = _claim(context, case, csr, authorization)
    if not created:
        if is_over(context, transaction):
            raise Reject(Reason.challenge_replayed, f"the challenge was used for transaction {transaction.id}")
        return answer_again(context, transaction, csr.wishes)
    context.owes = True
    case.trail.step("intent")
    context.checkpoint("after_intent")
    finished = finish(context, transaction, case.trail)
    context.owes = False
    return finished


def _claim(
    context: Context,
    case: Case,
    csr: CertificationRequest,
    authorization: Authorization,
) -> tuple[Transaction, bool]:
    for _attempt in range(_SERIAL_ATTEMPTS):
        intent = _intent(context, case, csr, authorization)
        context.checkpoint("before_intent")
        try:
            return context.store.claim(intent)
        except SerialTaken:
            continue
    raise RuntimeError("the random source repeats itself")


def _intent(context: Context, case: Case, csr: CertificationRequest, authorization: Authorization) -> Intent:
    issuer = context.issuers[case.profile.issuer]
    template = authorization.template
    now = context.clock.now()
    serial, draft = issuer.draft(template, csr.spki_der, now=now, random=context.random)
    case.trail.step("drafted")
    return Intent(
        key=case.key,
        message_type=case.message.message_type,
        issuer=issuer.name,
        serial=serial,
        draft_der=draft.der,
        csr_der=csr.without_challenge_der,
        csr_fingerprint=csr.fingerprint,
        wishes=csr.wishes,
        subject=to_text(template.subject),
        names=tuple(f"{name.kind}:{name.value}" for name in template.names),
        public_key=case.key.requester,  # possession: the requester's key is the request's
        not_before=draft.not_before,
        not_after=draft.not_after,
        identity=authorization.identity,
        address=case.origin.address,
        trail=(),
    )


Handler = Callable[[Context, Case], Outcome]

# Default deny: a type that is not here is refused before anything is decrypted.
HANDLERS: Mapping[int, Handler] = MappingProxyType(
    {MessageType.PKCSReq.value: enrol, MessageType.CertPoll.value: poll},
)
