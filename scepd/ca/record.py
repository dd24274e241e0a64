"""Records of ceremonies: what was planned, made and signed, under the audit key's signature, to be verified offline."""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scepd.ca.drafting import form_of, makes_certificate
from scepd.ca.performance import Product, to_pem
from scepd.ca.plan import Plan, Step, kind_of
from scepd.ca.plan_file import read_plan
from scepd.observe.signature import AuditPublicKey, fingerprint_of, is_signed, sign
from scepd.ports import SigningKey
from scepd.records import to_json
from scepd.refusal import OperatorError
from scepd.x509.draft import SealError

VERSION = 1
# What the audit key signs says itself what it is, so that no seal can pass for a record, or the other way round.
_PREAMBLE = b"scepd ceremony record\n"
_TRUE = ("sensitive", "always sensitive", "never extractable", "local")
_FALSE = ("extractable", "unwrap", "derive")


@attrs.frozen(kw_only=True)
class Scene:
    """Who held the ceremony, when and where, as JSON-able values; `rehearsal` on a scratch token."""

    begun: str
    ended: str
    by: str
    node: str
    version: str
    module: str
    tokens: Sequence[Mapping[str, str]]
    rehearsal: bool = False


def write_record(plan: Plan, products: Iterable[Product], scene: Scene, key: SigningKey) -> str:
    """Return the record as JSON, signed by the audit key. Raises `TokenFault`; `SealError` where that does not verify."""
    content = {
        "scepd_ceremony": VERSION,
        **attrs.asdict(scene),
        "plan": plan.to_mapping(),
        "plan_sha256": plan.digest,
        "made": [_made(product) for product in products],
        "audit_key": fingerprint_of(key),
    }
    octets = _signed_octets(content)
    signature = sign(key, octets)
    if not is_signed(key.public_key(), signature, octets):
        raise SealError("the signature over the record does not verify with the audit key")
    return json.dumps({**content, "signature": base64.b64encode(signature).decode("ascii")}, indent=1, ensure_ascii=False) + "\n"


def _signed_octets(content: Mapping[str, Any]) -> bytes:
    return _PREAMBLE + to_json(content).encode()


def _made(product: Product) -> dict[str, Any]:
    pem = product.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")
    made: dict[str, Any] = {"kind": kind_of(product.public_key), "public_key": pem, "form": product.form}
    if product.attributes is not None:
        made["attributes"] = product.attributes
    if product.der:
        kind = "CERTIFICATE REQUEST" if product.step.makes == "request" else "CERTIFICATE"
        made |= {"pem": to_pem(product.der, kind).decode("ascii"), "sha256": hashlib.sha256(product.der).hexdigest()}
    if product.signed_by:
        made["signed_by"] = to_pem(product.signed_by, "CERTIFICATE").decode("ascii")
    return made


def verify_record(text: str, where: str, key: AuditPublicKey) -> tuple[list[str], list[str]]:
    """Return what a record proves, one line each, and what is wrong with it; needs neither token nor store.

    Raises `OperatorError` for what is no record. Where the signature is not the key's nothing else is looked at.
    """
    try:
        record = json.loads(text)
        _require_version(record)
        signature = base64.b64decode(record.pop("signature"), validate=True)
        if not is_signed(key, signature, _signed_octets(record)):
            return [], ["the audit key did not sign it, or it was changed since"]
        plan = read_plan(json.dumps(record["plan"]), where)
        steps = list(zip(plan.steps, record["made"], strict=True))
        proven = [f"{plan.title}: {record['begun']} to {record['ended']}, by {record['by']} on {record['node']}"]
        proven += [f"{step.makes}: {one.get('sha256', '') or (step.key and step.key.uri)}" for step, one in steps]
        faults = [] if plan.digest == record["plan_sha256"] else ["its plan has another digest than it says"]
        if record["rehearsal"]:
            faults.append("it is the record of a rehearsal")
        faults += [
            f"step {number}, {step.makes}: {fault}"
            for number, (step, one) in enumerate(steps, 1)
            for fault in _faults(step, one)
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OperatorError(
            f"{where} is no record of a ceremony: {error}", "the file that the ceremony named"
        ) from error
    return proven, faults


def _require_version(record: Mapping[str, Any]) -> None:
    if record["scepd_ceremony"] != VERSION:
        raise ValueError(f"its version is {record['scepd_ceremony']}")


def _faults(step: Step, made: Mapping[str, Any]) -> Iterator[str]:
    attributes = made.get("attributes")
    if attributes is not None:
        wrong = [word for word in _TRUE if attributes[word] is False] + [word for word in _FALSE if attributes[word]]
        if wrong:
            yield f"the key was not what it must be: {', '.join(wrong)}"
    if not (makes_certificate(step) or step.makes == "install"):
        return
    certificate = x509.load_pem_x509_certificate(made["pem"].encode())
    der = certificate.public_bytes(Encoding.DER)
    key = certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")
    if hashlib.sha256(der).hexdigest() != made["sha256"]:
        yield "its certificate has another SHA-256"
    if key != made["public_key"]:
        yield "its certificate is for another key"
    if made["form"] and form_of(der, certificate.public_key()) != made["form"]:
        yield "its certificate has another form"
    try:
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(made["signed_by"].encode()))
    except (ValueError, TypeError, InvalidSignature):
        yield "its certificate is not signed by who is said to have signed it"
