"""Services of the operator's own: asked who a device is and whether it may have a certificate, told how requests end.

Every body is signed: `Scepd-Signature: t=<unix seconds>,v1=<hex HMAC-SHA-256 of t + "." + body>` (threats S-82).
"""

import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any, Self

import attrs

from scepd.challenge.remote_http import HttpAnswer, HttpsClient
from scepd.challenge.requested import base64_text, question_fields
from scepd.challenge.strict_json import NotStrict, parse_object
from scepd.ports import Clock, Question
from scepd.profile.access import WebhookRule
from scepd.records import Identity, Notice, Secret
from scepd.refusal import Reason, Reject, Unavailable
from scepd.store.outbox import write_notice
from scepd.x509.general_names import general_name_from_text

SIGNATURE = "Scepd-Signature"

_NONCE = 16  # octets
_DECISIONS = ("allow", "deny", "unknown")
_MOST_NAMES = 100
_LONGEST = 1_024  # characters of a text in an answer


class Hook:
    """One service: its URL, which is constant whatever a request says, and the secret that it shares with us."""

    def __init__(
        self, client: HttpsClient, url: str, secret: Secret, *, clock: Clock, random: Callable[[int], bytes]
    ) -> None:
        """Keep them; nothing is sent yet."""
        self._client = client
        self._url = url
        self._secret = secret
        self._clock = clock
        self._random = random

    @classmethod
    def of_rule(cls, rule: WebhookRule, reactor: Any, clock: Clock, random: Callable[[int], bytes]) -> Self:
        """Return the service of a rule. Raises `OperatorError` for an unusable trust bundle."""
        plain = rule.url.startswith("http://")
        client = HttpsClient(reactor, rule.trust_pem, timeout=rule.timeout.total_seconds(), plain=plain)
        return cls(client, rule.url, rule.secret, clock=clock, random=random)

    async def post(self, kind: str, fields: Mapping[str, Any]) -> HttpAnswer:
        """Send signed JSON; raises `Unavailable`. `kind` tells the service what it is asked, or that it is told."""
        now = self._clock.now()
        framed = {"kind": kind, **fields, "time": now.isoformat(), "nonce": self._random(_NONCE).hex()}
        body = json.dumps(framed, ensure_ascii=True, separators=(",", ":")).encode()
        moment = int(now.timestamp())
        headers = {"Content-Type": "application/json", SIGNATURE: f"t={moment},v1={self.signature(moment, body)}"}
        return await self._client.send("POST", self._url, headers, body)

    def signature(self, moment: int, body: bytes) -> str:
        """Return the signature of a body sent at that second."""
        return hmac.new(self._secret.reveal().encode(), b"%d." % moment + body, "sha256").hexdigest()


@attrs.frozen
class Verdict:
    """What a service decided; `name`, `attributes` and `names` are what it vouches for."""

    decision: str
    name: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    names: tuple[str, ...] = ()


def read_verdict(answer: HttpAnswer, attributes: tuple[str, ...] = ()) -> Verdict:
    """Return the verdict of an answer; raises `Unavailable` for everything that is not exactly one.

    `attributes` are the short names that the profile lets the service fill in.
    """
    if answer.status != 200:
        raise Unavailable(f"webhook: HTTP {answer.status}", answer.retry_after)
    try:
        return _verdict(parse_object(answer.body), attributes)
    except NotStrict as error:
        raise Unavailable(f"webhook: not the agreed answer: {error}") from error


def _verdict(fields: dict[str, Any], attributes: tuple[str, ...]) -> Verdict:
    verdict = Verdict(
        fields.pop("decision", ""),
        _text(fields.pop("name", "")),
        _attributes(fields.pop("attributes", {}), attributes),
        _names(fields.pop("names", [])),
    )
    if verdict.decision not in _DECISIONS:
        raise NotStrict("no decision")
    if fields:
        raise NotStrict(f"{len(fields)} members that were not agreed on")
    if verdict.decision != "allow" and (verdict.attributes or verdict.names):
        raise NotStrict("something is vouched for, but not allowed")
    return verdict


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST or not value.isprintable():
        raise NotStrict("a text that is none, is too long, or cannot be printed")
    return value


def _attributes(value: object, allowed: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict) or not set(value) <= set(allowed):
        raise NotStrict("attributes that the profile does not take from it")
    pairs = tuple((name, _text(text)) for name, text in value.items())
    if not all(text for _, text in pairs):
        raise NotStrict("an empty attribute")
    return pairs


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > _MOST_NAMES:
        raise NotStrict("names that are no short list")
    return tuple(map(_name, value))


def _name(value: object) -> str:
    """Return a name as certificates have it, by which it is compared with the service's own (threats S-57)."""
    name = general_name_from_text(_text(value))
    if name is None:
        raise NotStrict("a name that no certificate could carry")
    return f"{name.kind}:{name.value}"


class WebhookMethod:
    """`ports.RemoteMethod` that leaves the judgement to a service, which is sent request and challenge."""

    name = "webhook"

    def __init__(self, hook: Hook, attributes: tuple[str, ...] = ()) -> None:
        """Take the service, and the subject's attributes that it may fill in."""
        self._hook = hook
        self._attributes = attributes

    async def ask(self, question: Question) -> Identity | None:
        """Return whom the service knows; None where it does not know the challenge, or there is none.

        Raises Reject(challenge_backend_denied) for its no, `Unavailable` for no answer or any but the agreed ones.
        """
        challenge = question.csr.challenge
        if not challenge:
            return None
        fields = {
            **question_fields(question),
            "csr": base64_text(question.csr.der),
            "challenge": challenge.reveal(),
        }
        verdict = read_verdict(await self._hook.post("challenge", fields), self._attributes)
        if verdict.decision == "unknown":
            return None
        if verdict.decision == "deny":
            raise Reject(Reason.challenge_backend_denied, f"the webhook denied it: {verdict.name}")
        name = verdict.name or question.csr.fingerprint
        return Identity(self.name, name, names=verdict.names, attributes=verdict.attributes)


class WebhookCompliance:
    """The hook between authentication and issuing: whether somebody known may have a certificate now."""

    name = "compliance"

    def __init__(self, hook: Hook) -> None:
        """Take the service."""
        self._hook = hook

    async def ask(self, question: Question) -> Identity | None:
        """Return the identity that was asked about; the challenge is not sent.

        Raises Reject(compliance_denied) for no and for unknown, `Unavailable` as `WebhookMethod.ask`.
        """
        identity = question.identity
        fields = {
            **question_fields(question),
            "csr": base64_text(question.csr.without_challenge_der),
            "identity": None if identity is None else {"method": identity.method, "name": identity.name},
            "renews": None if question.renews is None else f"{question.renews:x}",
        }
        verdict = read_verdict(await self._hook.post("compliance", fields))
        if verdict.decision != "allow":
            raise Reject(Reason.compliance_denied, f"the compliance hook said {verdict.decision}: {verdict.name}")
        return identity


class WebhookNotifier:
    """`ports.Notifier`: a notice is delivered when the service answers 2xx, whatever the body says."""

    def __init__(self, hook: Hook) -> None:
        """Take the service."""
        self._hook = hook

    async def notify(self, notice: Notice) -> None:
        """Tell; `number` is the same each time that a notice is repeated. Raises `Unavailable`."""
        fields = {"number": notice.number, **json.loads(write_notice(notice))}
        answer = await self._hook.post("notice", fields)
        if not 200 <= answer.status < 300:
            raise Unavailable(f"webhook: HTTP {answer.status}", answer.retry_after)
