"""What the self-check asks of CRLs: their bytes, their numbers, and that the newest lists what is revoked and nothing else."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from sqlalchemy import Integer, bindparam, cast, exists, func, select

from scepd.observe.audit import Action
from scepd.observe.damage import Damage
from scepd.records import CertificateState, crl_issuer, crl_shard
from scepd.store.audit_tables import AUDIT
from scepd.store.check_rows import Findings, judged, pages
from scepd.store.engines import StoreConnection
from scepd.store.ledger import certificate_target
from scepd.store.rows import serial_text, time_text
from scepd.store.schema import CERTIFICATE
from scepd.store.status_tables import CRL
from scepd.x509.issuer import IssuerCertificate

_C, _L = CERTIFICATE.c, CRL.c
_earlier, _later = CRL.alias("earlier"), CRL.alias("later")

# A revocation that was written while a CRL was drafted is on the next one, which follows at once.
_SLACK = timedelta(minutes=1)
_NEXT = "scepd status; the next CRL comes on schedule, or with the next revocation"

_previous = (
    select(_earlier.c.this_update)
    .where(_earlier.c.issuer == _L.issuer, _earlier.c.number < _L.number)
    .order_by(_earlier.c.number.desc())
    .limit(1)
    .scalar_subquery()
)
_is_newest = ~exists().where(_later.c.issuer == _L.issuer, _later.c.number > _L.number)
_CRLS = select(*CRL.c, _previous.label("previous_update"), _is_newest.label("newest"))
_REVOKED = select(_C.id, _C.serial).where(_C.state == CertificateState.REVOKED.value)
_STATE = select(_C.state).where(_C.issuer == bindparam("authority"), _C.serial == bindparam("number"))
_RELEASED = (
    select(AUDIT.c.sequence)
    .where(AUDIT.c.target == bindparam("of"), AUDIT.c.action == Action.certificate_released.value)
    .limit(1)
)


def check_crls(connection: StoreConnection, issuers: Mapping[str, IssuerCertificate]) -> Iterator[Findings]:
    """Yield what is wrong with each CRL, and with each certificate that the newest should list or should not."""
    for row in pages(connection, _CRLS, _L.id):
        where = f"CRL {row.issuer} {row.number}"
        found = judged(where, _faults(connection, row, issuers), _NEXT)
        yield found
        if row.newest and not found:
            yield from _check_entries(connection, row)


def _faults(connection: StoreConnection, row: Any, issuers: Mapping[str, IssuerCertificate]) -> Iterator[str]:
    if row.next_update <= row.this_update:
        yield f"its nextUpdate {row.next_update} is not after {row.this_update}"
    if row.previous_update is not None and row.this_update < row.previous_update:
        yield f"is of {row.this_update}, the one before it of {row.previous_update}"
    if row.newest and (published := _published(connection, row.issuer)) > row.number:
        yield f"is the newest here, and number {published} was published"
    crl = x509.load_der_x509_crl(row.der)
    number = _number(crl)
    if (number, len(crl)) != (row.number, row.entries):
        yield f"its bytes are number {number} with {len(crl)} entries"
    window = [None if moment is None else time_text(moment) for moment in (crl.last_update_utc, crl.next_update_utc)]
    if [text and text[:19] for text in window] != [row.this_update[:19], row.next_update[:19]]:
        yield f"its bytes are of {window[0]}, good until {window[1]}"
    issuer = issuers.get(crl_issuer(row.issuer))
    if issuer is None:
        yield "its issuer is not known"
    elif not _is_signed_by(crl, issuer.certificate):
        yield "its issuer's key did not sign it"


def _check_entries(connection: StoreConnection, row: Any) -> Iterator[Findings]:
    crl = x509.load_der_x509_crl(row.der)
    listed = {entry.serial_number for entry in crl}
    moment = datetime.fromisoformat(row.this_update)
    issuer = crl_issuer(row.issuer)
    ended = _REVOKED.where(
        _C.issuer == issuer, _C.shard == crl_shard(row.issuer), _C.revoked < time_text(moment - _SLACK), _C.not_after > row.this_update
    )
    for certificate in pages(connection, ended, _C.id):
        missing = int(certificate.serial, 16) not in listed
        where, words = (
            f"certificate {issuer} {certificate.serial}",
            f"is revoked, and CRL {row.number} does not list it",
        )
        yield [Damage(where, words, _NEXT)] if missing else []
    for serial in listed:
        yield list(_entry_fault(connection, row, serial))


def _entry_fault(connection: StoreConnection, row: Any, serial: int) -> Iterator[Damage]:
    issuer = crl_issuer(row.issuer)
    found = connection.first(_STATE, {"authority": issuer, "number": serial_text(serial)})
    where = f"certificate {issuer} {serial_text(serial)}"
    if found is None:
        yield Damage(where, f"is on CRL {row.number}, and is not known here", "compare with a backup")
    elif found[0] != CertificateState.REVOKED.value and not _was_released(connection, issuer, serial):
        yield Damage(where, f"is on CRL {row.number}, and is {found[0]} here", f"scepd cert show {serial_text(serial)}")


def _was_released(connection: StoreConnection, issuer: str, serial: int) -> bool:
    """Return whether a hold was lifted, since when the next CRL lists it no more."""
    return connection.first(_RELEASED, {"of": certificate_target(issuer, serial)}) is not None


def _published(connection: StoreConnection, issuer: str) -> int:
    """Return the greatest number that the audit trail says was published."""
    prefix = f"crl {issuer} "
    number = cast(func.substr(AUDIT.c.target, len(prefix) + 1), Integer)
    ours = AUDIT.c.target.between(prefix + "0", prefix + ":"), AUDIT.c.action == Action.crl_published.value
    (row,) = connection.query(select(func.max(number)).where(*ours))
    return int(row[0] or 0)


def _number(crl: x509.CertificateRevocationList) -> int:
    try:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound as error:
        raise ValueError(str(error)) from error


def _is_signed_by(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    key = issuer.public_key()
    try:
        return crl.is_signature_valid(key)  # type: ignore[arg-type]  # TypeError says which keys cannot
    except (ValueError, TypeError):
        return False
