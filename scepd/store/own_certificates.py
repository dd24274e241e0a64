"""Certificates of the service's own keys, issued by ceremonies: on record, so that they can be revoked and answered for."""

import hashlib

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import bindparam, case, update

from scepd.observe.audit import Action
from scepd.records import CertificateState, to_json
from scepd.refusal import Unavailable
from scepd.store import statements as sql
from scepd.store.engines import Conflict
from scepd.store.ledger import Act, certificate_target
from scepd.store.rows import fold, serial_text, time_text
from scepd.store.schema import CERTIFICATE
from scepd.store.writer import Writer
from scepd.x509.general_names import general_names_of
from scepd.x509.keys import spki_digest
from scepd.x509.names import from_x509, to_text

_C = CERTIFICATE.c
_KEEP = (
    update(CERTIFICATE)
    .where(
        _C.issuer == bindparam("authority"),
        _C.serial == bindparam("number"),
        _C.der.is_(None),
        _C.transaction.is_(None),
    )
    .values(
        der=bindparam("new_der"),
        issued=bindparam("now"),
        state=case(
            (_C.state == CertificateState.RESERVED.value, CertificateState.ISSUED.value),
            else_=_C.state,
        ),
    )
)


class OwnCertificates(Writer):
    """The acts about certificates that no device asked for; they belong to no profile and no transaction."""

    def reserve_own(self, issuer: str, draft_der: bytes) -> None:
        """Reserve the serial of a draft before it is signed (threats S-103). Raises `Unavailable` where it is taken."""
        draft = x509.load_der_x509_certificate(draft_der)
        spki = draft.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        subject = to_text(from_x509(draft.subject))
        with self._act("reserve_own") as now:
            values = {
                "issuer": issuer,
                "serial": serial_text(draft.serial_number),
                "state": CertificateState.RESERVED.value,
                "profile": "",
                "subject": subject,
                "names": to_json([f"{name.kind}:{name.value}" for name in general_names_of(draft)]),
                "public_key": spki_digest(spki),
                "subject_folded": fold(subject),
                "not_before": time_text(draft.not_valid_before_utc),
                "not_after": time_text(draft.not_valid_after_utc),
                "created": time_text(now),
            }
            try:
                self._connection.change(sql.ADD_CERTIFICATE, values)
            except Conflict as error:
                raise Unavailable("store: the serial number is taken", retry_after=1) from error
            details = {"subject": subject, "draft": hashlib.sha256(draft_der).hexdigest()}
            target = certificate_target(issuer, draft.serial_number)
            self._note(Act(Action.own_certificate_claimed, self.owner, target, details), now)

    def keep_own(self, issuer: str, certificate_der: bytes) -> None:
        """Keep a certificate whose serial was reserved. Raises `Unavailable` where it was not."""
        certificate = x509.load_der_x509_certificate(certificate_der)
        with self._act("keep_own") as now:
            values = {
                "authority": issuer,
                "number": serial_text(certificate.serial_number),
                "new_der": certificate_der,
                "now": time_text(now),
            }
            if self._connection.change(_KEEP, values) != 1:
                raise Unavailable(f"store: no serial {certificate.serial_number:x} of {issuer} is reserved")
            details = {
                "issuer": issuer,
                "serial": serial_text(certificate.serial_number),
                "certificate": hashlib.sha256(certificate_der).hexdigest(),
            }
            target = certificate_target(issuer, certificate.serial_number)
            self._note(Act(Action.own_certificate_issued, self.owner, target, details), now)
            self._announce()

    def note_ceremony(self, action: Action, who: str, digest: str, details: dict[str, str]) -> None:
        """Append what happened to the ceremony of the plan with that digest to the audit trail."""
        with self._act("note_ceremony") as now:
            self._note(Act(action, who, f"ceremony {digest[:16]}", details), now)
