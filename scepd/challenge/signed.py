"""The signed challenge: a token about exactly one request, that needs no service to be believed (threats L)."""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from scepd.challenge.anchors import AnchorFile
from scepd.challenge.requested import requested_attributes, requested_key, requested_names, requested_purposes
from scepd.challenge.token import TokenRefused, is_token, read_token
from scepd.message.csr import CertificationRequest
from scepd.ports import Store
from scepd.profile.access import SignedRule
from scepd.records import Identity, Ticket
from scepd.refusal import Reason, Reject
from scepd.x509.anchors import Anchor
from scepd.x509.keys import spki_digest
from scepd.x509.names import to_text

LEEWAY = timedelta(seconds=60)  # by which the issuer's clock may differ

_FAR = 253_402_300_799  # seconds: the end of 9999; milliseconds are beyond it
_TEXT = re.compile(r"[!-~](?:[ -~]{0,254}[!-~])?")
_IDENTIFIER = re.compile(r"[!-~]{16,128}")
_SPKI = re.compile(r"[0-9a-f]{64}")
_VERSION = 1  # of the claims; a token that does not say is of this one
_TAKEN = frozenset({"iss", "sub", "aud", "iat", "nbf", "exp", "jti", "csr"})
_BINDING = frozenset({"spki", "subject", "names", "key", "eku"})


@attrs.frozen
class _Claims:
    """The claims after every check of their form; `binding` is what they say of the request."""

    issuer: str
    device: str
    identifier: str
    issued: datetime
    begins: datetime
    ends: datetime
    binding: dict[str, Any]


class SignedChallenge:
    """`ports.ChallengeMethod` for tokens signed by the keys of a file.

    Anything that has not the form of a token is left to the next method. A token is judged here for good: which
    method sees it is decided by the profile's order alone (threats S-93).
    """

    name = "signed"

    def __init__(self, rule: SignedRule, anchors: AnchorFile) -> None:
        """Take the profile's rule and the file's anchors."""
        self._rule = rule
        self._anchors = anchors

    def authenticate(self, csr: CertificationRequest, store: Store, now: datetime) -> Identity | None:
        """Return the device that the token names, with the ticket that `Store.claim` takes; None without a token.

        Raises Reject with the reason (challenge_...): malformed, version_unknown, signature_invalid, wrong_audience,
        not_yet_valid, expired, not_for_request, replayed.
        """
        text = csr.challenge.reveal() if csr.challenge else ""
        if not is_token(text):
            return None
        try:
            anchor, members = read_token(text, self._anchors.anchors(now))
            claims = _read_claims(members, self._rule.audience)
        except TokenRefused as refused:
            raise Reject(refused.reason, f"the signed challenge is refused: {refused}") from refused
        _check_time(claims, self._rule.lifetime, now)
        vouches = _check_binding(claims.binding, csr)
        ticket = _ticket(anchor, claims, self._rule)
        _check_unused(store, ticket, csr)
        return Identity(
            self.name,
            claims.device,
            names=requested_names(csr) if vouches else (),
            attributes=requested_attributes(csr) if vouches else (),
            ticket=ticket,
        )


def _ticket(anchor: Anchor, claims: _Claims, rule: SignedRule) -> Ticket:
    # Not the profile: a token that two profiles would take is spent for both. Not the claimed issuer: whoever has the
    # key can write any.
    digest = hashlib.sha256(anchor.key_id + claims.identifier.encode()).digest()
    return Ticket(digest, claims.device, claims.ends + LEEWAY, rule.per_device, rule.window)


def _check_unused(store: Store, ticket: Ticket, csr: CertificationRequest) -> None:
    """Refuse what another key used already; the same key's request is answered by `Store.claim` (C-207)."""
    holder = store.ticket_holder(ticket)
    if holder is not None and holder.key.requester != spki_digest(csr.spki_der):
        raise Reject(Reason.challenge_replayed, f"the signed challenge was used for transaction {holder.id}")


def _read_claims(members: dict[str, Any], audience: str) -> _Claims:
    # Before the others, which another version may have made otherwise.
    version = members.get("ver", _VERSION)
    if type(version) is not int or version != _VERSION:
        raise TokenRefused("its version is not known here", Reason.challenge_version_unknown)
    members = {name: value for name, value in members.items() if name != "ver"}
    if set(members) != _TAKEN:
        missing, others = sorted(_TAKEN - set(members)), len(set(members) - _TAKEN)
        raise TokenRefused(f"it must have exactly its eight claims: missing {missing}, {others} others")
    if members["aud"] not in (audience, [audience]):
        raise TokenRefused("it is for another audience", Reason.challenge_wrong_audience)
    return _Claims(
        issuer=_text(members, "iss", _TEXT),
        device=_text(members, "sub", _TEXT),
        identifier=_text(members, "jti", _IDENTIFIER),
        issued=_moment(members, "iat"),
        begins=_moment(members, "nbf"),
        ends=_moment(members, "exp"),
        binding=_read_binding(members["csr"]),
    )


def _text(members: dict[str, Any], name: str, form: re.Pattern[str]) -> str:
    value = members[name]
    if not isinstance(value, str) or not form.fullmatch(value):
        raise TokenRefused(f"its {name} has not the agreed form")
    return value


def _moment(members: dict[str, Any], name: str) -> datetime:
    value = members[name]
    if type(value) is not int or not 0 < value <= _FAR:  # True is an int, too
        raise TokenRefused(f"its {name} is no time in seconds")
    return datetime.fromtimestamp(value, UTC)


def _read_binding(value: object) -> dict[str, Any]:
    """Return what is said of the request: its key, or subject and names, or all of them."""
    if not isinstance(value, dict) or not set(value) <= _BINDING:
        raise TokenRefused("its csr has not the agreed members")
    if ("subject" in value) != ("names" in value) or not {"spki", "subject"} & set(value):
        raise TokenRefused("it is bound to no request: csr needs spki, or subject and names")
    forms = {"spki": _is_spki, "subject": _is_text, "names": _is_texts, "key": _is_text, "eku": _is_texts}
    for name, member in value.items():
        if not forms[name](member):
            raise TokenRefused(f"its csr.{name} has not the agreed form")
    return value


def _is_spki(value: object) -> bool:
    return isinstance(value, str) and _SPKI.fullmatch(value) is not None


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value)) and len(set(value)) == len(value)


def _check_time(claims: _Claims, lifetime: timedelta, now: datetime) -> None:
    if not claims.issued < claims.ends <= claims.issued + lifetime or claims.begins >= claims.ends:
        raise Reject(Reason.challenge_malformed, f"the signed challenge is valid for longer than {lifetime}, or never")
    if max(claims.issued, claims.begins) > now + LEEWAY:
        raise Reject(Reason.challenge_not_yet_valid, "the signed challenge is of the future")
    if claims.ends + LEEWAY <= now:
        raise Reject(Reason.challenge_expired, f"the signed challenge expired {claims.ends.isoformat()}")


def _check_binding(binding: dict[str, Any], csr: CertificationRequest) -> bool:
    """Refuse another request than the token's; return whether the token vouches for subject and names.

    All that it names must be equal, none may be absent or in excess (threats S-92).
    """
    found = {
        "spki": spki_digest(csr.spki_der).hex(),
        "subject": to_text(csr.subject),
        "names": sorted(requested_names(csr)),
        "key": requested_key(csr),
        "eku": sorted(requested_purposes(csr)) if "eku" in binding else [],
    }
    for name, wanted in binding.items():
        if found[name] != (sorted(wanted) if isinstance(wanted, list) else wanted):
            raise Reject(Reason.challenge_not_for_request, f"the signed challenge is for another {name}")
    return "subject" in binding
