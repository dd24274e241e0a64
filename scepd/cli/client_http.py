"""The HTTP rim of the SCEP client: one request, one bounded answer (RFC 8894 section 4.1)."""

import http.client
import ssl
from pathlib import Path
from urllib.parse import SplitResult, quote, urlsplit

import attrs

from scepd.message import tlv
from scepd.message.names import PKI_MESSAGE_TYPE, Operation
from scepd.message.query import build_get
from scepd.refusal import OperatorError

_LONGEST_ANSWER = 1 << 20  # octets; a CertRep with a long chain is a few tens of kilobytes
# A reply with a CRL: one of 100,000 entries has 5 MB, and some servers write it in pieces of a few hundred octets.
CRL_LIMITS = tlv.Limits(size=1 << 26, elements=1 << 24, fragments=1 << 18)


@attrs.frozen
class Response:
    """What a server answered: status, media type without parameters in lower case, body."""

    status: int
    content_type: str
    body: bytes


@attrs.frozen
class Server:
    """A SCEP server as a client sees it: its URL, and for https the CA certificates to trust (None = the system's).

    `tls_certificate` is shown to a server that asks for one; where there is no `tls_key` its key is in the same file.
    """

    url: str
    ca_file: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    timeout: float = 30.0  # seconds
    limits: tlv.Limits | None = None  # of a reply that may be large; None: those of every other

    @property
    def longest(self) -> int:
        """The most octets that an answer may have."""
        return _LONGEST_ANSWER if self.limits is None else self.limits.size

    def ask(self, operation: Operation, message: str = "") -> Response:
        """GET an operation, with the CA identifier or nothing in `message`."""
        query = f"operation={operation.value}"
        if message:
            query += f"&message={quote(message, safe='')}"
        return self._request("GET", query, None)

    def deliver(self, message: bytes, *, post: bool) -> Response:
        """Send a PKIMessage, by POST or, for servers that do not take one, base64-encoded in a GET."""
        if post:
            return self._request("POST", f"operation={Operation.PKIOperation.value}", message)
        return self._request("GET", build_get(message), None)

    def _request(self, method: str, query: str, body: bytes | None) -> Response:
        parts = _split(self.url)
        headers = {"Connection": "close", "Accept": "*/*"}
        if body is not None:
            headers["Content-Type"] = PKI_MESSAGE_TYPE
        connection = self._connect(parts)
        try:
            connection.request(method, f"{parts.path or '/'}?{query}", body, headers)
            answer = connection.getresponse()
            content = answer.read(self.longest + 1)
        except ssl.SSLCertVerificationError as error:
            raise OperatorError(
                f"the certificate of {parts.netloc} is not trusted: {error.verify_message}",
                "--ca-file FILE with the certificate of the CA that issued it",
            ) from error
        except (OSError, http.client.HTTPException) as error:
            wants = isinstance(error, ssl.SSLError) and "CERTIFICATE_REQUIRED" in (error.reason or "")
            hint = "--tls-certificate FILE --tls-key FILE" if wants else "is the server running, and the URL right?"
            raise OperatorError(f"no answer from {self.url}: {error}", hint) from error
        finally:
            connection.close()
        if len(content) > self.longest:
            raise OperatorError(f"{self.url} answered more than {self.longest} octets", "is this a SCEP server?")
        media_type = answer.getheader("Content-Type", "").partition(";")[0].strip().lower()
        return Response(answer.status, media_type, content)

    def _connect(self, parts: SplitResult) -> http.client.HTTPConnection:
        if parts.scheme == "http":
            return http.client.HTTPConnection(parts.netloc, timeout=self.timeout)
        return http.client.HTTPSConnection(parts.netloc, timeout=self.timeout, context=self._context())

    def _context(self) -> ssl.SSLContext:
        context = _trust(self.ca_file)
        if self.tls_certificate is not None:
            try:
                context.load_cert_chain(self.tls_certificate, self.tls_key, password=_no_password)
            except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
                files = f"{self.tls_certificate} and {self.tls_key or 'a key in the same file'}"
                hint = "--tls-certificate with the certificate (PEM) and those above it, --tls-key with its key (PEM)"
                raise OperatorError(f"{files} cannot be shown to the server: {error}", hint) from error
        return context


def _split(url: str) -> SplitResult:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise OperatorError(f"{url!r} is no SCEP URL", "--url http://pki.example.net/scep/PROFILE")
    return parts


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise OperatorError(f"no CA certificate can be read from {ca_file}: {error}", "--ca-file FILE.pem") from error


def _no_password() -> str:
    raise ValueError("the key is encrypted")
