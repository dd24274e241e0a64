"""The local issuer: its key is in our token. Draft, lint, sign, verify."""

from collections.abc import Callable
from datetime import datetime

import attrs

from scepd.ports import SigningKey
from scepd.records import Template
from scepd.refusal import Reason, Reject
from scepd.x509.certificate import IssuerCertificate, Locations, draft_certificate, new_serial
from scepd.x509.draft import Draft, seal
from scepd.x509.lint import lint

__all__ = ["LocalIssuer", "Locations"]

_NOWHERE = Locations()


@attrs.frozen
class LocalIssuer:
    """An issuer whose key signs in the token; `chain` are the certificates above it, nearest first."""

    name: str
    certificate: IssuerCertificate
    key: SigningKey
    chain: tuple[bytes, ...] = ()
    locations: Locations = _NOWHERE

    def draft(
        self,
        template: Template,
        spki_der: bytes,
        *,
        now: datetime,
        random: Callable[[int], bytes],
        shard: int = 0,
    ) -> tuple[int, Draft]:
        """Return a fresh serial and the linted, placeholder-signed certificate that carries it, of a shard of the CRL.

        Raises `Reject(lint_failed)` where a rule of `x509.lint` fails, `Reject(validity_exhausted)` where the issuer
        ends too soon (RFC 5280 section 4.1; the token is not asked for anything).
        """
        serial = new_serial(random)
        draft = draft_certificate(
            template, spki_der, self.certificate, serial=serial, now=now, locations=self.locations.of_shard(shard)
        )
        self.check(draft.der)
        return serial, draft

    def check(self, draft_der: bytes) -> None:
        """Lint a draft; also one that comes back from the store, before it is signed after an interruption."""
        findings = lint(draft_der, self.certificate, "leaf")
        if findings:
            raise Reject(Reason.lint_failed, "; ".join(f"{finding.rule}: {finding.detail}" for finding in findings))

    def sign(self, draft_der: bytes) -> bytes:
        """Sign exactly the draft's TBSCertificate in the token and verify the result before anyone sees it."""
        return seal(draft_der, self.key, self.certificate.public_key)
