"""GetCert and GetCRL (RFC 8894 sections 3.3.4 and 3.3.5): what is on record, for those who may see it.

A lookup proves nothing of who wrote its content: a captured envelope can be wrapped anew under any key. So whatever
is wrong after the decryption has the one answer that an unknown certificate has, and is no oracle.
"""

from collections.abc import Iterator

from scepd.enroll.case import Case
from scepd.enroll.context import Context
from scepd.enroll.envelope import open_envelope
from scepd.enroll.renewal import find_previous
from scepd.enroll.succession import generations
from scepd.message.certificate import load_certificate
from scepd.message.lookup import parse_issuer_and_serial
from scepd.records import Certificate, CertificateState, Found, Outcome, crl_name
from scepd.refusal import WIRE, Reason, Reject, Unavailable


def get_cert(context: Context, case: Case) -> Outcome:
    """Return the certificate of an issuer and serial to its holder, or to anybody where the profile says so (C-228).

    Raises `Reject` (lookup_disabled; lookup_unreadable and certificate_unknown, which are one answer).
    """
    if case.profile.get_cert == "off":
        raise Reject(Reason.lookup_disabled, "GetCert is off")
    _refuse_unprotectable(case)
    own = find_previous(context, case)  # by clear data: what it refuses must not hang on the content
    issuer_der, serial = _read(context, case)
    for row in _rows(context, case, issuer_der, serial):
        if _may_see(context, case, row, own):
            assert row.der is not None
            case.subject = row.subject
            return Found(certificates=(row.der,), subject=row.subject)
    raise Reject(Reason.certificate_unknown, f"no certificate {serial:x} that the signer may see")


def get_crl(context: Context, case: Case) -> Outcome:
    """Return the newest CRL of the issuer that is asked for; the serial number need not exist (C-230).

    Where the CRL has shards it is that of the certificate, and of what does not exist the first one.

    Raises `Reject` as `get_cert`, `Unavailable` where no CRL is valid now (C-232).
    """
    if not case.profile.get_crl:
        raise Reject(Reason.lookup_disabled, "GetCRL is off")
    _refuse_unprotectable(case)
    issuer_der, serial = _read(context, case)
    name = _issuer_meant(context, case, issuer_der, serial)
    row = context.store.certificate(name, serial)
    name = crl_name(name, 0 if row is None else row.shard)
    crl = context.crls.newest(context.store, name, context.clock.now())
    if crl is None:
        raise Unavailable(f"no CRL of {name} is valid now", retry_after=60)
    return Found(crls=(crl.der,), subject=f"CRL {crl.number}")


def _read(context: Context, case: Case) -> tuple[bytes, int]:
    try:
        return parse_issuer_and_serial(open_envelope(context, case))
    except Reject as refused:
        if WIRE[refused.reason] == WIRE[Reason.decryption_failed]:
            raise Reject(Reason.lookup_unreadable, f"{refused.reason.value}: {refused.detail}") from None
        raise


def _rows(context: Context, case: Case, issuer_der: bytes, serial: int) -> Iterator[Certificate]:
    for name in generations(case.profile.issuer, context.successions):
        if context.issuers[name].certificate.subject_der == issuer_der:
            row = context.store.certificate(name, serial)
            if row is not None and row.der is not None and row.state is not CertificateState.FAILED:
                yield row


def _may_see(context: Context, case: Case, row: Certificate, own: Certificate | None) -> bool:
    if case.profile.get_cert == "public":
        return True
    if row.profile != case.profile.name:
        return False
    if row.public_key == case.key.requester:
        return True
    return (
        own is not None
        and own.state is CertificateState.ISSUED
        and (own.profile, own.subject) == (row.profile, row.subject)
        and own.not_before <= context.clock.now() <= own.not_after
    )


def _issuer_meant(context: Context, case: Case, issuer_der: bytes, serial: int) -> str:
    """Return the issuer whose CRL covers that certificate: by its name, or by being named itself (older sscep)."""
    for name in generations(case.profile.issuer, context.successions):
        certificate = context.issuers[name].certificate
        own = load_certificate(certificate.der)
        if issuer_der == certificate.subject_der or (issuer_der, serial) == (own.issuer_der, own.serial):
            return name
    raise Reject(Reason.certificate_unknown, "an issuer that is none of ours")


def _refuse_unprotectable(case: Case) -> None:
    # RFC 8894 section 3.1: a key that cannot encrypt needs a challenge password, and a lookup carries none.
    if case.needs_password:
        raise Reject(Reason.reply_unprotectable, "the signer's key cannot encrypt")
