"""From [profile.NAME] to its policies: subject, names, algorithms and keys."""

from collections.abc import Collection

import attrs

from scepd.config.patterns import read_attribute
from scepd.config.profile_sections import NamesSection, ProfileSection, SubjectSection
from scepd.message.algorithms import MODERN_CIPHERS, MODERN_DIGESTS, Cipher, CryptoPolicy, Digest
from scepd.problems import Place, Refused
from scepd.profile.model import NamePolicy, SubjectPolicy
from scepd.records import Attribute
from scepd.refusal import Reject
from scepd.x509.keys import KeyPolicy
from scepd.x509.names import OIDS, check_attribute

_SMALL_RSA = 1024  # bits
_NORMAL_RSA = 2048

_DIGEST_SWITCHES = {"insecurely_accept_md5": Digest.MD5, "insecurely_accept_sha1": Digest.SHA1}
_CIPHER_SWITCHES = {"insecurely_accept_des": Cipher.DES, "insecurely_accept_3des": Cipher.DES3}
_SMALL_RSA_SWITCH = "insecurely_accept_small_rsa"
_RAW_SWITCH = "insecurely_accept_raw_csr"


def compile_names(section: NamesSection, reserved: frozenset[str]) -> NamePolicy:
    """Return which subjectAltNames may come from a request; `reserved` are the appliance's own."""
    return NamePolicy(**attrs.asdict(section, recurse=False), reserved=reserved)


def compile_subject(section: SubjectSection, place: Place) -> SubjectPolicy:
    """Return which subject attributes may come from a request, and which are fixed."""
    for key, words in (("patterns", section.patterns), ("set", section.set), ("from", section.from_)):
        for word in words:
            try:
                read_attribute(word)
            except Refused as refused:
                (place / key / word).refuse(refused)
    allow = SubjectPolicy().allow if section.allow is None else section.allow
    for word in section.patterns:
        if word in OIDS and word not in allow:
            (place / "patterns" / word).problem(
                f"{word} is not allowed, so nothing is matched", f'add "{word}" to allow'
            )
    for index, word in enumerate(section.required):
        if word not in allow and word not in section.set and section.from_.get(word) != "identity":
            (place / "required" / index).problem(f"{word} can come from nowhere", f'add "{word}" to allow, or to set')
    _judge_sources(section, allow, place / "from")
    return SubjectPolicy(
        allow=allow,
        patterns=tuple(section.patterns.items()),
        fixed=_compile_fixed(section, place / "set"),
        required=section.required,
        sources=tuple(
            (word, "identity" if source == "identity" else "csr")
            for word, source in section.from_.items()
            if word in OIDS and (source == "identity" or word in allow) and word not in section.set
        ),
    )


def _judge_sources(section: SubjectSection, allow: Collection[str], place: Place) -> None:
    for word, source in section.from_.items():
        if word in section.set:
            (place / word).problem(f"{word} is always the same: it stands in set", "keep one of the two")
        elif source == "csr" and word in OIDS and word not in allow:
            (place / word).problem(f"{word} is not allowed in a request", f'add "{word}" to allow')


def _compile_fixed(section: SubjectSection, place: Place) -> tuple[Attribute, ...]:
    fixed = []
    for word, value in section.set.items():
        if word not in OIDS:
            continue
        attribute = Attribute(OIDS[word], value)
        try:
            check_attribute(attribute)
        except Reject as reject:
            (place / word).problem(reject.detail, f'write a value that a certificate may carry: {word} = "..."')
        else:
            fixed.append(attribute)
    return tuple(fixed)


def compile_crypto(section: ProfileSection) -> CryptoPolicy:
    """Return which digests, ciphers and signer keys a message may use: the modern ones, and what switches add."""
    return CryptoPolicy(
        digests=MODERN_DIGESTS | {digest for switch, digest in _DIGEST_SWITCHES.items() if getattr(section, switch)},
        ciphers=MODERN_CIPHERS | {cipher for switch, cipher in _CIPHER_SWITCHES.items() if getattr(section, switch)},
        minimum_signer_rsa=_SMALL_RSA if section.insecurely_accept_small_rsa else _NORMAL_RSA,
        ed25519=section.key.ed25519,
        passwords=section.password_encryption,
        content_type_optional=section.accept_missing_content_type,
    )


def switches_on(section: ProfileSection) -> tuple[str, ...]:
    """Return the names of the insecure switches that a profile has on."""
    names = (*_DIGEST_SWITCHES, *_CIPHER_SWITCHES, _SMALL_RSA_SWITCH, _RAW_SWITCH)
    switches = [name for name in names if getattr(section, name)]
    if any(challenge.insecurely_short for challenge in section.challenge or ()):
        switches.append("insecurely_short")
    plain = [
        *(one.insecurely_plain for one in section.challenge or ()),
        *(one.insecurely_plain for one in section.notify),
    ]
    if any(plain) or (section.compliance is not None and section.compliance.insecurely_plain):
        switches.append("insecurely_plain")
    return tuple(switches)


def compile_keys(section: ProfileSection, place: Place) -> KeyPolicy:
    """Return which public keys are certified.

    A reply is encrypted to the device's key, which only RSA can do, or to its challenge (RFC 8894 section 3.1): unless
    the profile says otherwise no EC keys are certified without password encryption.
    """
    key, small = section.key, section.insecurely_accept_small_rsa
    policy = KeyPolicy(rsa_minimum=_SMALL_RSA if small else _NORMAL_RSA, ed25519=key.ed25519)
    if key.curves is not None or not section.password_encryption:
        policy = attrs.evolve(policy, curves=frozenset(key.curves or ()))
    if key.rsa is not None:
        if len(key.rsa) != 2 or key.rsa[0] > key.rsa[1]:
            (place / "rsa").problem("must be the fewest and the most bits", "rsa = [2048, 4096]")
        else:
            policy = attrs.evolve(policy, rsa_minimum=key.rsa[0], rsa_maximum=key.rsa[1])
    if policy.rsa_minimum < _NORMAL_RSA and not small:
        hint = f"rsa = [2048, 4096]; or {_SMALL_RSA_SWITCH} = true"
        (place / "rsa").problem(f"{policy.rsa_minimum} bits are too few", hint)
    return policy
