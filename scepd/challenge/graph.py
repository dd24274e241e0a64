"""Microsoft's directory: tokens for an application (OAuth 2.0 client credentials) and where Intune's services are."""

import base64
import hashlib
import re
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

import attrs
import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from twisted.internet.defer import DeferredLock

from scepd.challenge.remote_http import HttpAnswer, HttpsClient
from scepd.challenge.strict_json import NotStrict, parse_object
from scepd.ports import Clock
from scepd.profile.access import IntuneRule
from scepd.records import Secret
from scepd.refusal import OperatorError, Unavailable

INTUNE = "0000000a-0000-0000-c000-000000000000"  # Intune's own application ID
PROVIDER = "ScepRequestValidationFEService"

_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"  # RFC 7523 section 2.2
_ASSERTED = timedelta(minutes=5)
_EARLY = timedelta(minutes=2)  # before its end a token is not used any more
_SHORTEST_TOKEN, _LONGEST_TOKEN = 60, 86_400  # seconds
_KNOWN_FOR = timedelta(hours=24)  # how long a service's address is believed
_TOKEN = re.compile(r"[!-~]{1,32768}")
_ERROR = re.compile(r"[a-z_]{1,64}")


@attrs.frozen
class Application:
    """What we are in the tenant; proved by a secret, or by a certificate's key. `thumbprint` is x5t#S256."""

    tenant: str
    client_id: str
    secret: Secret | None
    key: rsa.RSAPrivateKey | None = attrs.field(default=None, repr=False)
    thumbprint: str = ""

    @classmethod
    def of_rule(cls, rule: IntuneRule) -> "Application":
        """Return the application of a rule. Raises `OperatorError` for a credential that cannot be used."""
        if rule.key_pem is None:
            return cls(rule.tenant, rule.client_id, rule.secret)
        hint = "openssl req -x509 -newkey rsa:2048 -nodes -keyout intune.key -out intune.pem -days 365 -subj /CN=scepd"
        try:
            certificate = x509.load_pem_x509_certificate(rule.certificate_pem)
            key = load_pem_private_key(rule.key_pem.reveal().encode(), None)
        except (ValueError, TypeError) as error:
            raise OperatorError("the application's certificate or key for Intune cannot be read", hint) from error
        if not isinstance(key, rsa.RSAPrivateKey):
            raise OperatorError("the application's key for Intune is no RSA key", hint)
        if key.public_key() != certificate.public_key():
            raise OperatorError("the application's certificate for Intune is not that of its key", hint)
        digest = hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()
        return cls(rule.tenant, rule.client_id, None, key, base64.urlsafe_b64encode(digest).decode().rstrip("="))


@attrs.frozen
class _Token:
    text: Secret
    until: datetime


class Directory:
    """Asks for tokens and addresses, keeps both, and asks once for all who wait."""

    def __init__(self, client: HttpsClient, rule: IntuneRule, *, clock: Clock, random: Callable[[int], bytes]) -> None:
        """Take the way there. Raises `OperatorError` for a credential that cannot be used."""
        self._client = client
        self._application = Application.of_rule(rule)
        self._token_url = f"{rule.authority.rstrip('/')}/{rule.tenant}/oauth2/v2.0/token"
        self._graph = rule.graph.rstrip("/")
        self._clock = clock
        self._random = random
        self._tokens: dict[str, _Token] = {}
        self._service: tuple[str, datetime] | None = None
        self._turn = DeferredLock()

    async def token(self, scope: str, *, refused: Secret | None = None) -> Secret:
        """Return a token for a scope, from memory unless it ends soon or is the `refused` one; raises `Unavailable`."""
        await self._turn.acquire()
        try:
            held = self._tokens.get(scope)
            if held is None or held.until <= self._clock.now() or (refused is not None and held.text == refused):
                self._tokens.pop(scope, None)
                held = self._tokens[scope] = await self._fetch_token(scope)
            return held.text
        finally:
            self._turn.release()

    async def service(self) -> str:
        """Return the URL of Intune's validation service; raises `Unavailable`."""
        if self._service is not None and self._clock.now() < self._service[1]:
            return self._service[0]
        url = f"{self._graph}/v1.0/servicePrincipals/appId={INTUNE}/endpoints"
        answer = await self.authorized("GET", url, scope=f"{self._graph}/.default")
        if answer.status != 200:
            raise Unavailable(f"Graph: HTTP {answer.status} for Intune's services", answer.retry_after)
        found = _service_of(_object(answer.body, "Graph"))
        self._service = (found, self._clock.now() + _KNOWN_FOR)
        return found

    def forget_service(self) -> None:
        """Ask for the address again before it is used next."""
        self._service = None

    async def authorized(
        self, method: str, url: str, *, scope: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> HttpAnswer:
        """Return the answer to a request with a token; where that is refused (401), with a new one, once."""
        token = await self.token(scope)
        answer = await self._send(method, url, token, body, headers or {})
        if answer.status == 401:
            token = await self.token(scope, refused=token)
            answer = await self._send(method, url, token, body, headers or {})
        return answer

    async def _send(
        self, method: str, url: str, token: Secret, body: bytes | None, headers: dict[str, str]
    ) -> HttpAnswer:
        return await self._client.send(method, url, {"Authorization": f"Bearer {token.reveal()}", **headers}, body)

    async def _fetch_token(self, scope: str) -> _Token:
        fields = {"grant_type": "client_credentials", "client_id": self._application.client_id, "scope": scope}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode({**fields, **self._credential()}).encode()
        answer = await self._client.send("POST", self._token_url, headers, body)
        if answer.status != 200:
            raise Unavailable(f"Entra: no token: {_entra_error(answer)}", answer.retry_after)
        members = _object(answer.body, "Entra")
        text, seconds = members.get("access_token"), members.get("expires_in")
        if (
            not isinstance(text, str)
            or not _TOKEN.fullmatch(text)
            or type(seconds) is not int
            or not _SHORTEST_TOKEN <= seconds <= _LONGEST_TOKEN
            or str(members.get("token_type")).lower() != "bearer"
        ):
            raise Unavailable("Entra: an answer that holds no token")
        valid = timedelta(seconds=seconds)
        return _Token(Secret(text), self._clock.now() + max(valid - _EARLY, valid / 2))

    def _credential(self) -> dict[str, str]:
        application = self._application
        if application.key is None:
            return {"client_secret": application.secret.reveal() if application.secret is not None else ""}
        now = self._clock.now()
        claims = {
            "aud": self._token_url,
            "iss": application.client_id,
            "sub": application.client_id,
            "jti": str(uuid.UUID(bytes=self._random(16), version=4)),
            "iat": int(now.timestamp()),
            "nbf": int(now.timestamp()),
            "exp": int((now + _ASSERTED).timestamp()),
        }
        header = {"x5t#S256": application.thumbprint}
        assertion = jwt.encode(claims, application.key, algorithm="PS256", headers=header)
        return {"client_assertion_type": _ASSERTION, "client_assertion": assertion}


def _object(body: bytes, who: str) -> dict[str, Any]:
    try:
        return parse_object(body)
    except NotStrict as error:
        raise Unavailable(f"{who}: {error}") from error


def _entra_error(answer: HttpAnswer) -> str:
    """Return Entra's own word and number, by which its documentation explains them; not its free text."""
    try:
        members = parse_object(answer.body)
    except NotStrict:
        return f"HTTP {answer.status}"
    word, numbers = members.get("error"), members.get("error_codes")
    known = isinstance(numbers, list) and numbers and type(numbers[0]) is int
    shown = word if isinstance(word, str) and _ERROR.fullmatch(word) else f"HTTP {answer.status}"
    return f"{shown}, AADSTS{numbers[0]}" if known and isinstance(numbers, list) else shown


def _service_of(members: dict[str, Any]) -> str:
    entries = members.get("value")
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict) or entry.get("providerName") != PROVIDER:
            continue
        address = _plain_https(entry.get("uri"))
        if address is None:
            raise Unavailable("Graph: an address of Intune's validation service that is no HTTPS URL")
        return address
    raise Unavailable(f"Graph: the tenant has no {PROVIDER}; does it have Intune?", 60)


def _plain_https(uri: object) -> str | None:
    """Return the URL if it is plain HTTPS to a host; nothing else will do, since the token goes there."""
    if not isinstance(uri, str) or not re.fullmatch(r"[!-~]{1,2048}", uri):
        return None
    try:
        parts = urlsplit(uri)
        reachable = parts.hostname and parts.port != 0
    except ValueError:  # brackets or a port that are none
        return None
    plain = parts.scheme == "https" and "@" not in parts.netloc and not (parts.query or parts.fragment)
    return parts.geturl().rstrip("/") if reachable and plain else None
