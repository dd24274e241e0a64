"""The one HTTPS client for services outside: pinned trust, one deadline, one bound, no redirect, no decompression.

treq would decompress whatever comes, so this is Twisted's Agent, used narrowly (threats S-83, S-84).
"""

import re
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import attrs
from OpenSSL import SSL, crypto
from service_identity.exceptions import VerificationError
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate, TLSVersion, optionsForClientTLS, trustRootFromCertificates
from twisted.web.client import Agent, ResponseDone, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer
from zope.interface import implementer

from scepd.challenge.remote_connect import FAULTS, Direct, Meter, Proxy, Refused, Tunnel, is_loopback
from scepd.refusal import OperatorError, Unavailable

T = TypeVar("T")



CAP = 65_536  # octets of an answer's body
_HEAD = 16_384  # octets of its head
_LONGEST_RETRY = 300  # seconds: longer no Retry-After makes a device wait
_RETRY = 5
_SYSTEM_ANCHORS = "/etc/ssl/certs/ca-certificates.crt"
_PRINTABLE = re.compile(r"[!-~]+")
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@attrs.frozen
class HttpAnswer:
    """What a service answered: status, body (at most `CAP` octets), seconds of its Retry-After."""

    status: int
    body: bytes = attrs.field(repr=False)
    retry_after: int = _RETRY


class HttpsClient:
    """Sends one request a connection, so that no answer can be another's; raises nothing but `Unavailable`.

    `trust_pem` holds the anchors; empty: those of the system. With `plain` the service is on this machine and spoken
    to without TLS, and no HTTPS is possible. Variables of the environment are not looked at.
    """

    def __init__(
        self, reactor: Any, trust_pem: bytes, *, timeout: float, proxy: Proxy | None = None, plain: bool = False
    ) -> None:
        """Load the anchors; `timeout` are seconds, of the whole exchange. Raises `OperatorError`."""
        self._reactor = reactor
        self._timeout = timeout
        self._proxy = proxy
        self._plain = plain
        self._trust = None if plain else load_anchors(trust_pem or _system_anchors())
        self._tls: dict[str, Any] = {}

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> HttpAnswer:
        """Return the answer; raises `Unavailable` for every way in which there is none within time and bounds."""
        host = _host_of(url)
        return await within(self._reactor, self._timeout, self._exchange(method, url, headers, body), host)

    async def _exchange(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        meter = Meter(CAP + _HEAD)
        agent: Any = Agent.usingEndpointFactory(self._reactor, _Endpoints(self, meter))  # type: ignore[no-untyped-call]
        fields = {"User-Agent": "scepd", "Accept": "application/json", "Accept-Encoding": "identity", **headers}
        sent = Headers({name: [value] for name, value in fields.items()})
        host = _host_of(url)
        try:
            response = await agent.request(method.encode(), url.encode("ascii"), sent, _Octets(body) if body else None)
            body_of = _Body(meter)
            response.deliverBody(body_of)
            octets = await body_of.whole
        except (ResponseFailed, SSL.Error, VerificationError, *FAULTS) as error:
            cause = f"more than {CAP} octets" if meter.is_exceeded else _describe(error)
            raise Unavailable(f"{host}: {cause}") from error
        # As octets: asked for by a text, fields are decoded, and those of no UTF-8 raise an error.
        if response.headers.getRawHeaders(b"content-encoding", [b"identity"]) != [b"identity"]:
            raise Unavailable(f"{host}: a compressed answer, which was not asked for")
        if len(octets) > CAP:
            raise Unavailable(f"{host}: more than {CAP} octets")
        return HttpAnswer(response.code, octets, _retry_after(response.headers))

    def endpoint(self, scheme: str, host: str, port: int, meter: Meter) -> Any:
        """Return where to connect for a URL: directly or through the proxy, with TLS or without, metered."""
        if (scheme == "http") is not self._plain or (self._plain and not is_loopback(host)):
            raise Refused(f"{scheme} to {host} is not what was configured")
        if self._proxy is None or self._plain:
            endpoint: Any = Direct(self._reactor, host, port, timeout=self._timeout)
        else:
            # The operator names the proxy, wherever it is.
            way = Direct(self._reactor, self._proxy.host, self._proxy.port, timeout=self._timeout, anywhere=True)
            endpoint = Tunnel(way, self._proxy.login, host, port)
        if scheme == "https":
            endpoint = wrapClientTLS(self._options(host), endpoint)
        return _MeteredEndpoint(endpoint, meter)

    def _options(self, host: str) -> Any:
        if host not in self._tls:
            least = {"raiseMinimumTo": TLSVersion.TLSv1_2}
            try:
                self._tls[host] = optionsForClientTLS(host, trustRoot=self._trust, extraCertificateOptions=least)
            except UnicodeError as error:  # idna's
                raise Refused(f"{host} is no host's name") from error
        return self._tls[host]


async def within(reactor: Any, seconds: float, coroutine: Coroutine[Any, Any, T], who: str) -> T:
    """Return what the coroutine returns; past the deadline it is cancelled, and `Unavailable` raised."""
    work = Deferred.fromCoroutine(coroutine)
    deadline = reactor.callLater(seconds, work.cancel)
    try:
        return await work
    except (CancelledError, ConnectingCancelledError, Unavailable) as error:
        if deadline.active():
            raise
        raise Unavailable(f"{who}: no answer within {seconds:g} s") from error
    finally:
        if deadline.active():
            deadline.cancel()


def load_anchors(pem: bytes) -> Any:
    """Return what Twisted verifies with; raises `OperatorError` for a bundle without or with an unreadable certificate."""
    try:
        anchors = [Certificate.loadPEM(block) for block in _CERTIFICATE.findall(pem)]
    except crypto.Error as error:
        raise OperatorError("a trust bundle holds what is no certificate", "openssl x509 -in trust.pem -noout") from error
    if not anchors:
        raise OperatorError("a trust bundle holds no certificate", 'trust = "ca.pem"')
    return trustRootFromCertificates(anchors)  # type: ignore[no-untyped-call]


def _system_anchors() -> bytes:
    try:
        with open(_SYSTEM_ANCHORS, "rb") as file:  # noqa: PTH123 - one line of reading
            return file.read()
    except OSError as error:
        raise OperatorError(
            f"the system's trust anchors {_SYSTEM_ANCHORS} cannot be read: {error.strerror}",
            "apt-get install ca-certificates",
        ) from error


@attrs.frozen
class _MeteredEndpoint:
    endpoint: Any
    meter: Meter

    def connect(self, factory: Any) -> Any:
        """Connect the factory's protocol behind the meter, which Agent need not know of."""
        return self.endpoint.connect(self.meter.factory(factory)).addCallback(lambda metered: metered.wrappedProtocol)


@implementer(IAgentEndpointFactory)
@attrs.frozen
class _Endpoints:
    client: HttpsClient
    meter: Meter

    def endpointForURI(self, uri: Any) -> Any:  # noqa: N802 - Twisted's name
        """Return the endpoint for a URI."""
        return self.client.endpoint(uri.scheme.decode(), uri.host.decode().strip("[]"), uri.port, self.meter)


@implementer(IBodyProducer)
class _Octets:
    """A body that is written at once."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self.length = len(octets)

    def startProducing(self, consumer: Any) -> Deferred[None]:  # noqa: N802 - Twisted's name
        """Write everything."""
        consumer.write(self._octets)
        return succeed(None)

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Nothing is left to pause."""

    resumeProducing = stopProducing = pauseProducing


class _Body(Protocol):
    """Collects a body whose end is certain: one that ends with its connection may be half of one."""

    def __init__(self, meter: Meter) -> None:
        self.whole: Deferred[bytes] = Deferred(lambda _: meter.abort())
        self._parts: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        self._parts.append(data)

    def connectionLost(self, reason: Any = connectionDone) -> None:  # noqa: N802 - Twisted's name
        if self.whole.called:
            return
        if reason.check(ResponseDone):
            self.whole.callback(b"".join(self._parts))
        else:
            self.whole.errback(ResponseFailed([reason]))  # type: ignore[no-untyped-call]


def _host_of(url: str) -> str:
    """Return the host of a URL, which a service may have named; `Unavailable` where nobody can be connected to."""
    try:
        parts = urlsplit(url)
        port = parts.port  # judged only when it is read
    except ValueError:
        raise Unavailable("an address that is no URL") from None
    if not _PRINTABLE.fullmatch(url) or not parts.hostname or port == 0:
        raise Unavailable("an address that is no URL")
    return parts.hostname


def _retry_after(headers: Any) -> int:
    text = headers.getRawHeaders(b"retry-after", [b""])[-1]
    if re.fullmatch(rb"[0-9]{1,6}", text):
        return max(1, min(int(text), _LONGEST_RETRY))
    return _RETRY


def _describe(error: BaseException) -> str:
    """Return what went wrong, in few words without what the service said."""
    for each in (error, *(failure.value for failure in getattr(error, "reasons", ()))):
        if isinstance(each, VerificationError):
            return "its certificate is for another host"
        if isinstance(each, SSL.Error):
            reasons = [str(entry[-1]) for entry in (each.args[0] if each.args else ()) if entry]
            return f"TLS: {', '.join(reasons) or 'the connection was closed'}"
    if isinstance(error, ResponseFailed):
        return "the connection ended before the answer did"
    return " ".join(str(error).split())[:200]
