"""From the tables of outside services to rules: whom to ask or tell, with which secret, trusting which certificates."""

from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from scepd.config import certificates as judge
from scepd.config.access_sections import ChallengeSection, ComplianceSection, NotifySection
from scepd.config.files import read_public
from scepd.config.key_pair import read_private_key
from scepd.config.secret import SecretReference, Surroundings, read_secret, refuse_environment
from scepd.config.services import is_plain
from scepd.problems import Place, Refused
from scepd.profile.model import IntuneRule, WebhookRule
from scepd.records import Secret
from scepd.x509.bundle import judge_bundle

_SHORTEST_SECRET = 32  # characters: a key for HMAC-SHA-256
_TIMEOUT_KEYS = ("timeout", "on_failure")


def compile_webhook(
    section: ChallengeSection | ComplianceSection | NotifySection, surroundings: Surroundings, place: Place
) -> WebhookRule | None:
    """Return the rule of a service that we speak JSON with, None where something is lacking."""
    _require(section, ("url", "secret"), place)
    secret = read_text_secret(section.secret, surroundings, place / "secret")
    if secret is not None and len(secret.reveal()) < _SHORTEST_SECRET:
        reason = f"the secret that signs each body is shorter than {_SHORTEST_SECRET} characters"
        (place / "secret").problem(reason, "openssl rand -hex 32 makes a good one")
    pem = _judge_transport(section, (section.url,), surroundings, place, pinned=True)
    if section.url is None or secret is None:
        return None
    values = written(section, *_TIMEOUT_KEYS, "attributes")
    return WebhookRule(url=section.url, secret=secret, trust_pem=pem, **values)


def compile_intune(section: ChallengeSection, surroundings: Surroundings, place: Place) -> IntuneRule | None:
    """Return the rule of Microsoft's cloud, None where something is lacking."""
    _require(section, ("tenant", "client_id"), place)
    if section.secret is not None and section.certificate is not None:
        (place / "certificate").problem("there is a secret beside it", "keep one of the two: the certificate is better")
    elif section.secret is None and section.certificate is None and not place.is_noted:
        hint = (
            'certificate = "intune.pem" and key = { credential = "intune-key" }; or secret = { credential = "intune" }'
        )
        place.problem("the application has nothing to prove itself with", hint)
    secret = read_text_secret(section.secret, surroundings, place / "secret")
    pem, key = _read_application_key(section, surroundings, place)
    trust = _judge_transport(section, (section.authority, section.graph), surroundings, place, pinned=False)
    if section.tenant is None or section.client_id is None:
        return None
    return IntuneRule(
        tenant=section.tenant,
        client_id=section.client_id,
        secret=secret,
        certificate_pem=pem,
        key_pem=key,
        trust_pem=trust,
        **written(section, *_TIMEOUT_KEYS, "authority", "graph", "proxy"),
    )


def written(section: Any, *names: str) -> dict[str, Any]:
    """Return what is written of those keys, for a rule of the same words; what is not keeps the rule's default."""
    values = {name: getattr(section, name, None) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def read_text_secret(reference: SecretReference | None, surroundings: Surroundings, place: Place) -> Secret | None:
    """Return the text that a reference names; None, with the problem noted, where there is none."""
    if reference is None:
        return None
    try:
        refuse_environment(reference, "the secret of a service")
        return read_secret(reference, surroundings)
    except Refused as refused:
        place.refuse(refused)
        return None


def _require(section: Any, names: tuple[str, ...], place: Place) -> None:
    """Note keys that a method needs; what could not be read is noted already, and what a table needs as such too."""
    examples = {
        "url": 'url = "https://mdm.example.net/scep/challenge"',
        "secret": 'secret = { credential = "webhook-key" }',
        "tenant": 'tenant = "example.onmicrosoft.com"',
        "client_id": 'client_id = "00000000-0000-0000-0000-000000000000"',
    }
    for name in names:
        if getattr(section, name) is None and not (place / name).is_noted:
            (place / name).problem("is missing", examples[name])


def _judge_transport(
    section: ChallengeSection | ComplianceSection | NotifySection,
    urls: tuple[str | None, ...],
    surroundings: Surroundings,
    place: Place,
    *,
    pinned: bool,
) -> bytes:
    """Return the trust anchors as PEM; note plain HTTP that nobody asked for. `pinned`: TLS needs anchors of its own."""
    known = [url for url in urls if url is not None]
    plain = [url for url in known if is_plain(url)]
    if plain and not section.insecurely_plain:
        hint = f'"https://{plain[0].partition("://")[2]}"; or insecurely_plain = true for a service on this machine'
        place.problem(f"{plain[0]} is plain HTTP", hint)
    if section.insecurely_plain and known and not plain:
        (place / "insecurely_plain").problem("nothing here is plain HTTP", "leave it out")
    if section.trust is None:
        if pinned and known and not plain and not (place / "trust").is_noted:
            hint = 'trust = "mdm-ca.pem": the CA of the service\'s certificate'
            (place / "trust").problem("is missing: no other CA is believed", hint)
        return b""
    return read_anchors(section.trust, surroundings, place / "trust")


def read_anchors(name: str, surroundings: Surroundings, place: Place) -> bytes:
    """Return a file of trust anchors as PEM; everything that is wrong with them is noted (threats M)."""
    path = surroundings.resolve(name)
    try:
        pem = read_public(path)
    except Refused as refused:
        place.refuse(refused)
        return b""
    for fault in judge_bundle(pem, surroundings.now):
        place.problem(f"{path}: {fault.problem}", fault.hint.replace("FILE", str(path)))
    return pem


def _read_application_key(
    section: ChallengeSection, surroundings: Surroundings, place: Place
) -> tuple[bytes, Secret | None]:
    if section.certificate is None:
        if section.key is not None and not (place / "certificate").is_noted:
            (place / "certificate").problem("is missing beside key", 'certificate = "intune.pem"')
        return b"", None
    if section.key is None and not (place / "key").is_noted:
        (place / "key").problem("is missing beside certificate", 'key = { credential = "intune-key" }')
    certificate = judge.read_named(section.certificate, surroundings, place / "certificate")
    key = read_private_key(section.key, surroundings, place / "key")
    if certificate is None:
        return b"", None
    for fault in judge.judge_time(certificate, judge.Moment.at(surroundings.now)):
        (place / "certificate").refuse(fault)
    if not judge.is_rsa(certificate):
        (place / "certificate").problem("is not for an RSA key, the only kind that Entra takes", "make an RSA key")
    if key is not None and key.spki_der != judge.spki(certificate):
        (place / "key").problem("is not the key of the certificate", "openssl pkey -pubout -in KEY")
    return certificate.public_bytes(Encoding.PEM), None if key is None else key.pem
