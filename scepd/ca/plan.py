"""Plans of ceremonies: what is to be made and signed, written down before any key is touched."""

import hashlib
import re
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import attrs
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from scepd.hsm.attributes import Roles
from scepd.hsm.generate import CURVES, RSA_BITS
from scepd.hsm.keys import PublicKey
from scepd.records import to_json
from scepd.refusal import OperatorError

Purpose = Literal["key", "root", "request", "ca", "ra", "ra-sign", "ra-decrypt", "ocsp", "tls", "install"]

PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
KINDS = (*(f"rsa:{bits}" for bits in RSA_BITS), *(f"ec:{curve}" for curve in CURVES))
VERSION = 1
_CURVE_WORDS = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", re.ASCII)


@attrs.frozen(kw_only=True)
class PlannedKey:
    """A private key in a token: its URI, kind ("ec:P-256"), role, and whether this ceremony makes it."""

    uri: str
    kind: str
    role: Roles
    fresh: bool


@attrs.frozen(kw_only=True)
class PlannedSigner:
    """The CA key that signs a step, and the file of its certificate, which an earlier step may write."""

    uri: str
    certificate: str
    kind: str
    both_roles: bool = False  # of a CA that is its own RA


@attrs.frozen(kw_only=True)
class Step:
    """One thing to be made.

    `key` is certified, or else the key of `request` (PEM: a request, a certificate or a public key). `issuer` is the
    name under which the configuration knows the signer, for the record of what it issued. `not_after` is written as
    "2031-03-01T06:00:00Z"; `output` and `chain` are files. The URLs say where CRL, OCSP and the signer's certificate are.
    """

    makes: Purpose
    output: str = ""
    key: PlannedKey | None = None
    request: str = ""
    subject: str = ""
    names: tuple[str, ...] = ()
    not_after: str = ""
    path_length: int | None = None
    signer: PlannedSigner | None = None
    issuer: str = ""
    crl_urls: tuple[str, ...] = ()
    ocsp_urls: tuple[str, ...] = ()
    issuer_urls: tuple[str, ...] = ()
    chain: str = ""

    @property
    def end(self) -> datetime:
        """When the certificate ends."""
        return read_moment(self.not_after)


@attrs.frozen(kw_only=True)
class Plan:
    """A whole ceremony, carried out step by step; `title` says what it is for, `then` what to do after it."""

    title: str
    steps: tuple[Step, ...]
    then: tuple[str, ...] = ()

    def to_mapping(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return {"scepd_plan": VERSION, **attrs.asdict(self, filter=_is_said)}

    @property
    def digest(self) -> str:
        """The SHA-256 of its canonical JSON, hexadecimal."""
        return hashlib.sha256(to_json(self.to_mapping()).encode()).hexdigest()

    @property
    def signs(self) -> bool:
        """Whether any key of a token signs in it, beside the audit key."""
        return any(step.makes not in {"key", "install"} for step in self.steps)


def _is_said(attribute: "attrs.Attribute[Any]", value: object) -> bool:
    return bool(value != attribute.default) or attribute.name == "path_length"


def write_moment(moment: datetime) -> str:
    """Return a moment as plans write it."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def read_moment(text: str) -> datetime:
    """Read a moment of a plan. Raises `OperatorError`."""
    if not _INSTANT.fullmatch(text):
        raise OperatorError(f"{text!r} is no moment of a plan", "2031-03-01T06:00:00Z")
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise OperatorError(f"{text!r} is no moment: {error}", "2031-03-01T06:00:00Z") from error


def kind_of(key: object) -> str:
    """Return the kind of a public key as plans and `--type` spell it; a kind that we do not make under its own name."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ec:{_CURVE_WORDS.get(key.curve.name, key.curve.name)}"
    return f"rsa:{key.key_size}" if isinstance(key, rsa.RSAPublicKey) else type(key).__name__


def stand_in(kind: str, number: int) -> PublicKey:
    """Return a public key of that kind that nobody uses, for trying the step of that number before it has a key."""
    family, _, size = kind.partition(":")
    if kind not in KINDS:
        raise OperatorError(f"no key of kind {kind} is used here", f"one of {', '.join(KINDS)}")
    if family == "rsa":
        return rsa.RSAPublicNumbers(65537, (1 << int(size)) - 1 - 2 * number).public_key()
    curves: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
    return ec.derive_private_key(2 + number, curves[size]).public_key()


def tell(plan: Plan) -> list[str]:
    """Return the plan as lines for the person who decides."""
    lines = [plan.title]
    for number, step in enumerate(plan.steps, 1):
        lines.append(f" {number}. {_WORDS[step.makes]}")
        lines += [f"    {word:<9} {value}" for word, value in _told(step) if value]
    return lines


_WORDS: dict[Purpose, str] = {
    "key": "a key",
    "root": "a CA certificate, signed by its own key",
    "request": "a request for a CA certificate, for another CA to sign",
    "ca": "a CA certificate, signed by the CA above",
    "ra": "an RA certificate that signs replies and decrypts requests",
    "ra-sign": "an RA certificate that signs replies",
    "ra-decrypt": "an RA certificate that requests are encrypted to",
    "ocsp": "an OCSP responder's certificate",
    "tls": "a TLS server certificate",
    "install": "a CA certificate that another CA signed, checked against its key",
}


def _told(step: Step) -> tuple[tuple[str, str], ...]:
    made = "" if step.key is None else f"{'new: ' if step.key.fresh else ''}{step.key.kind} {step.key.uri}"
    return (
        ("key", made or ("of the request" if step.request else "")),
        ("may", step.key.role if step.key is not None and step.key.fresh else ""),
        ("subject", step.subject),
        ("names", ", ".join(step.names)),
        ("until", step.not_after),
        ("below it", _below(step)),
        ("signed by", "" if step.signer is None else f"{step.signer.uri} ({step.signer.certificate})"),
        ("CRL at", ", ".join(step.crl_urls)),
        ("OCSP at", ", ".join(step.ocsp_urls)),
        ("CA at", ", ".join(step.issuer_urls)),
        ("file", step.output),
        ("chain", step.chain),
    )


def _below(step: Step) -> str:
    if step.makes not in {"root", "ca"}:
        return ""
    return {None: "any number of CAs", 0: "no further CA"}.get(step.path_length, f"CAs, {step.path_length} deep")
