"""Ceremonies carried out: everything that can be wrong is looked at first, then each step is made and verified."""

from collections.abc import Callable, Collection
from datetime import datetime
from pathlib import Path
from typing import Protocol

import attrs
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from scepd.ca.answer import verified_answer
from scepd.ca.drafting import Circumstances, draft_step, form_of, makes_certificate
from scepd.ca.keys import certified_key, make_key, open_signer
from scepd.ca.plan import Plan, PlannedKey, Step, stand_in
from scepd.hsm.keys import PublicKey, parse_uri
from scepd.hsm.public import is_taken
from scepd.hsm.token import Session
from scepd.message.algorithms import CryptoPolicy
from scepd.message.csr import build_csr, parse_csr
from scepd.refusal import OperatorError, Reject
from scepd.x509.certificate import IssuerCertificate, new_serial
from scepd.x509.draft import Draft, SealError, seal
from scepd.x509.fields import UNREADABLE
from scepd.x509.issuer import issuing_digest
from scepd.x509.keys import encode_public_key, verify_csr
from scepd.x509.names import from_text


class Shelf(Protocol):
    """Where certificates of the service's own keys go on record, so that they can be revoked."""

    def reserve_own(self, issuer: str, draft_der: bytes) -> None:
        """Reserve the serial of a draft, before it is signed."""

    def keep_own(self, issuer: str, certificate_der: bytes) -> None:
        """Keep what was signed."""


@attrs.frozen(kw_only=True)
class Stage:
    """Where a ceremony takes place: the real tokens and files, or scratch ones in a rehearsal.

    `session` returns a writable session of the token with that label; `place` where a file of the plan is; `write`
    makes a file that must not exist. `begun` has the URIs and files that an interrupted run of the same plan may have
    made; `note` is told of each before it is made.
    """

    session: Callable[[str | None], Session]
    place: Callable[[str], Path]
    write: Callable[[Path, bytes], None]
    now: datetime
    random: Callable[[int], bytes]
    shelf: Shelf | None = None
    begun: Collection[str] = ()
    note: Callable[[str], None] = lambda _made: None


@attrs.frozen(kw_only=True)
class Product:
    """What a step made, as the record says it; `der` is the certificate or request, empty for a key alone."""

    step: Step
    public_key: PublicKey
    attributes: dict[str, bool | None] | None = None
    der: bytes = b""
    form: str = ""
    signed_by: bytes = b""  # the signer's certificate


def examine(plan: Plan, stage: Stage) -> tuple[str, ...]:
    """Return the form of each step's certificate ("" where there is none), after looking at all that can be wrong.

    Nothing is made. Raises `OperatorError` for an existing label or file, a key that is not what it must be, a signer
    that is not its certificate's, dates that are past, and whatever lint finds; `Reject` for names.
    """
    _refuse_repeats(plan)
    forms: list[str] = []
    promised: dict[str, bytes] = {}
    for number, step in enumerate(plan.steps):
        _refuse_existing(step, stage)
        public_key = _examine_key(step, stage, number)
        if step.makes == "install":
            verified_answer(step, public_key, stage.place, stage.now)
        if not makes_certificate(step):
            forms.append("")
            continue
        issuer = _examine_signer(step, stage, promised)
        draft = draft_step(step, public_key, issuer, Circumstances(new_serial(stage.random), stage.now))
        promised[step.output] = draft.der
        forms.append(form_of(draft.der, public_key))
    return tuple(forms)


def carry_out(plan: Plan, stage: Stage) -> tuple[Product, ...]:
    """Make every step, in order; each certificate has the form that `examine` found. Raises as `examine`, `TokenFault`."""
    forms = examine(plan, stage)
    return tuple(_make(step, stage, form) for step, form in zip(plan.steps, forms, strict=True))


def _refuse_repeats(plan: Plan) -> None:
    outputs = [step.output for step in plan.steps if step.output]
    labels = [step.key.uri for step in plan.steps if step.key is not None and step.key.fresh]
    for things in (outputs, labels):
        twice = {one for one in things if things.count(one) > 1}
        if twice:
            raise OperatorError(f"the plan makes {min(twice)} twice", "a name of its own for each")


def _refuse_existing(step: Step, stage: Stage) -> None:
    path = stage.place(step.output)
    if step.output and path.exists() and step.output not in stage.begun:
        raise OperatorError(f"{path} exists already, and a ceremony overwrites nothing", f"mv {path} {path}.old")
    if step.output and not path.parent.is_dir():
        raise OperatorError(f"there is no directory {path.parent}", f"mkdir -p {path.parent}")
    key = step.key
    if key is None or not key.fresh or key.uri in stage.begun:
        return
    name = parse_uri(key.uri)
    if name.label is None:
        raise OperatorError(f"{key.uri} gives the new key no label", "pkcs11:token=scepd;object=devices-ca")
    if is_taken(stage.session(name.token), name.label):
        raise OperatorError(f"the token has a key '{name.label}' already", "choose another label; scepd hsm list")


def _examine_key(step: Step, stage: Stage, number: int) -> PublicKey:
    if step.key is None or not _is_due(step.key, stage):
        return certified_key(step, stage.session)[0]
    if step.key.kind.startswith("ec:") and step.key.role != "sign":
        raise OperatorError("an EC key does not decrypt", "--key-type rsa:3072")
    return stand_in(step.key.kind, number)


def _is_due(key: PlannedKey, stage: Stage) -> bool:
    """Return whether the key is still to be made: an interrupted run may have made it."""
    name = parse_uri(key.uri)
    return key.fresh and not is_taken(stage.session(name.token), name.label or "")


def _examine_signer(step: Step, stage: Stage, promised: dict[str, bytes]) -> IssuerCertificate | None:
    if step.signer is None:
        return None
    if step.signer.certificate in promised:
        return IssuerCertificate.load(promised[step.signer.certificate])
    issuer = IssuerCertificate.load(read_certificate(stage.place(step.signer.certificate)))
    open_signer(step.signer, issuer, stage.session)
    if stage.now >= issuer.not_after:
        raise OperatorError(f"the certificate of {step.signer.uri} has ended", "scepd ca show")
    return issuer


def read_certificate(path: Path) -> bytes:
    """Return the DER of the one certificate in a PEM file. Raises `OperatorError`."""
    try:
        (certificate,) = x509.load_pem_x509_certificates(path.read_bytes())
        _ = certificate.subject, certificate.public_key(), certificate.extensions  # read when they are asked for
    except (OSError, *UNREADABLE) as error:
        raise OperatorError(
            f"{path} holds no certificate that can be read: {error}", "openssl x509 -noout -in FILE"
        ) from error
    return certificate.public_bytes(Encoding.DER)


def _make(step: Step, stage: Stage, form: str) -> Product:
    if step.key is not None and _is_due(step.key, stage):
        stage.note(step.key.uri)
        make_key(step.key, stage.session)
    public_key, attributes = certified_key(step, stage.session)
    product = Product(step=step, public_key=public_key, attributes=attributes, form=form)
    if step.output and step.output not in stage.begun:
        stage.note(step.output)
    match step.makes:
        case "key":
            return product
        case "install":
            answer = verified_answer(step, public_key, stage.place, stage.now)
            _write_once(stage, step.output, answer.der, "CERTIFICATE")
            return attrs.evolve(product, der=answer.der, signed_by=answer.signed_by)
        case "request":
            der = _request(step, stage, public_key)
            _write_once(stage, step.output, der, "CERTIFICATE REQUEST")
            return attrs.evolve(product, der=der)
        case _:
            return _certify(product, stage)


def _request(step: Step, stage: Stage, public_key: PublicKey) -> bytes:
    assert step.key is not None
    key = open_signer(step.key, None, stage.session)
    der = build_csr(
        subject=from_text(step.subject), private_key=key, challenge=None, digest=issuing_digest(public_key)
    )
    try:
        verify_csr(parse_csr(der), CryptoPolicy())
    except Reject as reject:
        raise SealError(f"the request does not verify: {reject.reason.value}") from None
    return der


def _certify(product: Product, stage: Stage) -> Product:
    step, path = product.step, stage.place(product.step.output)
    issuer = None
    if step.signer is not None:
        issuer = IssuerCertificate.load(read_certificate(stage.place(step.signer.certificate)))
    if path.exists():  # by an interrupted run of this plan
        der = read_certificate(path)
        _verify_kept(der, product, issuer)
    else:
        at = Circumstances(new_serial(stage.random), stage.now)
        der = _sign(draft_step(step, product.public_key, issuer, at), product, issuer, stage)
        _write_once(stage, step.output, der, "CERTIFICATE")
    return attrs.evolve(product, der=der, signed_by=der if issuer is None else issuer.der)


def _sign(draft: Draft, product: Product, issuer: IssuerCertificate | None, stage: Stage) -> bytes:
    step = product.step
    if form_of(draft.der, product.public_key) != product.form:
        raise OperatorError(f"{step.output} would not be what was examined", "scepd hsm list; then the plan again")
    signer = step.signer if step.signer is not None else step.key
    assert signer is not None
    key = open_signer(signer, issuer, stage.session)
    on_record = stage.shelf if step.issuer else None
    if on_record is not None:
        on_record.reserve_own(step.issuer, draft.der)
    der = seal(draft.der, key, key.public_key())
    if on_record is not None:
        on_record.keep_own(step.issuer, der)
    return der


def _verify_kept(der: bytes, product: Product, issuer: IssuerCertificate | None) -> None:
    certificate = x509.load_der_x509_certificate(der)
    above = certificate if issuer is None else issuer.certificate
    try:
        certificate.verify_directly_issued_by(above)
        is_signed = True
    except (ValueError, TypeError, InvalidSignature):
        is_signed = False
    own = encode_public_key(certificate.public_key()) == encode_public_key(product.public_key)  # type: ignore[arg-type]
    if not is_signed or not own or form_of(der, product.public_key) != product.form:
        path = product.step.output
        raise OperatorError(f"{path} is not what this plan makes", f"mv {path} {path}.old")


def _write_once(stage: Stage, output: str, der: bytes, kind: str) -> None:
    path = stage.place(output)
    if not path.exists():
        stage.write(path, to_pem(der, kind))


def to_pem(der: bytes, kind: str) -> bytes:
    """Return a certificate or certification request as PEM."""
    if kind == "CERTIFICATE":
        return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
    return x509.load_der_x509_csr(der).public_bytes(Encoding.PEM)
