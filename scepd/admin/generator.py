"""The generator: where an MDM system has a one-time challenge made for a device, by a token (threats S-37)."""

import base64
import binascii
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any

import attrs

from scepd.admin.actions import PAGE, Actions, NewChallenge
from scepd.admin.binding import Binding
from scepd.challenge.digest import keyed_digest, new_challenge
from scepd.profile.model import OneTimeRule
from scepd.records import Secret, Token
from scepd.refusal import OperatorError

MOST_PER_MINUTE = 6_000
LONGEST_BODY = 16_384  # octets
LONGEST_PATTERN = 128  # characters
LONGEST_COMMON_NAME = 64  # X.520, ub-common-name
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_FIELDS = frozenset({"profile", "cn", "names", "subject", "key_type", "valid_seconds"})
# Jamf Pro says with its webhook what has happened, and takes the body of the answer for the challenge.
_WEBHOOK = frozenset({"webhook", "event"})
_WEBHOOK_EVENT = "SCEPChallenge"
_SCHEMES = (("WWW-Authenticate", "Bearer"), ("WWW-Authenticate", 'Basic realm="challenges"'))


@attrs.frozen
class Grant:
    """What a token is good for: those profiles, how many challenges and how fast, how long.

    `pattern`: the common names that it may have challenges for; each `*` stands for any characters, or none.
    """

    profiles: tuple[str, ...]
    pattern: str | None = None
    per_minute: int = 60
    most: int | None = None
    valid: timedelta | None = None


@attrs.frozen
class Asked:
    """A call as it came: `profile` from its path (None: its body names it), header names in lower case."""

    method: str
    profile: str | None
    headers: Mapping[str, str]
    body: bytes


@attrs.frozen
class GeneratorReply:
    """What is answered; it must be kept by nobody. For the log: whose token it was, and the profile."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("Cache-Control", "no-store"),)
    token: str | None = None
    profile: str | None = None


class Declined(Exception):  # noqa: N818 - an answer
    """A call that gets nothing: status and words, perhaps headers."""

    def __init__(self, status: int, problem: str, *headers: tuple[str, str]) -> None:
        """Keep what is answered."""
        super().__init__(problem)
        self.status = status
        self.problem = problem
        self.headers = headers


def new_token(actions: Actions, who: str, name: str, grant: Grant) -> tuple[Token, Secret]:
    """Make a token; the only moment at which its text exists here. Raises `OperatorError`."""
    if not _NAME.fullmatch(name):
        raise OperatorError(f"{name!r} is no name for a token", "letters, digits, dots and hyphens, at most 64")
    if not grant.profiles:
        raise OperatorError("a token must be bound to a profile", "scepd challenge token new NAME --profile PROFILE")
    for profile in grant.profiles:
        if not any(isinstance(rule, OneTimeRule) for rule in actions.profile(profile).challenge):
            hint = f'[profile.{profile}] challenge = [{{ method = "one-time" }}]'
            raise OperatorError(f"profile {profile!r} takes no one-time challenges", hint)
    if not 1 <= grant.per_minute <= MOST_PER_MINUTE or (grant.most is not None and grant.most < 1):
        raise OperatorError(
            "a token cannot have these limits", f"--per-minute 1 to {MOST_PER_MINUTE}, --most 1 or more"
        )
    if grant.valid is not None and grant.valid <= timedelta():
        raise OperatorError("a token cannot be valid for that long", "--valid 365d")
    _check_pattern(grant.pattern)
    secret, now = new_challenge(actions.random), actions.clock.now()
    token = Token(
        id=0,
        name=name,
        digest=keyed_digest(actions.store_key, secret.reveal()),
        profiles=grant.profiles,
        pattern=grant.pattern,
        per_minute=grant.per_minute,
        left=grant.most,
        expires=None if grant.valid is None else now + grant.valid,
        created=now,
        created_by=who,
    )
    return actions.repository.add_token(token), secret


def tokens(actions: Actions, limit: int) -> Sequence[Token]:
    """Return the tokens, newest first; as many of one's own, however many others there are."""
    own = (token for token in _all_tokens(actions) if actions.scope.has(*token.profiles))
    return list(islice(own, limit))


def _all_tokens(actions: Actions) -> Iterator[Token]:
    page = actions.repository.tokens(PAGE)
    while page:
        yield from page
        page = actions.repository.tokens(PAGE, below=page[-1].id)


def revoke_token(actions: Actions, who: str, name: str) -> None:
    """Let a token be used no more; raises `OperatorError` where there is none that could."""
    found = actions.repository.token(name)
    is_seen = found is not None and actions.scope.has(*found.profiles)
    if not is_seen or not actions.repository.revoke_token(name, who=who):
        raise OperatorError(f"there is no token {name!r} that could be revoked", "scepd challenge token list")


def answer(actions: Actions, asked: Asked) -> GeneratorReply:
    """Answer a call: 200 with a challenge; 400, 401, 403, 405, 413, 415 or 429 with words that tell no secret.

    What is asked for with a token that may not have it counts against the token's rate all the same. The challenge
    comes as JSON, as one line of text, or for callers of NDES as the words that they look for (`Accept`); a webhook
    gets nothing but the challenge.
    """
    try:
        token = _admit(actions, asked)
    except Declined as declined:
        return decline(declined)
    try:
        wish = _read(asked)
        profile = _profile(token, asked.profile, wish)
        own = actions.within(frozenset(token.profiles))
        made = own.new_challenge(f"token {token.name}", profile, _binding(token, wish))
    except Declined as declined:
        reply = decline(declined)
    except OperatorError as error:
        reply = decline(Declined(400, error.problem))
    else:
        reply = attrs.evolve(_reply(asked.headers.get("accept", ""), wish, made), profile=profile)
    return attrs.evolve(reply, token=token.name)


def decline(declined: Declined) -> GeneratorReply:
    """Return what a call gets that gets nothing."""
    words = (("Cache-Control", "no-store"), *declined.headers)
    body = json.dumps({"problem": declined.problem}).encode()
    return GeneratorReply(declined.status, "application/json", body, words)


def _admit(actions: Actions, asked: Asked) -> Token:
    if asked.method != "POST":
        raise Declined(405, "POST makes a challenge", ("Allow", "POST"))
    if "origin" in asked.headers or asked.headers.get("sec-fetch-site", "none") != "none":
        raise Declined(403, "not from a web page")  # a browser that a page has sent here
    if len(asked.body) > LONGEST_BODY:
        raise Declined(413, "the body is too long")
    token = actions.repository.find_token(keyed_digest(actions.store_key, _presented(asked.headers)))
    unknown = Declined(401, "the token is not accepted", *_SCHEMES)
    if token is None:
        raise unknown
    wait = actions.repository.take_token(token.id)
    if wait is None:
        raise unknown
    if wait:
        raise Declined(429, "too many challenges", ("Retry-After", str(math.ceil(wait))))
    return token


def _presented(headers: Mapping[str, str]) -> str:
    """Return the token of a call: as a bearer, or as the password of Basic, which is all that some callers know."""
    scheme, _, value = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""


def _read(asked: Asked) -> Mapping[str, Any]:
    if not asked.body.strip():
        return {}
    if asked.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Declined(415, "the body must be application/json")  # a form of a web page cannot say so
    try:
        wish = json.loads(asked.body, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise Declined(400, "the body is no JSON object") from None
    if isinstance(wish, dict) and wish.keys() == _WEBHOOK:
        return _read_webhook(wish)
    if not isinstance(wish, dict) or not wish.keys() <= _FIELDS:
        raise Declined(400, f"the body is no JSON object of {', '.join(sorted(_FIELDS))}")
    return wish


def _read_webhook(wish: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(wish["webhook"], dict) or wish["webhook"].get("webhookEvent") != _WEBHOOK_EVENT:
        raise Declined(400, f"the webhook is for no {_WEBHOOK_EVENT}")
    return {"webhook": _WEBHOOK_EVENT}


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member twice")
    return members


def _profile(token: Token, named: str | None, wish: Mapping[str, Any]) -> str:
    profile = wish.get("profile", named if named is not None else token.profiles[0])
    if profile not in token.profiles or named not in {None, profile}:
        raise Declined(403, "the token is not for that profile")
    return str(profile)


def _binding(token: Token, wish: Mapping[str, Any]) -> Binding:
    common_name, names, seconds = wish.get("cn"), wish.get("names", []), wish.get("valid_seconds")
    subject, key_type = wish.get("subject"), wish.get("key_type")
    texts = [common_name, subject, key_type]
    if not all(isinstance(text, str | None) for text in texts) or not isinstance(names, list):
        raise Declined(400, "cn, subject or key_type is no text, or names is no list")
    if not all(isinstance(name, str) for name in names):
        raise Declined(400, "names is no list of texts")
    if seconds is not None and (type(seconds) is not int or not 0 < seconds < 10**9):
        raise Declined(400, "valid_seconds is no number of seconds")
    if common_name is not None and len(common_name) > LONGEST_COMMON_NAME:
        raise Declined(400, f"cn has more than {LONGEST_COMMON_NAME} characters")
    if token.pattern is not None and (common_name is None or not _matches(token.pattern, common_name)):
        raise Declined(403, "the token is not for that common name")
    valid = None if seconds is None else timedelta(seconds=seconds)
    return Binding(common_name, tuple(names), valid, subject=subject, key_type=key_type)


def _check_pattern(pattern: str | None) -> None:
    if pattern is not None and not 0 < len(pattern) <= LONGEST_PATTERN:
        problem = f"a pattern of {len(pattern)} characters cannot be used"
        raise OperatorError(problem, f"--cn-pattern 'r*.example.net' (at most {LONGEST_PATTERN} characters)")


def _matches(pattern: str, text: str) -> bool:
    """Return whether the whole text is what the pattern says; no pattern takes longer than its length times the text's."""
    first, *others = pattern.split("*")
    if not others:
        return text == pattern
    *inner, last = others
    at, end = len(first), len(text) - len(last)
    if at > end or not text.startswith(first) or not text.endswith(last):
        return False
    for part in inner:  # the leftmost place leaves the most for those that follow
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _reply(accept: str, wish: Mapping[str, Any], made: NewChallenge) -> GeneratorReply:
    text = made.challenge.reveal()
    if "webhook" in wish:
        return GeneratorReply(200, "text/plain; charset=utf-8", text.encode())
    if "text/html" in accept:
        page = f"<P>The enrollment challenge password is: <B> {text} </B></P>"
        return GeneratorReply(200, "text/html; charset=utf-8", page.encode())
    if "text/plain" in accept:
        return GeneratorReply(200, "text/plain; charset=utf-8", f"{text}\n".encode())
    value = {"challenge": text, "profile": made.profile, "expires": made.expires.isoformat(timespec="seconds")}
    return GeneratorReply(200, "application/json", json.dumps(value).encode())
