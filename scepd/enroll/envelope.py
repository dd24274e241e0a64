"""The envelope of a request: which RA it is addressed to, from clear data; and its content."""

from collections.abc import Iterable, Sequence

import attrs

from scepd.enroll.case import Case
from scepd.enroll.context import Context, Registration
from scepd.enroll.succession import accepted, generations, is_superseded
from scepd.message.algorithms import PKCS1V15
from scepd.message.enveloped import (
    Envelope,
    KeyTransRecipient,
    choose_recipient,
    decrypt_content,
    parse_envelope,
)
from scepd.message.password import unwrap_by_any
from scepd.ports import DecryptionKey
from scepd.records import Secret
from scepd.refusal import Reason, Reject


@attrs.frozen
class Addressed:
    """An envelope and the one of our keys that it names; `entry` and `key` are None where it names a password."""

    envelope: Envelope
    entry: KeyTransRecipient | None = None
    key: DecryptionKey | None = None


def read_envelope(context: Context, case: Case) -> Addressed:
    """Return whom the envelope is addressed to; no key is used. The reply mirrors what is noted in `case`.

    The RA that is named decides which issuer serves the request, so that during a rollover either is asked in its own
    name (RFC 8894 section 4.7). Raises `Reject` (envelope_missing, envelope_invalid, algorithm_unsupported,
    recipient_unknown, issuer_superseded).
    """
    if not case.message.content:
        raise Reject(Reason.envelope_missing, "no eContent")
    envelope = case.envelope = parse_envelope(case.message.content, case.profile.crypto)
    if envelope.passwords and not _names_any(envelope, context.registrations.values()):
        return Addressed(envelope)
    return _addressed_by_key(context, case, envelope)


def _addressed_by_key(context: Context, case: Case, envelope: Envelope) -> Addressed:
    now = context.clock.now()
    registrations = [context.registrations[name] for name in generations(case.profile.issuer, context.successions)]
    keys = [(registration, index) for registration in registrations for index in range(len(registration.recipients))]
    chosen, entry = choose_recipient(
        envelope, [registration.recipients[index] for registration, index in keys], case.profile.crypto
    )
    registration, index = keys[chosen]
    if registration.issuer not in accepted(case.profile.issuer, context.successions, now):
        over = is_superseded(registration.issuer, context.successions, now)
        if over:  # whoever has only the old certificates could not verify a refusal by the new RA
            case.registration = registration.answering(index)
        reason = Reason.issuer_superseded if over else Reason.recipient_unknown
        raise Reject(reason, f"encrypted to the RA of {registration.issuer}")
    key = registration.decryption[index]
    if entry.transport is None or not key.supports(entry.transport):
        raise Reject(Reason.algorithm_unsupported, f"key transport {entry.transport}")
    case.transport, case.registration = entry.transport, registration.answering(index)
    return Addressed(envelope, entry, key)


def _names_any(envelope: Envelope, registrations: Iterable[Registration]) -> bool:
    return any(
        entry.names(recipient)
        for registration in registrations
        for recipient in registration.recipients
        for entry in envelope.recipients
    )


def open_envelope(context: Context, case: Case) -> bytes:
    """Return the messageData; only for types whose content then proves who wrote it.

    Raises what `read_envelope` raises, and `Reject` (decryption_failed, password_unknown) with one uniform answer.
    """
    addressed = read_envelope(context, case)
    if addressed.key is None or addressed.entry is None:
        plaintext = _open_by_password(context, case, addressed.envelope)
    else:
        transport = addressed.entry.transport or PKCS1V15
        size = addressed.envelope.cipher.key_size
        plaintext = decrypt_content(
            addressed.envelope, addressed.key.unwrap(addressed.entry.encrypted_key, transport, size)
        )
    case.trail.step("decrypted")
    return plaintext


def _open_by_password(context: Context, case: Case, envelope: Envelope) -> bytes:
    # The message does not say which challenge it is encrypted with: a few are tried (C-253).
    candidates = _candidates(context, case)
    for entry in envelope.passwords:
        with context.derivations.spend():
            opened = unwrap_by_any(entry, candidates, envelope.cipher.key_size)
        if opened is not None:
            case.password, content_key = opened
            return decrypt_content(envelope, content_key)
    raise Reject(Reason.password_unknown, "encrypted with no challenge that is known here")


def _candidates(context: Context, case: Case) -> Sequence[Secret]:
    passwords = context.passwords.get(case.profile.name)
    if passwords is None:
        return ()
    now, key = context.clock.now(), case.key
    return passwords.candidates(context.store, key.transaction_id, now, requester=key.requester)
