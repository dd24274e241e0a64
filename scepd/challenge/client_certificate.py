"""Who passed the gate of a profile's mTLS route is known by that certificate, without a challenge (threats M)."""

from datetime import datetime
from typing import Literal

import attrs

from scepd.message.csr import CertificationRequest
from scepd.ports import Store
from scepd.records import ClientIdentity, Identity, Name
from scepd.refusal import OperatorError, Reason, Reject
from scepd.x509.general_names import general_names_from_extension
from scepd.x509.names import COMMON_NAME, SHORT_NAMES, from_text, to_text

METHOD = "client-certificate"

_SUBJECT_ALTERNATIVE_NAME = "2.5.29.17"
# What would let a device log on to Windows as somebody (threats S-55): a certificate of another purpose vouches for none.
_ACCOUNTS = ("upn:", "uri:tag:microsoft.com,2022-09-14:sid:")


def require_same_name(csr: CertificationRequest, client: ClientIdentity) -> None:
    """Hold a request against the client's certificate: the same common name, no alternative names beside its own.

    Where the certificate has no common name the whole subject must be the same. Raises
    Reject(client_certificate_refused).
    """
    held = _read(client.subject)
    ours, theirs = _common_names(held), _common_names(csr.subject)
    if ours != theirs or (not ours and to_text(csr.subject) != client.subject):
        raise Reject(
            Reason.client_certificate_refused, f"{to_text(csr.subject)!r} is asked for with {client.subject!r}"
        )
    beside = sorted(_requested_names(csr) - set(client.names))
    if beside:
        raise Reject(Reason.client_certificate_refused, f"{beside[0]!r} is not in the client's certificate")


@attrs.frozen
class ClientCertificateChallenge:
    """`ports.ChallengeMethod` of the mTLS route; `client` is None on every other, where it knows nobody.

    `subject` "same": who asks must ask for its own name. "any": for any that the profile gives.
    """

    subject: Literal["same", "any"] = "same"
    client: ClientIdentity | None = None
    name: str = attrs.field(default=METHOD, init=False)

    def of(self, client: ClientIdentity | None) -> "ClientCertificateChallenge":
        """Return the method as it is for one request."""
        return attrs.evolve(self, client=client)

    def authenticate(self, csr: CertificationRequest, store: Store, now: datetime) -> Identity | None:  # noqa: ARG002 - the port's signature
        """Return whose certificate opened the gate; None without one. Raises Reject(client_certificate_refused)."""
        if self.client is None:
            return None
        if self.subject == "same":
            require_same_name(csr, self.client)
        attributes = [(SHORT_NAMES.get(a.oid, a.oid), a.value) for rdn in _read(self.client.subject) for a in rdn]
        return Identity(
            METHOD,
            self.client.subject or f"certificate {self.client.serial:x}",
            names=tuple(name for name in self.client.names if not name.lower().startswith(_ACCOUNTS)),
            attributes=tuple(attributes),
        )


def _read(subject: str) -> Name:
    """Return the name in a certificate; Reject(client_certificate_refused) for one that no certificate of ours could carry."""
    try:
        return from_text(subject)
    except OperatorError as error:
        raise Reject(Reason.client_certificate_refused, error.problem) from None


def _common_names(name: Name) -> list[str]:
    return [attribute.value for rdn in name for attribute in rdn if attribute.oid == COMMON_NAME]


def _requested_names(csr: CertificationRequest) -> set[str]:
    return {
        f"{name.kind}:{name.value}"
        for extension in csr.extensions
        if extension.oid == _SUBJECT_ALTERNATIVE_NAME
        for name in general_names_from_extension(extension.value_der)
    }
