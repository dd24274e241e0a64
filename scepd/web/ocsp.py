"""OCSP over HTTP (RFC 6960 appendix A, RFC 5019): ready answers from memory, the others from a lane."""

import binascii
import math
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from urllib.parse import unquote_to_bytes

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import datetimeToString
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from scepd.ca.prepared import PreparedAnswers
from scepd.ca.responder import Authorities, OcspAnswer
from scepd.enroll.answer import RunsInLane
from scepd.hsm.faults import TokenFault
from scepd.message.errors import MessageError
from scepd.ports import Clock
from scepd.records import Standing
from scepd.records.networks import site_of
from scepd.refusal import Unavailable
from scepd.web.gcra import RateLimit
from scepd.web.publication import has_current
from scepd.web.request import ScepRequest
from scepd.web.respond import NO_STORE, Response, refuse, send
from scepd.x509.ocsp import OcspStatus, refuse_request
from scepd.x509.ocsp_request import OcspRequest, parse_ocsp_request

PATH = b"/ocsp"
_REQUEST_TYPE, _ANSWER_TYPE = b"application/ocsp-request", b"application/ocsp-response"
# Answers in the making, of one process. Anybody may ask for any number of them, so they wait behind the devices that are
# not known yet and came before; and as they are so few, hardly any of those that come later waits for one.
_MOST_LIVE = 2
_MOST_WAITING = 64  # questions that wait for their turn, of one process
_STANDING = Standing.unknown
_RETRY = 5  # seconds
_REASONS: Mapping[OcspStatus, tuple[str, str]] = {
    OcspStatus.malformedRequest: ("malformed", "malformed_ocsp"),
    OcspStatus.internalError: ("unavailable", "internal_error"),
    OcspStatus.tryLater: ("unavailable", "overload"),
    OcspStatus.unauthorized: ("rejected", "issuer_unknown"),
}


@attrs.frozen
class Answering:
    """For whom OCSP answers, what is ready, and how long an answer of each issuer is given out again.

    `admit` raises `Unavailable` where nothing may be signed now. `rate` limits, for each network, the answers that are not
    ready: those alone cost the token something.
    """

    authorities: Authorities
    prepared: PreparedAnswers
    lasting: Mapping[str, timedelta]
    admit: Callable[[], None] = lambda: None
    rate: RateLimit | None = None


class OcspResource(Resource):
    """The tree below /ocsp as one leaf: one address for all issuers, since a request names the one it means."""

    isLeaf = True
    log = Logger()

    def __init__(self, lanes: RunsInLane, answering: Answering, clock: Clock) -> None:
        """Answer from what is ready, or through the lanes."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._lanes = lanes
        self._answering = answering
        self._clock = clock
        self._live = 0
        self._waiting: deque[tuple[ScepRequest, OcspRequest]] = deque()
        self._issuers = frozenset(name.encode() for name in answering.lasting)

    def render(self, request: ScepRequest) -> int:
        """Answer at once, or when a lane has."""
        request.note(op="ocsp")
        if not self._issuers:
            request.note(outcome="rejected", reason="not_found")
            refuse(request, 404)
        elif request.method == b"POST" and not _is_ocsp(request):
            request.note(outcome="rejected", reason="content_type")
            refuse(request, 415)
        else:
            try:
                asked = parse_ocsp_request(request.body if request.method == b"POST" else self._read_path(request.path))
            except (MessageError, binascii.Error) as error:
                self._refuse(request, OcspStatus.malformedRequest, str(error))
            else:
                self._answer(request, asked)
        return NOT_DONE_YET

    def _read_path(self, path: bytes) -> bytes:
        """Return what stands behind /ocsp/ or /ocsp/ISSUER/ in base64; a padding that got lost is no loss.

        The address may end in slashes of its own, with which no request begins: it is a SEQUENCE, whose base64 begins
        with M. Further ones belong to it.
        """
        rest = path[len(PATH) :].lstrip(b"/")
        first, _, behind = rest.partition(b"/")
        if first in self._issuers:
            rest = behind.lstrip(b"/")
        text = unquote_to_bytes(rest)
        return binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)

    def _answer(self, request: ScepRequest, asked: OcspRequest) -> None:
        if not self._issuer_of(asked):
            self._refuse(request, OcspStatus.unauthorized)  # RFC 5019 section 2.2.3
        elif self._answer_ready(request, asked) or self._is_held_off(request):
            return
        elif len(self._waiting) >= _MOST_WAITING:
            self._refuse(request, OcspStatus.tryLater, "too many questions wait")
        else:
            self._waiting.append((request, asked))
            self._take_turns()

    def _issuer_of(self, asked: OcspRequest) -> str:
        """Return the issuer that decides how long an answer lasts, empty where none is ours."""
        names = next(filter(None, map(self._answering.authorities.of, asked.certificates)), ())
        return names[0] if names else ""

    def _lasting(self, asked: OcspRequest) -> timedelta:
        return self._answering.lasting[self._issuer_of(asked)] if _is_plain(asked) else timedelta()

    def _answer_ready(self, request: ScepRequest, asked: OcspRequest) -> bool:
        """Answer from what is ready; return whether that was."""
        now = self._clock.now()
        found = self._answering.prepared.find(asked.certificates[0].der, now) if _is_plain(asked) else None
        if found is not None:
            self._send(request, found, self._lasting(asked), now)
        return found is not None

    def _take_turns(self) -> None:
        """Begin with what has waited longest; the answer to the same question may be ready by now."""
        while self._waiting and self._live < _MOST_LIVE:
            request, asked = self._waiting.popleft()
            if not (request.gone or request.finished or self._answer_ready(request, asked)):
                Deferred.fromCoroutine(self._answer_live(request, asked))

    def _is_held_off(self, request: ScepRequest) -> bool:
        """Count a request that costs a signature; return whether its network had too many, and has been told so."""
        rate = self._answering.rate
        wait = 0.0 if rate is None else rate.take(site_of(request.origin.address))
        if wait:
            request.note(outcome="limited", reason="rate")
            _send_refusal(request, OcspStatus.tryLater, math.ceil(wait))
        return bool(wait)

    async def _answer_live(self, request: ScepRequest, asked: OcspRequest) -> None:
        self._live += 1
        try:
            await self._answer_from_lane(request, asked)
        finally:
            self._live -= 1
            self._take_turns()

    async def _answer_from_lane(self, request: ScepRequest, asked: OcspRequest) -> None:
        try:
            self._answering.admit()  # a restored store may have forgotten a revocation (threats S-105)
            answer = await self._lanes.run(
                lambda context: context.responders.answer(context.store, asked, context.clock.now()), _STANDING
            )
            assert answer is not None  # the issuer is one of ours
        except (Unavailable, TokenFault) as trouble:
            self._refuse(request, OcspStatus.tryLater, trouble.cause)
            return
        except Exception:  # noqa: BLE001 - the request boundary: whatever it is, the client gets an answer
            failure = Failure()  # type: ignore[no-untyped-call]
            self.log.failure("OCSP failed", failure, event="unexpected_error", request_id=request.origin.request_id)
            self._refuse(request, OcspStatus.internalError)
            return
        # Anybody may ask for any number: what is not known would push out all others.
        lasting = self._lasting(asked) if answer.known else timedelta()
        self._answering.prepared.keep(asked.certificates[0].der, answer, lasting)
        self._send(request, answer, lasting, self._clock.now())

    def _send(self, request: ScepRequest, answer: OcspAnswer, lasting: timedelta, now: datetime) -> None:
        request.note(outcome="served")
        until = min(answer.this_update + lasting, answer.next_update)
        left = int((until - now).total_seconds())
        if left <= 0 or request.method == b"POST":
            send(request, Response(answer.der, _ANSWER_TYPE))
            return
        fields = _fields(answer.tag, int(answer.this_update.timestamp()), int(until.timestamp()))
        send(
            request,
            Response(
                answer.der,
                _ANSWER_TYPE,
                status=304 if has_current(request, answer.tag, fields) else 200,
                cache_control=b"max-age=%d, public, no-transform, must-revalidate" % left,
                fields=fields,
            ),
        )

    def _refuse(self, request: ScepRequest, status: OcspStatus, detail: str = "") -> None:
        outcome, reason = _REASONS[status]
        request.note(outcome=outcome, reason=reason, **({"detail": detail} if detail else {}))
        _send_refusal(request, status, _RETRY if status is OcspStatus.tryLater else None)


def _send_refusal(request: ScepRequest, status: OcspStatus, retry_after: int | None) -> None:
    """Answer unsigned, with HTTP 200 as all answers (RFC 6960 appendix A.2)."""
    send(request, Response(refuse_request(status), _ANSWER_TYPE, cache_control=NO_STORE, retry_after=retry_after))


def _is_plain(asked: OcspRequest) -> bool:
    """Return whether an answer can be given again to whoever asks the same: about one certificate, without a nonce."""
    return len(asked.certificates) == 1 and asked.nonce is None


def _is_ocsp(request: ScepRequest) -> bool:
    kind = request.getHeader(b"content-type") or b""
    return kind.partition(b";")[0].strip().lower() == _REQUEST_TYPE


@lru_cache(maxsize=1024)
def _fields(tag: bytes, modified: int, expires: int) -> bytes:
    """Return what RFC 5019 section 6.2 wants; an answer is stale when it is made anew, well before its nextUpdate.

    Else a cache that knows Expires alone would hide a revocation for as long as the answer is valid.
    """
    moments = (datetimeToString(modified), datetimeToString(expires))  # type: ignore[no-untyped-call]
    return b"ETag: %b\r\nLast-Modified: %b\r\nExpires: %b\r\n" % (tag, *moments)
