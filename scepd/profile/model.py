"""The compiled profile: what a class of devices may ask for, and what it gets; frozen and picklable."""

import re
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import Literal

import attrs

from scepd.message.algorithms import CryptoPolicy
from scepd.message.csr_attributes import MAXIMUM_CHALLENGE
from scepd.profile.access import (
    ChallengeRule,
    ClientCertificateGate,
    ClientCertificateRule,
    EntityRule,
    IntuneRule,
    NoChallengeRule,
    OneTimeRule,
    SignedRule,
    StaticRule,
    WebhookRule,
)
from scepd.records import Attribute
from scepd.refusal import Reject
from scepd.x509.keys import KeyPolicy
from scepd.x509.names import OIDS, check_attribute
from scepd.x509.strings import is_host_name
from scepd.x509.usages import EXTENDED_KEY_USAGES, KEY_USAGES

__all__ = (
    "FORBIDDEN_PURPOSES",
    "SUBJECT_ATTRIBUTES",
    "ApprovalRule",
    "AutomaticWhen",
    "ChallengeRule",
    "ClientCertificateGate",
    "ClientCertificateRule",
    "EntityRule",
    "IntuneRule",
    "NamePolicy",
    "NoChallengeRule",
    "OneTimeRule",
    "Profile",
    "RenewalRule",
    "SignedRule",
    "SigningTimeRule",
    "StaticRule",
    "SubjectPolicy",
    "WebhookRule",
)

# scepclient always sends C, O and OU; Cisco IOS sends serialNumber, unstructuredName and unstructuredAddress.
SUBJECT_ATTRIBUTES = ("CN", "O", "OU", "C", "ST", "L", "serialNumber", "unstructuredName", "unstructuredAddress")


def _attribute_words(_: object, attribute: "attrs.Attribute[tuple[str, ...]]", value: tuple[str, ...]) -> None:
    """Refuse words that name no subject attribute."""
    wrong = [word for word in value if word not in OIDS]
    if wrong:
        raise ValueError(f"{attribute.name}: {wrong[0]} is no attribute of a subject")


Source = Literal["identity", "csr"]


def _sources(
    _: object, attribute: "attrs.Attribute[tuple[tuple[str, Source], ...]]", value: tuple[tuple[str, Source], ...]
) -> None:
    """Refuse words that name no subject attribute, and one twice."""
    words = tuple(word for word, _source in value)
    wrong = [word for word in words if word not in OIDS]
    if wrong or len(set(words)) != len(words):
        raise ValueError(f"{attribute.name}: {wrong[0] if wrong else 'an attribute twice'} is no attribute of a subject")


def _encodable(_: object, attribute: "attrs.Attribute[tuple[Attribute, ...]]", value: tuple[Attribute, ...]) -> None:
    """Refuse attributes that no certificate may carry."""
    for fixed in value:
        try:
            check_attribute(fixed)
        except Reject as refusal:
            raise ValueError(f"{attribute.name}: {refusal.detail}") from None


def _host_patterns(_: object, attribute: "attrs.Attribute[tuple[str, ...]]", value: tuple[str, ...]) -> None:
    """Refuse patterns that are neither a host name, nor one after "*.", nor "*"."""
    wrong = [pattern for pattern in value if pattern != "*" and not is_host_name(pattern.removeprefix("*."))]
    if wrong:
        raise ValueError(f"{attribute.name}: {wrong[0]!r} is no pattern for host names")


@attrs.frozen
class SubjectPolicy:
    """Which subject attributes come from the request (threats S-53); attributes are named by their short names.

    `fixed` attributes replace the request's of the same type, in their place; those that the request lacks come
    first. `patterns` are pairs of short name and regular expression that a value from the request must match whole.
    `required` attributes must be in the resulting subject. Anything else in the request is refused.
    `sources` are pairs of short name and whose word counts: "identity" takes the value that the challenge method
    vouches for, whatever the request says; "csr" lets the request's through although `allow` does not list it.
    """

    allow: tuple[str, ...] = attrs.field(default=SUBJECT_ATTRIBUTES, validator=_attribute_words)
    patterns: tuple[tuple[str, re.Pattern[str]], ...] = ()
    fixed: tuple[Attribute, ...] = attrs.field(default=(), validator=_encodable)
    required: tuple[str, ...] = attrs.field(default=(), validator=_attribute_words)
    sources: tuple[tuple[str, Source], ...] = attrs.field(default=(), validator=_sources)


@attrs.frozen
class NamePolicy:
    """Which subjectAltNames come from the request (threats S-54); a name that nothing here allows is refused.

    `dns`: "r1.example.com" (that name), "*.example.com" (any name below it, at any depth), "*" (any host name).
    `ip`: networks. `email`: "a@example.com", or a domain in the form of `dns`. `uri`: whole-match expressions.
    `common_name`: a dns name equal to the subject's common name is allowed; None = only while the profile lists
    no names at all. `copy`: attributes of the subject, by their short names, whose value becomes a dns name when it is
    an allowed one, since Cisco PIX and IOS put their host name into unstructuredName and look for it among the
    alternative names. `required`: kinds of which a certificate must have one. `reserved`: host names and addresses of
    the appliance itself, in lower case, never certified, whatever else allows them. UPNs and security identifiers come only from an authenticator (`Identity.names`); wildcard
    names, directory names and registered identifiers never.
    """

    dns: tuple[str, ...] = attrs.field(default=(), validator=_host_patterns)
    ip: tuple[IPv4Network | IPv6Network, ...] = ()
    email: tuple[str, ...] = ()
    uri: tuple[re.Pattern[str], ...] = ()
    common_name: bool | None = None
    copy: tuple[str, ...] = attrs.field(default=(), validator=_attribute_words)
    required: tuple[Literal["dns", "ip", "email", "uri"], ...] = ()
    reserved: frozenset[str] = frozenset()
    from_identity: bool = False  # every name that the challenge method vouches for is added

    @property
    def takes_common_name(self) -> bool:
        """Whether a dns name is allowed for being the common name."""
        if self.common_name is None:
            return not (self.dns or self.ip or self.email or self.uri)
        return self.common_name


def _fraction(_: object, attribute: "attrs.Attribute[float]", value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{attribute.name}: {value} is no part of a life")


@attrs.frozen(kw_only=True)
class RenewalRule:
    """How a certificate may be renewed with itself as the credential (RFC 8894 section 2.3; threats S-42 to S-52).

    `earliest` is the part of its life that must be over, `grace` the time after its end in which it still may.
    `profiles` and `issuers` name others whose certificates this profile renews too. `most` bounds the renewals in a
    row, `longest` the time since the first certificate of the line.
    """

    earliest: float = attrs.field(default=0.5, validator=_fraction)
    grace: timedelta = timedelta()
    same_key: bool = True  # micromdm's client keeps its key
    by_pkcsreq: bool = True  # PKCSReq signed by the certificate: Apple, Cisco, sscep, jscep, certmonger (C-184)
    challenge: Literal["ignored", "required"] = "ignored"
    profiles: tuple[str, ...] = ()
    issuers: tuple[str, ...] = ()
    most: int | None = None
    longest: timedelta | None = None
    revoke_previous: timedelta | None = None  # how long after its renewal the old certificate is revoked (C-185)


@attrs.frozen(kw_only=True)
class AutomaticWhen:
    """Which requests need no person: every condition that is given must hold.

    `subject` are pairs of short name and whole-match expression, `methods` names of challenge methods, `networks`
    those of the client's address; `renewals`: a renewal by these rules needs no person either.
    """

    subject: tuple[tuple[str, re.Pattern[str]], ...] = ()
    methods: frozenset[str] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    renewals: bool = True


@attrs.frozen(kw_only=True)
class ApprovalRule:
    """A person decides, unless `automatic` says that none needs to; how long and how many requests wait."""

    automatic: AutomaticWhen | None = None  # None: always a person, also for renewals
    valid: timedelta = timedelta(days=7)
    most: int = 1_000


@attrs.frozen(kw_only=True)
class SigningTimeRule:
    """What is asked of the signingTime attribute (C-238, C-239): None takes whatever comes."""

    skew: timedelta | None = None  # of PKCSReq and CertPoll: devices without a clock are common
    renewal_skew: timedelta | None = timedelta(hours=24)  # of RenewalReq: who has a certificate has a clock
    required: bool = False


_LONGEST_CHALLENGE = 16_384  # characters that a service outside may have written

# What no profile can give: any purpose, OCSP signing, CMC authority roles, Microsoft's request agent.
FORBIDDEN_PURPOSES = frozenset(
    EXTENDED_KEY_USAGES[word]
    for word in ("anyExtendedKeyUsage", "OCSPSigning", "cmcCA", "cmcRA", "cmcArchive", "certificateRequestAgent")
)


def _plain_usages(_: object, attribute: "attrs.Attribute[frozenset[str]]", value: frozenset[str]) -> None:
    """Refuse key usages that no end entity may have (RFC 5280 section 4.2.1.3), and unknown words."""
    wrong = sorted(value - (KEY_USAGES - {"keyCertSign", "cRLSign"}))
    if wrong or not value:
        raise ValueError(f"{attribute.name}: {', '.join(wrong) or 'nothing'} is no key usage of a device")


def _plain_purposes(_: object, attribute: "attrs.Attribute[tuple[str, ...]]", value: tuple[str, ...]) -> None:
    """Refuse purposes that act for the CA or for anything at all (threats S-59)."""
    wrong = [word for word in value if EXTENDED_KEY_USAGES.get(word, word) in FORBIDDEN_PURPOSES]
    if wrong or not value:
        raise ValueError(f"{attribute.name}: {', '.join(wrong) or 'nothing'} is no purpose of a device")


@attrs.frozen(kw_only=True)
class Profile:
    """All that a profile decides; compiled from the configuration, never changed.

    A profile that says nothing more than its name takes a conservative line: the subject's usual attributes come
    from the request (`SUBJECT_ATTRIBUTES`), subjectAltNames are refused except dns names equal to the common name,
    key usage is digitalSignature and keyEncipherment, the only purpose is clientAuth, validity is one year.

    Extension wishes in the request: key usages and purposes inside the profile's lists narrow nothing (the
    certificate always gets the profile's lists); a wish outside them is ignored, except that CA powers and special
    purposes are refused (`profile.extensions`).
    """

    name: str
    path: str = ""  # the URL segment after /scep/; empty = the name
    issuer: str = ""
    tenant: str = ""  # answers below /<tenant>/, and nowhere else; empty = below / itself
    challenge: tuple[ChallengeRule, ...] = ()  # asked in this order
    compliance: WebhookRule | None = None  # asked after authentication, also of renewals, before anything is issued
    notify: tuple[WebhookRule, ...] = ()  # told how each request ends
    client_certificate: ClientCertificateGate | None = None  # None: not served under /scep-mtls/
    default: bool = False  # also answers /scep and /cgi-bin/pkiclient.exe, or those of its tenant
    crypto: CryptoPolicy = attrs.field(factory=CryptoPolicy)
    csr_crypto: CryptoPolicy = attrs.field(factory=CryptoPolicy)
    keys: KeyPolicy = attrs.field(factory=KeyPolicy)
    subject: SubjectPolicy = attrs.field(factory=SubjectPolicy)
    names: NamePolicy = attrs.field(factory=NamePolicy)
    key_usage: frozenset[str] = attrs.field(
        default=frozenset({"digitalSignature", "keyEncipherment"}), validator=_plain_usages
    )
    # Words of x509.usages or dotted OIDs.
    extended_key_usage: tuple[str, ...] = attrs.field(default=("clientAuth",), validator=_plain_purposes)
    must_staple: Literal["never", "requested", "always"] = "never"  # RFC 7633: the certificate says status_request
    unknown_extensions: Literal["drop", "refuse"] = "drop"
    validity: timedelta = timedelta(days=365)
    backdate: timedelta = timedelta(minutes=5)
    reply_chain: Literal["none", "issuer", "full"] = "issuer"
    serve_root: bool = False
    advertise_sha384: bool = True  # strongSwan 5.9.8 picks AES only if SHA-384 is listed
    omit_fail_info_text: bool = False
    omit_empty_content: bool = False
    verisign_extension_request: bool = False  # read the drafts' own extension request attribute as well
    strict_nonce: bool = False
    renewal: RenewalRule | None = attrs.field(factory=RenewalRule)  # None: no renewal
    approval: ApprovalRule | None = None  # None: no person is asked
    signing_time: SigningTimeRule = attrs.field(factory=SigningTimeRule)
    unique_subject: bool = False  # one live certificate for each subject (C-218)
    unique_key: bool = False  # one line of live certificates for each key
    most_active: int | None = None  # live certificates of each identity; of shared challenges, of each subject
    enabled: bool = True  # refuse everything while false; `scepd profile disable` does it at run time
    get_cert: Literal["owner", "public", "off"] = "owner"
    get_crl: bool = True
    password_encryption: bool = False  # PasswordRecipientInfo, for keys that cannot encrypt (RFC 8894 section 3.1)
    get_only: bool = False  # do not offer POST
    ca_certificate_chain: bool = False  # answer the drafts' GetCACertChain
    insecurely_accept_raw_csr: bool = False  # /scep-raw/<profile>, on TLS listeners alone
    insecure: tuple[str, ...] = ()  # names of the insecurely_ switches that are on

    @property
    def longest_challenge(self) -> int:
        """How many characters a challenge may have: those of MDM systems are longer than RFC 2985 section 5.4.1 allows."""
        takes_long = any(isinstance(rule, WebhookRule | IntuneRule | SignedRule) for rule in self.challenge)
        return _LONGEST_CHALLENGE if takes_long else MAXIMUM_CHALLENGE

    @property
    def segment(self) -> str:
        """The URL segment after /scep/."""
        return self.path or self.name
