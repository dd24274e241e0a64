"""Intune: each request is validated by Microsoft's service before it is issued, and its end reported there.

The interface is that of Microsoft's library for third-party certification authorities, Intune-Resource-Access.
"""

import hashlib
import json
import uuid
from collections.abc import Callable
from datetime import UTC
from typing import Any, Self
from urllib.parse import urlsplit

from cryptography import x509

from scepd.challenge.graph import Directory
from scepd.challenge.intune_errors import NOT_OURS, SUCCESS, hresult_of, refusal_of
from scepd.challenge.remote_connect import Proxy
from scepd.challenge.remote_http import HttpsClient, within
from scepd.challenge.requested import base64_text, requested_attributes, requested_names
from scepd.challenge.strict_json import NotStrict, parse_object
from scepd.ports import Clock, Question
from scepd.profile.access import IntuneRule
from scepd.records import Identity, Notice
from scepd.refusal import Unavailable
from scepd.x509.names import from_x509, to_text

API_VERSION = "2018-02-20"
SCOPE = "https://api.manage.microsoft.com/.default"

_CALLER = "scepd"
_DESCRIPTION = 255  # characters of a failure that Intune takes


class IntuneService:
    """The validation service of one tenant."""

    def __init__(
        self, client: HttpsClient, directory: Directory, reactor: Any, *, timeout: float, random: Callable[[int], bytes]
    ) -> None:
        """Take the way there; `timeout` are seconds for a whole act, its token and address included."""
        self._client = client
        self._directory = directory
        self._reactor = reactor
        self._timeout = timeout
        self._random = random

    @classmethod
    def of_rule(cls, rule: IntuneRule, reactor: Any, clock: Clock, random: Callable[[int], bytes]) -> Self:
        """Return the service of a rule. Raises `OperatorError` for credentials and trust that cannot be used."""
        timeout = rule.timeout.total_seconds()
        client = HttpsClient(reactor, rule.trust_pem, timeout=timeout, proxy=proxy_of(rule.proxy))
        directory = Directory(client, rule, clock=clock, random=random)
        return cls(client, directory, reactor, timeout=timeout, random=random)

    async def act(self, action: str, fields: dict[str, Any]) -> str:
        """Return the code that the service answers an action with; raises `Unavailable` where there is none."""
        return await within(self._reactor, self._timeout, self._act(action, fields), "Intune")

    async def _act(self, action: str, fields: dict[str, Any]) -> str:
        headers = {
            "Content-Type": "application/json",
            "api-version": API_VERSION,
            "client-request-id": str(uuid.UUID(bytes=self._random(16), version=4)),
            "UserAgent": _CALLER,  # spelled as Microsoft's library does
        }
        url = f"{await self._directory.service()}/ScepActions/{action}?api-version={API_VERSION}"
        body = json.dumps(fields, separators=(",", ":")).encode()
        try:
            answer = await self._directory.authorized("POST", url, scope=SCOPE, body=body, headers=headers)
            if answer.status != 200:
                raise Unavailable(f"Intune: HTTP {answer.status}", answer.retry_after)  # noqa: TRY301 - as any failure
        except Unavailable:
            self._directory.forget_service()  # it may have moved
            raise
        return _code(answer.body)


def _code(body: bytes) -> str:
    try:
        members = parse_object(body)
    except NotStrict as error:
        raise Unavailable(f"Intune: {error}") from error
    code, words = members.get("code"), members.get("errorDescription")
    if not isinstance(code, str) or not (words is None or isinstance(words, str)):
        raise Unavailable("Intune: an answer without a code")
    return code


class IntuneMethod:
    """`ports.RemoteMethod` that lets Intune judge the request with its challenge.

    What Intune has found equal to its SCEP profile it vouches for: the names and the subject of the request.
    """

    name = "intune"

    def __init__(self, service: IntuneService, *, is_last: bool = True) -> None:
        """Where it is not the profile's last method, challenges that are none of Intune's go on to the next."""
        self._service = service
        self._is_last = is_last

    async def ask(self, question: Question) -> Identity | None:
        """Return whom Intune knows. Raises `Reject` for its no, by `intune_errors`, and `Unavailable`."""
        csr = question.csr
        if not csr.challenge:
            return None
        names = requested_names(csr)
        code = await self._service.act("validateRequest", {"request": _request(question.transaction_id, csr.der)})
        if code == SUCCESS:
            return Identity(self.name, to_text(csr.subject), names=names, attributes=requested_attributes(csr))
        if code in NOT_OURS and not self._is_last:
            return None
        raise refusal_of(code)


class IntuneNotifier:
    """`ports.Notifier` that reports certificates and refusals, so that the console shows them."""

    def __init__(self, service: IntuneService) -> None:
        """Take the tenant's service."""
        self._service = service

    async def notify(self, notice: Notice) -> None:
        """Report an end; that a request waits is not reported. Raises `Unavailable`, also for a code that is no success."""
        if notice.identity_method != IntuneMethod.name or notice.outcome == "pending" or notice.csr_der is None:
            return
        fields = _request(notice.transaction_id, notice.csr_der)
        if notice.outcome == "issued":
            code = await self._service.act("successNotification", {"notification": {**fields, **_success(notice)}})
        else:
            code = await self._service.act("failureNotification", {"notification": {**fields, **_failure(notice)}})
        if code != SUCCESS:
            raise Unavailable(f"notification: {refusal_of(code).detail}")


def proxy_of(url: str | None) -> Proxy | None:
    """Return the proxy of an http://host:port URL."""
    parts = urlsplit(url or "")
    return None if not parts.hostname else Proxy(parts.hostname, parts.port or 3128)


def _request(transaction_id: str, csr_der: bytes) -> dict[str, Any]:
    return {"transactionId": transaction_id, "certificateRequest": base64_text(csr_der), "callerInfo": _CALLER}


def _success(notice: Notice) -> dict[str, Any]:
    der = notice.certificate_der or b""
    certificate = x509.load_der_x509_certificate(der)
    end = certificate.not_valid_after_utc.astimezone(UTC)
    return {
        "certificateThumbprint": hashlib.sha1(der, usedforsecurity=False).hexdigest().upper(),
        "certificateSerialNumber": f"{certificate.serial_number:X}",
        "certificateExpirationDateUtc": end.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "issuingCertificateAuthority": to_text(from_x509(certificate.issuer)),
    }


def _failure(notice: Notice) -> dict[str, Any]:
    return {"hResult": hresult_of(notice.reason), "errorDescription": notice.reason[:_DESCRIPTION] or "rejected"}
