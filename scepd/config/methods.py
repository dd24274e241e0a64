"""From one entry of [profile.NAME] challenge to the rule of its method."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from types import MappingProxyType

import attrs

from scepd.config.access_sections import ChallengeSection
from scepd.config.backends import compile_intune, compile_webhook, written
from scepd.config.secret import Surroundings, read_secret
from scepd.problems import Place, Refused
from scepd.profile.model import (
    ChallengeRule,
    ClientCertificateRule,
    EntityRule,
    NoChallengeRule,
    OneTimeRule,
    SignedRule,
    StaticRule,
)
from scepd.refusal import OperatorError
from scepd.x509.anchors import read_anchors

_SHORTEST_STATIC = 20  # characters (threats S-30)
_LONGEST_TOKEN = timedelta(days=1)

# Which keys a method takes; it has no use for any other.
_KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "one-time": ("valid",),
        "static": ("secret", "insecurely_short"),
        "none": (),
        "entity": ("valid", "mode"),
        "webhook": ("url", "secret", "trust", "timeout", "attributes", "on_failure", "insecurely_plain"),
        "intune": (
            "tenant", "client_id", "secret", "certificate", "key", "authority", "graph", "trust", "proxy", "timeout",
            "on_failure", "insecurely_plain",
        ),
        "signed": ("trust", "audience", "lifetime", "per_device", "window"),
        "client-certificate": (),
    }
)  # fmt: skip


def compile_method(section: ChallengeSection, surroundings: Surroundings, place: Place) -> ChallengeRule | None:
    """Return the rule of one method, None where its method is unknown or something is lacking."""
    if section.method is None:
        return None
    takes = _KEYS[section.method]
    for name in attrs.fields_dict(ChallengeSection):
        if name not in {"method", *takes} and getattr(section, name) not in {None, False}:
            keys = f"its keys: {', '.join(takes)}" if takes else "it has no keys"
            (place / name).problem(f"method {section.method} does nothing with it", f"leave it out; {keys}")
    return _COMPILERS[section.method](section, surroundings, place)


def _compile_one_time(section: ChallengeSection, _surroundings: Surroundings, _place: Place) -> OneTimeRule:
    return OneTimeRule(**written(section, "valid"))


def _compile_none(_section: ChallengeSection, _surroundings: Surroundings, _place: Place) -> NoChallengeRule:
    return NoChallengeRule()


def _compile_entity(section: ChallengeSection, _surroundings: Surroundings, _place: Place) -> EntityRule:
    return EntityRule(**written(section, "valid", "mode"))


def _compile_client_certificate(
    _section: ChallengeSection, _surroundings: Surroundings, _place: Place
) -> ClientCertificateRule:
    return ClientCertificateRule()


def _compile_static(section: ChallengeSection, surroundings: Surroundings, place: Place) -> StaticRule | None:
    place = place / "secret"
    if section.secret is None:
        place.problem("is missing or cannot be used", 'secret = { credential = "routers-challenge" }')
        return None
    try:
        secret = read_secret(section.secret, surroundings)
    except Refused as refused:
        place.refuse(refused)
        return None
    text = secret.reveal()
    if not text.strip() or not text.isprintable():
        place.problem("the challenge has control characters or nothing but spaces", "write one line of text")
    elif len(text) < _SHORTEST_STATIC and not section.insecurely_short:
        hint = "openssl rand -hex 16 makes a good one; insecurely_short = true takes this one all the same"
        place.problem(f"the challenge is shorter than {_SHORTEST_STATIC} characters", hint)
    return StaticRule(secret)


def _compile_signed(section: ChallengeSection, surroundings: Surroundings, place: Place) -> SignedRule | None:
    for key, example in (("trust", 'trust = "anchors.pem"'), ("audience", 'audience = "https://pki.example.net/scep"')):
        if getattr(section, key) is None and not (place / key).is_noted:
            (place / key).problem("is missing", example)
    if section.lifetime is not None and section.lifetime > _LONGEST_TOKEN:
        (place / "lifetime").problem("is longer than a day", 'lifetime = "1h"')
    if section.trust is None:
        return None
    path = surroundings.resolve(section.trust)
    try:
        read_anchors(path.read_bytes(), surroundings.now)
    except OSError as error:
        (place / "trust").problem(f"{path} cannot be read: {error.strerror}", f"ls -l {path}")
        return None
    except OperatorError as error:  # the judge of the worker, so that what passes here starts there
        (place / "trust").problem(f"{path}: {error.problem}", error.hint)
        return None
    if section.audience is None:
        return None
    values = written(section, "lifetime", "per_device", "window")
    return SignedRule(trust=path, audience=section.audience, **values)


_COMPILERS: Mapping[str, Callable[[ChallengeSection, Surroundings, Place], ChallengeRule | None]] = MappingProxyType(
    {
        "one-time": _compile_one_time,
        "static": _compile_static,
        "none": _compile_none,
        "entity": _compile_entity,
        "webhook": compile_webhook,
        "intune": compile_intune,
        "signed": _compile_signed,
        "client-certificate": _compile_client_certificate,
    }
)
