"""JSON Web Tokens read so that they have one meaning (RFC 7515, RFC 8725): the signature first, by the anchor's algorithm alone."""

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Any

import jwt

from scepd.challenge.strict_json import NotStrict, parse_object
from scepd.refusal import Reason
from scepd.x509.anchors import Anchor

_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_LONGEST = 16_384  # characters
# What a header may say. None of it is used but `alg`, which must be what the anchor says; jku, jwk, x5u, x5c, crit
# and b64 would have us do something else, so their mere presence refuses (threats S-87, S-88).
_HEADER = frozenset({"alg", "typ", "kid", "x5t", "x5t#S256"})


class TokenRefused(Exception):  # noqa: N818 - a judgement
    """The text is a token that cannot be believed, and why."""

    def __init__(self, detail: str, reason: Reason = Reason.challenge_malformed) -> None:
        """Keep both; `detail` has nothing of the token."""
        super().__init__(detail)
        self.reason = reason


def is_token(text: str) -> bool:
    """Return whether a text has the outer form of a token: three parts of base64url without padding."""
    return len(text) <= _LONGEST and _SHAPE.fullmatch(text) is not None


def read_token(text: str, anchors: Sequence[Anchor]) -> tuple[Anchor, dict[str, Any]]:
    """Return whose token it is, and its claims; raises `TokenRefused`, whose text has nothing of the token."""
    head, body, _ = text.split(".")
    try:
        header = parse_object(_octets(head))
        claims = _octets(body)
    except (NotStrict, binascii.Error) as error:
        raise TokenRefused("its header or claims are not one JSON object") from error
    unknown = set(header) - _HEADER
    if unknown:
        raise TokenRefused(f"its header has {len(unknown)} members that are not taken")
    algorithm = header.get("alg")
    usable = [anchor for anchor in anchors if anchor.algorithm == algorithm]
    anchor = next((anchor for anchor in usable if _is_signed_by(text, anchor)), None)
    if anchor is None:
        detail = "it is not signed by a trusted key" if usable else "its algorithm is that of no trusted key"
        raise TokenRefused(detail, Reason.challenge_signature_invalid)
    try:
        return anchor, parse_object(claims)
    except NotStrict as error:
        raise TokenRefused(f"its claims: {error}") from error


def _octets(part: str) -> bytes:
    octets = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    if base64.urlsafe_b64encode(octets).decode().rstrip("=") != part:
        raise binascii.Error("bits that mean nothing")
    return octets


def _is_signed_by(text: str, anchor: Anchor) -> bool:
    try:
        jwt.PyJWS().decode(text, anchor.key, algorithms=[anchor.algorithm])
    except (jwt.InvalidTokenError, ValueError):
        return False
    return True
