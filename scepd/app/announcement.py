"""The signed answer to GetNextCACert: one signature of the CA key, made in a lane and kept."""

from collections.abc import Sequence

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from scepd.enroll.answer import RunsInLane
from scepd.enroll.context import Context
from scepd.message.errors import MessageError
from scepd.message.next_ca import build_next_ca, read_next_ca
from scepd.refusal import Reject, Unavailable


class Announcement:
    """What the CA of one issuer says of the certificates that follow its own (RFC 8894 section 4.7.1).

    However many ask, there is one signature; while the token is away everybody hears `Unavailable`, and the next who
    asks makes it try again.
    """

    def __init__(self, lanes: RunsInLane, issuer: str, certificates: Sequence[bytes]) -> None:
        """Keep what will be signed with that issuer's key."""
        self._lanes = lanes
        self._issuer = issuer
        self._certificates = tuple(certificates)
        self._body: bytes | None = None
        self._waiting: list[Deferred[bytes]] = []

    def get(self) -> Deferred[bytes]:
        """Return the signed message; fails with `Unavailable`."""
        if self._body is not None:
            return succeed(self._body)
        waiting: Deferred[bytes] = Deferred()
        self._waiting.append(waiting)
        if len(self._waiting) == 1:
            self._lanes.run(self._sign).addBoth(self._settle)
        return waiting

    def prepare(self) -> None:
        """Sign ahead of the first request, if the token is there."""
        self.get().addErrback(lambda _failure: None)

    def _sign(self, context: Context) -> bytes:
        issuer = context.issuers[self._issuer]
        certificate = issuer.certificate
        body = build_next_ca(self._certificates, signer=(certificate.der, issuer.key), digest=certificate.digest)
        try:
            read_next_ca(body, trusted=(certificate.der,))
        except (Reject, MessageError) as error:
            raise Unavailable("the token's signature does not verify") from error
        return body

    def _settle(self, result: bytes | Failure) -> None:
        waiting, self._waiting = self._waiting, []
        if isinstance(result, bytes):
            self._body = result
        for one in waiting:
            one.callback(result)
