"""The gate before /scep-mtls: TLS proves possession of a key, this decides whom the certificate lets in (threats M)."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet.defer import Deferred

from scepd.ports import Clock
from scepd.records import Certificate, CertificateState, ClientIdentity
from scepd.refusal import Unavailable
from scepd.x509.client import ClientFault, ClientRefused, ClientTrust, identify, judge_lists, verify_client
from scepd.x509.revocation import ListMissing

UNREADABLE = "client_trust_unreadable"  # the reason of 503 while nobody can be judged
_RETRY = 60  # seconds, until an operator may have mended a file
_KEPT = 256  # proofs of a gate, of the clients that came last
_KEPT_LENGTH = 16_384  # octets of what was presented; longer chains are verified each time

# What a refused client reads: the cause and the next step, and nothing of the certificate.
TEXTS: Mapping[ClientFault, bytes] = {
    ClientFault.missing: b"client certificate missing: configure the device's certificate and key for TLS",
    ClientFault.unreadable: b"client certificate unreadable: present one X.509 version 3 certificate with its chain",
    ClientFault.untrusted: b"client certificate not trusted by this profile: present one of a CA that the profile names",
    ClientFault.not_yet_valid: b"client certificate not valid yet: check the clocks of the device and of its CA",
    ClientFault.expired: b"client certificate expired: renew it, then come back",
    ClientFault.wrong_purpose: b"client certificate not meant for this: present one with the purpose clientAuth",
    ClientFault.weak_key: b"client certificate has a weak key: RSA of 2048 to 8192 bits, P-256, P-384 or P-521",
    ClientFault.weak_digest: b"client certificate signed with a weak digest: SHA-256 or better",
    ClientFault.revoked: b"client certificate revoked: have the device enrolled anew",
    ClientFault.not_on_record: b"client certificate not on record: have the device enrolled anew",
}


@attrs.frozen
class Register:
    """What the store knows of certificates that we issued.

    `issuers` are ours, by the DER of subject and key, so that any certificate of theirs is recognised. `lookup` reads a
    row in a lane.
    """

    issuers: Mapping[tuple[bytes, bytes], str]
    lookup: Callable[[str, int], Deferred[Certificate | None]]

    def issuer_of(self, path: Sequence[x509.Certificate]) -> str | None:
        """Return our issuer that signed the first certificate of a path; None for somebody else's."""
        return self.issuers.get(name_and_key(path[1]))


def name_and_key(certificate: x509.Certificate) -> tuple[bytes, bytes]:
    """Return what makes an issuer: subject and SubjectPublicKeyInfo, both DER."""
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return certificate.subject.public_bytes(), spki


@attrs.frozen(eq=False)
class Proof:
    """A verified path: on what basis, for how long it stands, and whose it is."""

    basis: tuple[Any, ...]
    path: Sequence[x509.Certificate]
    client: ClientIdentity

    def stands(self, basis: tuple[Any, ...], now: datetime) -> bool:
        """Return whether verifying again would find the same; revocation is another matter."""
        return self.basis == basis and all(
            one.not_valid_before_utc <= now <= one.not_valid_after_utc for one in self.path
        )


class Gate:
    """A profile's gate, or that of proxies: admits holders of certificates that lead to its anchors, and nobody else."""

    def __init__(
        self,
        trust: Callable[[], ClientTrust | None],
        clock: Clock,
        register: Register | None = None,
        *,
        unreadable: str = UNREADABLE,
    ) -> None:
        """Take what the files say at each moment (None: never readable, which the log calls `unreadable`).

        `register` None: certificates of ours are like anybody's.
        """
        self._trust = trust
        self._clock = clock
        self._register = register
        self._unreadable = unreadable
        self._proofs: OrderedDict[tuple[bytes, ...], Proof] = OrderedDict()

    @property
    def anchors(self) -> tuple[x509.Certificate, ...]:
        """The anchors of this moment, whose names are hinted at in the handshake."""
        trust = self._trust()
        return () if trust is None else trust.bundle.certificates

    async def admit(self, presented: Sequence[bytes]) -> ClientIdentity:
        """Return who the client is; raises `ClientRefused`, and `Unavailable` where we cannot tell.

        It is asked for every request: a certificate that was revoked meanwhile ends a kept connection too (S-96).
        """
        trust = self._trust()
        if trust is None:
            raise Unavailable(self._unreadable, _RETRY)
        now = self._clock.now()
        proof = self._prove(tuple(presented), trust, now)
        path = proof.path
        issuer = None if self._register is None else self._register.issuer_of(path)
        if trust.lists is not None:
            try:
                judge_lists(path, trust.lists, now)
            except ListMissing as missing:
                if issuer is None:  # of ours the store knows
                    raise Unavailable("client_crl_missing", _RETRY) from missing
        if issuer is not None:
            await self._judge_row(issuer, path[0].serial_number, presented[0])
        return proof.client

    def _prove(self, presented: tuple[bytes, ...], trust: ClientTrust, now: datetime) -> Proof:
        """Return the path of what was presented, as it was found for an earlier request where that still stands."""
        basis = (trust.bundle, trust.intermediates, trust.purpose_optional)
        proof = self._proofs.pop(presented, None)
        if proof is None or not proof.stands(basis, now):
            path = verify_client(presented, trust, now)
            proof = Proof(basis, path, identify(path[0], presented[0]))
        if sum(map(len, presented)) <= _KEPT_LENGTH:
            self._proofs[presented] = proof
            if len(self._proofs) > _KEPT:
                self._proofs.popitem(last=False)
        return proof

    async def _judge_row(self, issuer: str, serial: int, der: bytes) -> None:
        assert self._register is not None  # it named the issuer
        row = await self._register.lookup(issuer, serial)
        if row is None or row.der != der:  # never by the serial alone
            raise ClientRefused(ClientFault.not_on_record, f"{issuer} {serial:x}")
        if row.state is CertificateState.REVOKED:
            raise ClientRefused(ClientFault.revoked, f"{issuer} {serial:x}")
        if row.state is not CertificateState.ISSUED:
            raise ClientRefused(ClientFault.not_on_record, f"{issuer} {serial:x} {row.state.value}")
