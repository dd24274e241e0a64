"""The SCEP tree (RFC 8894 section 4.1): which path is which profile, and what each operation answers."""

import math
from collections.abc import Mapping

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from scepd.enroll.reply import Answer
from scepd.message.errors import MessageError
from scepd.message.names import CA_CHAIN_TYPE, NEXT_CA_TYPE, Operation
from scepd.message.query import Query, decode_message, parse_query
from scepd.records.networks import site_of
from scepd.refusal import Unavailable
from scepd.web.browser import turn_browser_away
from scepd.web.client_certificate import TEXTS
from scepd.web.endpoint import Endpoint, Phase, gated_routes, raw_routes, routes
from scepd.web.failures import FailureLimits, is_challenge_failure
from scepd.web.gcra import RateLimit
from scepd.web.presented import presented_certificates
from scepd.web.request import ScepRequest
from scepd.web.respond import WHOLE, Response, refuse, send
from scepd.web.standing import Standings
from scepd.x509.client import ClientRefused

# The CA's own words change with a reload only; a proxy may keep them for a moment (RFC 8894 section 4.1).
_CACHED = b"max-age=300"
_RETRY_LONG = 30  # seconds, until there may be room for another long reply


class ScepResource(Resource):
    """The whole tree as one leaf."""

    isLeaf = True
    _logger = Logger(namespace="scepd.web")

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        *,
        default: str | None = None,
        rate: RateLimit | None = None,
        failures: FailureLimits | None = None,
        standings: Standings | None = None,
    ) -> None:
        """Compile the paths of the endpoints; `default` is the segment that the paths without a profile mean.

        `rate` limits PKIOperation for each network, `failures` the refused challenges; `standings` says who is served
        first.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self._routes = routes(endpoints, default)
        self._raw_routes = raw_routes(endpoints)
        self._gated_routes = gated_routes(endpoints)
        self._rate = rate
        self._failures = failures
        self._standings = standings

    def render(self, request: ScepRequest) -> int:
        """Answer one request, now or when the enrolment room has."""
        if request.path in self._raw_routes and request.isSecure():  # type: ignore[no-untyped-call]
            self._enroll_raw(request, self._raw_routes[request.path])
            return NOT_DONE_YET
        if request.path in self._gated_routes and _asks_certificate(request):
            passing = Deferred.fromCoroutine(self._pass_gate(request, self._gated_routes[request.path]))
            passing.addErrback(_failed, request)
            return NOT_DONE_YET
        endpoint = self._routes.get(request.path)
        if endpoint is None:
            request.note(outcome="rejected", reason="not_found")
            refuse(request, 404)
            return NOT_DONE_YET
        self._answer(request, endpoint)
        return NOT_DONE_YET

    async def _pass_gate(self, request: ScepRequest, endpoint: Endpoint) -> None:
        """Serve a client whose certificate the profile's gate admits; the challenge is asked all the same."""
        assert endpoint.gate is not None  # its route is there
        request.note(profile=endpoint.profile_name)
        if turn_browser_away(request):  # a browser may show a certificate without asking its user
            return
        client = await endpoint.gate.admit(await presented_certificates(request))
        request.origin = attrs.evolve(request.origin, client=client)
        request.note(client=client.subject)
        self._answer(request, endpoint)

    def _answer(self, request: ScepRequest, endpoint: Endpoint) -> None:
        request.note(profile=endpoint.profile_name)
        try:
            query = parse_query(request.query, b"POST" if request.method == b"POST" else b"GET")
            self._serve(request, endpoint, query)
        except MessageError as error:
            _refuse_malformed(request, error.detail)

    def _serve(self, request: ScepRequest, endpoint: Endpoint, query: Query) -> None:
        request.note(op=query.operation.value)
        if query.operation is Operation.PKIOperation:
            self._enroll(request, endpoint, query)
            return
        # The ident in `message` is a hint that names no other profile's CA: it selects nothing here.
        request.note(outcome="served")
        _tell(request, endpoint.phase(), query.operation)

    def _enroll(self, request: ScepRequest, endpoint: Endpoint, query: Query) -> None:
        methods = (b"GET",) if endpoint.get_only else (b"GET", b"POST")
        if not self._admits(request, methods):
            return
        message = request.body if request.method == b"POST" else decode_message(query.raw_message)
        if not message:
            raise MessageError("empty message")
        self._await(maybeDeferred(endpoint.answer, message, request.origin), request)

    def _enroll_raw(self, request: ScepRequest, endpoint: Endpoint) -> None:
        assert endpoint.answer_raw is not None  # its route is there
        request.note(profile=endpoint.profile_name, op="raw")
        if not self._admits(request, (b"POST",)):
            return
        if not request.body:
            _refuse_malformed(request, "empty request")
            return
        self._await(maybeDeferred(endpoint.answer_raw, request.body, request.origin), request)

    def _await(self, answer: Deferred[Answer], request: ScepRequest) -> None:
        answer.addCallback(self._answered, request)
        answer.addErrback(_failed, request)

    def _admits(self, request: ScepRequest, methods: tuple[bytes, ...]) -> bool:
        """Return whether sender, method and rate let the request reach the enrolment room; refuse it otherwise."""
        if turn_browser_away(request):
            return False
        if request.method not in methods:
            request.note(outcome="rejected", reason="method_not_allowed")
            refuse(request, 405, allow=b", ".join(methods))
            return False
        network = site_of(request.origin.address)
        if self._standings is not None:
            request.origin = attrs.evolve(request.origin, standing=self._standings.of(_where(request)))
        wait, reason = self._held_off(request, network)
        if wait:
            request.note(outcome="limited", reason=reason)
            refuse(request, 429, retry_after=math.ceil(wait))
        return not wait

    def _held_off(self, request: ScepRequest, network: str) -> tuple[float, str]:
        """Return for how many seconds a network has to wait, and by which limit; who is held off uses up no other."""
        if self._failures is not None and (wait := self._failures.blocked(network=_where(request))):
            return wait, "failures"
        if self._standings is not None and (wait := self._standings.wait(request.origin.standing)):
            return wait, "doubtful"
        return 0.0 if self._rate is None else self._rate.take(network), "rate"

    def _remember(self, answer: Answer, request: ScepRequest) -> None:
        """Note what an answer says of the network that asked."""
        failed, where = is_challenge_failure(answer.reason), _where(request)
        if failed and self._failures is not None:
            self._failures.failed(network=where)
        if failed and self._standings is not None:
            self._standings.failed(where)
        elif answer.outcome == "issued" and self._standings is not None:
            self._standings.issued(where)

    def _answered(self, answer: Answer, request: ScepRequest) -> None:
        self._remember(answer, request)
        if request.finished:
            self._logger.info(event="late_answer", outcome=answer.outcome, request_id=request.origin.request_id)
            return
        request.note(**_log_fields(answer))
        if answer.status != 200:  # 202: a bare request waits for a person
            refuse(request, answer.status, retry_after=answer.retry_after)
            return
        if len(answer.body) > WHOLE and not request.hold_reply(len(answer.body)):
            request.note(outcome="unavailable", reason="overload")
            refuse(request, 503, retry_after=_RETRY_LONG)
            return
        send(request, Response(answer.body, answer.content_type.encode("ascii"), retry_after=answer.retry_after))


def _tell(request: ScepRequest, phase: Phase, operation: Operation) -> None:
    """Answer what the CA says of itself."""
    if operation is Operation.GetCACaps:
        send(request, Response(phase.capabilities, cache_control=_CACHED))
    elif operation is Operation.GetCACert:
        kind = phase.ca_content_type.encode("ascii")
        send(request, Response(phase.ca_certificates, kind, cache_control=_CACHED))
    elif operation is Operation.GetCACertChain:
        if phase.ca_chain is None:  # to a profile without it the word means nothing (C-056)
            raise MessageError("unknown operation")
        send(request, Response(phase.ca_chain, CA_CHAIN_TYPE.encode("ascii"), cache_control=_CACHED))
    else:
        _tell_next_ca(request, phase)


def _tell_next_ca(request: ScepRequest, phase: Phase) -> None:
    if phase.next_ca is None:
        request.note(outcome="rejected", reason="no_next_ca")
        refuse(request, 404)
        return
    signed = phase.next_ca()
    signed.addCallback(lambda body: send(request, Response(body, NEXT_CA_TYPE.encode("ascii"), cache_control=_CACHED)))
    signed.addErrback(_failed, request)


def _asks_certificate(request: ScepRequest) -> bool:
    """Return whether this connection's TLS asked for a certificate; on any other the gated paths do not exist."""
    return request.site.approach.asks_certificate and bool(request.isSecure())  # type: ignore[no-untyped-call]


def _where(request: ScepRequest) -> str:
    """Return what shares one bound of failures: the site at the profile, so that no fleet pays for another behind its NAT."""
    return f"{site_of(request.origin.address)} {request.entry.get('profile', '')}"


def _log_fields(answer: Answer) -> dict[str, object]:
    fields: dict[str, object] = {
        "outcome": answer.outcome,
        "reason": answer.reason,
        "fail_info": answer.fail_info,
        "type": answer.message_type,
        "txn": answer.transaction_id,
        "cn": answer.subject,
        "detail": answer.detail,
        "again": answer.again,
    }
    return {key: value for key, value in fields.items() if value}


def _refuse_malformed(request: ScepRequest, detail: str) -> None:
    request.note(outcome="malformed", reason="malformed_message", detail=detail)
    refuse(request, 400)


def _failed(failure: Failure, request: ScepRequest) -> None:
    """Answer what went wrong on our side, or before the message could be attributed to anybody."""
    error = failure.value
    if isinstance(error, Unavailable):
        request.note(outcome="unavailable", reason=error.cause)
        refuse(request, 503, retry_after=error.retry_after)
    elif isinstance(error, ClientRefused):
        request.note(outcome="rejected", reason=f"client_certificate_{error.fault.value}", detail=error.detail)
        refuse(request, 401, text=TEXTS[error.fault])
    elif isinstance(error, MessageError):
        _refuse_malformed(request, error.detail)
    else:
        request.failed(failure)
