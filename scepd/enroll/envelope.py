"""The envelope of a request as far as it can be read in the clear: algorithms, and which of our keys it names."""

from scepd.enroll.case import Case
from scepd.enroll.context import Context
from scepd.message.enveloped import Envelope, KeyTransRecipient, choose_recipient, parse_envelope
from scepd.ports import DecryptionKey
from scepd.refusal import Reason, Reject


def read_envelope(context: Context, case: Case) -> tuple[Envelope, KeyTransRecipient, DecryptionKey]:
    """Return the envelope, the one entry for us and its key; no key is used. The reply mirrors what is noted in `case`.

    Raises `Reject` (envelope_missing, envelope_invalid, algorithm_unsupported, recipient_unknown).
    """
    if not case.message.content:
        raise Reject(Reason.envelope_missing, "no eContent")
    registration = context.registrations[case.profile.issuer]
    envelope = parse_envelope(case.message.content, case.profile.crypto)
    index, recipient = choose_recipient(envelope, registration.recipients, case.profile.crypto)
    key = registration.decryption[index]
    if recipient.transport is None or not key.supports(recipient.transport):
        raise Reject(Reason.algorithm_unsupported, f"key transport {recipient.transport}")
    case.envelope, case.transport = envelope, recipient.transport
    return envelope, recipient, key
