"""Plans for the keys of an issuer: its next generation, a fresh RA pair; and where each key and certificate will be."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
from cryptography import x509

from scepd.ca.plan import KINDS, PlannedKey, PlannedSigner, Purpose, Step, kind_of, write_moment
from scepd.cli.init_ceremony import ra_subject
from scepd.config.issuer_settings import IssuerSettings
from scepd.hsm.uri import KeyName
from scepd.records import Attribute, Name
from scepd.x509.certificate import Locations, RaRole
from scepd.x509.names import ORGANIZATIONAL_UNIT, to_text

__all__ = ["KINDS", "Generation", "Made", "plan_generation", "plan_ra", "ra_keys_of"]

RESPONDER_VALIDITY = timedelta(days=30)  # the service renews it
_MOST_LABELS = 1_000


@attrs.frozen
class RaKey:
    """One RA key of an issuer: the configuration key that names it, the end of its label, its role and its kind."""

    word: str  # "ra_sign", "ra_decrypt" or "ra"
    suffix: str
    role: RaRole
    kind: str

    @property
    def purpose(self) -> Purpose:
        """What a plan calls its certificate."""
        return "ra" if self.role == "both" else "ra-sign" if self.role == "sign" else "ra-decrypt"


@attrs.frozen
class Made:
    """A key that is made: its URI and the file of its certificate."""

    uri: str
    certificate: Path


@attrs.frozen(kw_only=True)
class Generation:
    """An issuer to be made: its name, its CA's subject, kind of key and end; where its files go; who signs its CA."""

    name: str
    subject: Name
    kind: str
    end: datetime
    directory: Path
    token: str
    signer: PlannedSigner | None = None
    locations: Locations = attrs.field(factory=Locations)  # of what it will publish, for the certificates that it issues


def kind_of_certificate(certificate_der: bytes) -> str:
    """Return the kind of a certificate's key as `--type` spells it."""
    return kind_of(x509.load_der_x509_certificate(certificate_der).public_key())


def ra_keys_of(issuer: IssuerSettings) -> tuple[RaKey, ...]:
    """Return the RA keys that an issuer has beside its CA key; none where the CA is its own RA."""
    if issuer.ca_is_ra:
        return ()
    sign, decrypt = issuer.ra_sign.certificate_der, issuer.ra_decrypt
    if decrypt is not None and issuer.has_one_ra_key:
        return (RaKey("ra", "ra", "both", kind_of_certificate(sign)),)
    pair = [RaKey("ra_sign", "ra-sign", "sign", kind_of_certificate(sign))]
    if decrypt is not None:
        pair.append(RaKey("ra_decrypt", "ra-decrypt", "decrypt", kind_of_certificate(decrypt.certificate_der)))
    return tuple(pair)


def plan_generation(model: IssuerSettings, wish: Generation) -> tuple[tuple[Step, ...], dict[str, Made]]:
    """Return the steps to the next issuer, with RA keys such as `model` has, and what they make by configuration key."""
    transport = model.ca_is_ra and model.ra_decrypt is not None
    label = f"{wish.name}-ca"
    ca = _made(wish, label)
    first = Step(
        makes="root" if wish.signer is None else "ca",
        key=PlannedKey(uri=ca.uri, kind=wish.kind, role="both" if transport else "sign", fresh=True),
        subject=to_text(wish.subject),
        not_after=write_moment(wish.end),
        path_length=0,
        signer=wish.signer,
        output=str(ca.certificate),
    )
    signer = PlannedSigner(uri=ca.uri, certificate=str(ca.certificate), kind=wish.kind, both_roles=transport)
    made, steps = {"": ca}, [first]
    for key in ra_keys_of(model):
        made[key.word] = _made(wish, f"{wish.name}-{key.suffix}")
        steps.append(_ra_step(key, made[key.word], signer, wish))
    if model.ocsp is not None:
        made["ocsp"] = _made(wish, f"{wish.name}-ocsp")
        kind = kind_of_certificate(model.ocsp.certificate_der)
        steps.append(_responder_step(made["ocsp"], kind, signer, wish))
    return tuple(steps), made


def plan_responder(issuer: IssuerSettings, signer: PlannedSigner, wish: Generation) -> tuple[Step, Made]:
    """Return the step to a fresh OCSP key under a free label; `wish.end` is when its first certificate ends."""
    labels = (issuer.name + "-ocsp", *(f"{issuer.name}-ocsp-{number}" for number in range(2, _MOST_LABELS)))
    used = set() if issuer.ocsp is None else {issuer.ocsp.key}
    label = next(
        label for label in labels if _made(wish, label).uri not in used and not _made(wish, label).certificate.exists()
    )
    return _responder_step(_made(wish, label), wish.kind, signer, wish), _made(wish, label)


def responder_kind(issuer: IssuerSettings) -> str:
    """Return the kind of key that suits: an elliptic CA's own; elsewhere P-256, since every answer is signed anew."""
    kind = kind_of_certificate(issuer.certificate_der)
    return kind if kind.startswith("ec:") else "ec:P-256"


def _responder_step(made: Made, kind: str, signer: PlannedSigner, wish: Generation) -> Step:
    return Step(
        makes="ocsp",
        key=PlannedKey(uri=made.uri, kind=kind, role="sign", fresh=True),
        subject=to_text(responder_subject(wish.subject)),
        not_after=write_moment(min(wish.end, datetime.now(UTC) + RESPONDER_VALIDITY)),
        signer=signer,
        issuer=wish.name,
        output=str(made.certificate),
    )


def responder_subject(ca: Name) -> Name:
    """Return the name of an OCSP responder, beside the CA's own."""
    return (*ca, (Attribute(ORGANIZATIONAL_UNIT, "OCSP responder"),))


def _made(wish: Generation, label: str) -> Made:
    return Made(str(KeyName(label=label, token=wish.token)), wish.directory / f"{label}.pem")


def located(step: Step, locations: Locations) -> Step:
    """Return the step with what its certificate says of where the signer publishes."""
    return attrs.evolve(step, **attrs.asdict(locations))


def _ra_step(key: RaKey, made: Made, signer: PlannedSigner, wish: Generation) -> Step:
    step = Step(
        makes=key.purpose,
        key=PlannedKey(uri=made.uri, kind=key.kind, role=key.role, fresh=True),
        subject=to_text(ra_subject(wish.subject, key.role)),
        not_after=write_moment(wish.end),
        signer=signer,
        issuer=wish.name,
        output=str(made.certificate),
    )
    return located(step, wish.locations)


def plan_ra(
    issuer: IssuerSettings, signer: PlannedSigner, wish: Generation, taken: frozenset[str], *, pair: bool
) -> tuple[tuple[Step, ...], dict[str, Made]]:
    """Return the steps to a fresh RA decryption key, and with `pair` a signing key, under the next free labels.

    `taken` are the labels that stand in the configuration already.
    """
    words = {"ra_sign", "ra_decrypt"} if pair else {"ra_decrypt"}
    keys = [key for key in ra_keys_of(issuer) if key.word in words]
    number = next(
        one
        for one in range(2, _MOST_LABELS)
        if not any(
            f"{issuer.name}-{key.suffix}-{one}" in taken
            or (wish.directory / f"{issuer.name}-{key.suffix}-{one}.pem").exists()
            for key in keys
        )
    )
    made = {key.word: _made(wish, f"{issuer.name}-{key.suffix}-{number}") for key in keys}
    return tuple(_ra_step(key, made[key.word], signer, wish) for key in keys), made


def signer_of(issuer: IssuerSettings, certificate: Path) -> PlannedSigner:
    """Return an issuer of the configuration as the signer of a plan; `certificate` is the file of its certificate."""
    both = issuer.ca_is_ra and issuer.ra_decrypt is not None
    kind = kind_of_certificate(issuer.certificate_der)
    return PlannedSigner(uri=issuer.key, certificate=str(certificate), kind=kind, both_roles=both)


def end_of(issuer: IssuerSettings) -> datetime:
    """Return when the certificate of an issuer ends."""
    return x509.load_der_x509_certificate(issuer.certificate_der).not_valid_after_utc
