"""The lines of the configuration that decide a step, as a person would write them."""

from collections.abc import Iterable
from datetime import timedelta

from scepd.admin.enrolment_views import METHOD_NAMES
from scepd.profile.access import ChallengeRule
from scepd.profile.model import Profile
from scepd.x509.names import SHORT_NAMES


def enabled(profile: Profile) -> str:
    """Return whether the configuration has the profile on."""
    return _line(profile, "enabled", _flag(profile.enabled))


def signature(profile: Profile) -> str:
    """Return which digests may sign a request."""
    return f"[profile.{profile.name}] digests: {', '.join(sorted(d.name for d in profile.csr_crypto.digests))}"


def key(profile: Profile) -> str:
    """Return which keys are certified."""
    keys = profile.keys
    words = [f"rsa = [{keys.rsa_minimum}, {keys.rsa_maximum}]", f"curves = {_list(sorted(keys.curves))}"]
    return _line(profile, "key", f"{{ {', '.join([*words, f'ed25519 = {_flag(keys.ed25519)}'])} }}")


def method(rule: ChallengeRule) -> str:
    """Return the name of a challenge method."""
    return METHOD_NAMES[type(rule)]


def challenge(profile: Profile, index: int | None) -> str:
    """Return the challenge list of a profile, or one entry of it."""
    if index is None:
        return _line(profile, "challenge", _list(method(rule) for rule in profile.challenge))
    return f"[profile.{profile.name}] challenge, entry {index + 1}: {method(profile.challenge[index])}"


def extensions(profile: Profile) -> str:
    """Return what becomes of extensions that nobody knows."""
    return _line(profile, "unknown_extensions", f'"{profile.unknown_extensions}"')


def subject(profile: Profile) -> str:
    """Return what the profile takes for a subject."""
    policy = profile.subject
    parts = [f"allow = {_list(policy.allow)}"]
    if policy.patterns:
        parts.append("patterns = {" + ", ".join(f"{word} = '{p.pattern}'" for word, p in policy.patterns) + "}")
    if policy.fixed:
        fixed = (f'{SHORT_NAMES.get(one.oid, one.oid)} = "{one.value}"' for one in policy.fixed)
        parts.append("set = {" + ", ".join(fixed) + "}")
    if policy.sources:
        parts.append("from = {" + ", ".join(f'{word} = "{source}"' for word, source in policy.sources) + "}")
    if policy.required:
        parts.append(f"required = {_list(policy.required)}")
    return _line(profile, "subject", f"{{ {', '.join(parts)} }}")


def names(profile: Profile) -> str:
    """Return what the profile takes for alternative names."""
    policy = profile.names
    lists = {
        "dns": policy.dns,
        "ip": tuple(map(str, policy.ip)),
        "email": policy.email,
        "uri": tuple(pattern.pattern for pattern in policy.uri),
        "copy": policy.copy,
        "required": policy.required,
    }
    parts = [f"{word} = {_list(values)}" for word, values in lists.items() if values]
    parts += [f"common_name = {_flag(policy.takes_common_name)}"]
    if policy.from_identity:
        parts.append("from_identity = true")
    return _line(profile, "names", f"{{ {', '.join(parts)} }}")


def compliance(profile: Profile) -> str:
    """Return where the compliance hook is written."""
    return f"[profile.{profile.name}] compliance"


def approval(profile: Profile) -> str:
    """Return whether a person is asked."""
    if profile.approval is None:
        return f"[profile.{profile.name}] approval is not written"
    return f"[profile.{profile.name}] approval, {'automatic' if profile.approval.automatic else 'always'}"


def limits(profile: Profile) -> str:
    """Return how many live certificates there may be."""
    words = [f"unique_subject = {_flag(profile.unique_subject)}", f"unique_key = {_flag(profile.unique_key)}"]
    if profile.most_active is not None:
        words.append(f"most_active = {profile.most_active}")
    return f"[profile.{profile.name}] {'; '.join(words)}"


def draft(profile: Profile) -> str:
    """Return what the certificate is made of besides."""
    usages = f"key_usage = {_list(sorted(profile.key_usage))}; extended_key_usage = {_list(profile.extended_key_usage)}"
    return f'[profile.{profile.name}] issuer = "{profile.issuer}"; validity = "{_days(profile.validity)}"; {usages}'


def _line(profile: Profile, word: str, value: str) -> str:
    return f"[profile.{profile.name}] {word} = {value}"


def _list(words: Iterable[str]) -> str:
    return "[" + ", ".join(f'"{word}"' for word in words) + "]"


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _days(span: timedelta) -> str:
    return f"{span.days}d" if span % timedelta(days=1) == timedelta() else f"{span.total_seconds():.15g}s"
