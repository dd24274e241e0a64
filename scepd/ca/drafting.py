"""From a step of a plan to the octets that will be signed, and what of them is fixed before any key exists."""

import hashlib
from datetime import datetime, timedelta

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepd.ca.plan import Step, kind_of
from scepd.hsm.keys import PublicKey
from scepd.message import tlv
from scepd.records import GeneralName
from scepd.refusal import OperatorError
from scepd.x509.certificate import (
    IssuerCertificate,
    Locations,
    RaRole,
    draft_ca_certificate,
    draft_ocsp_certificate,
    draft_ra_certificate,
    draft_tls_certificate,
)
from scepd.x509.draft import Draft, split
from scepd.x509.fields import contents, elements, tbs_fields
from scepd.x509.lint import Kind, lint
from scepd.x509.names import from_text, from_x509, to_text
from scepd.x509.view import AUTHORITY_KEY, SUBJECT_KEY

# A ceremony and the first request may follow each other within a second, on machines whose clocks differ.
BACKDATE = timedelta(minutes=5)

_RA_ROLES: dict[str, RaRole] = {"ra": "both", "ra-sign": "sign", "ra-decrypt": "decrypt"}
_KINDS: dict[str, Kind] = {"root": "ca", "ca": "ca", "ocsp": "ocsp", "tls": "tls", **dict.fromkeys(_RA_ROLES, "ra")}
_KEY_IDENTIFIERS = tuple(tlv.oid(dotted) for dotted in (AUTHORITY_KEY, SUBJECT_KEY))


@attrs.frozen
class Circumstances:
    """What a draft takes from the hour of the ceremony: serial number and time."""

    serial: int
    now: datetime


def draft_step(step: Step, public_key: PublicKey, issuer: IssuerCertificate | None, at: Circumstances) -> Draft:
    """Return the linted draft of a step that makes a certificate.

    Raises `OperatorError` for dates that are past, for what outlives its issuer, and for every broken lint rule; `Reject` for a name that no certificate may carry.
    """
    if step.end <= at.now + BACKDATE:
        raise OperatorError(
            f"{step.output} would end at {step.not_after}, which is past", "a later end, or --validity 1y"
        )
    if issuer is not None and step.end > issuer.not_after:
        ends = f"{issuer.not_after:%Y-%m-%dT%H:%M:%SZ}"
        raise OperatorError(
            f"{step.output} would end at {step.not_after}, after its issuer's certificate ({ends})",
            "a shorter --validity; or a new CA certificate first: scepd ca rollover",
        )
    like = _likeness(step)
    draft = _draft(step, public_key, issuer, at, like)
    findings = lint(draft.der, issuer, _KINDS[step.makes] if like is None else "crossed")
    if findings:
        listed = "; ".join(f"{finding.rule}: {finding.detail}" for finding in findings)
        raise OperatorError(f"{step.output} would be invalid: {listed}", "choose another name, key or validity")
    return draft


def _likeness(step: Step) -> IssuerCertificate | None:
    """Return the certificate of its own of the CA that a step cross-certifies, None for any other step."""
    if step.makes != "ca" or "BEGIN CERTIFICATE-----" not in step.request:
        return None
    try:
        other = x509.load_pem_x509_certificate(step.request.encode())
    except ValueError as error:
        raise OperatorError(
            f"the certificate of {step.subject} cannot be read: {error}", "openssl x509 -noout -text -in FILE"
        ) from error
    like = IssuerCertificate.load(other.public_bytes(Encoding.DER))
    if to_text(from_x509(other.subject)) != step.subject:
        raise OperatorError(f"the certificate is not that of {step.subject}, as the plan says", "scepd ca cross ... --plan")
    return like


def _draft(
    step: Step,
    public_key: PublicKey,
    issuer: IssuerCertificate | None,
    at: Circumstances,
    like: IssuerCertificate | None,
) -> Draft:
    subject = from_text(step.subject) if step.subject and like is None else ()
    locations = Locations(step.crl_urls, step.ocsp_urls, step.issuer_urls)
    if step.makes in {"root", "ca"}:
        begin = at.now - BACKDATE
        return draft_ca_certificate(
            subject,
            public_key,
            issuer=issuer,
            serial=at.serial,
            not_before=begin if issuer is None else max(begin, issuer.not_before),
            not_after=step.end,
            path_length=step.path_length,
            transport=step.key is not None and step.key.role == "both",
            like=like,
            locations=locations,
        )
    if issuer is None:
        raise OperatorError(f"nobody would sign {step.output}", "a step of this kind names its signer")
    validity = step.end - at.now
    if step.makes == "ocsp":
        return draft_ocsp_certificate(
            subject, public_key, issuer=issuer, serial=at.serial, now=at.now, validity=validity
        )
    if step.makes == "tls":
        names = [read_general_name(text) for text in step.names]
        return draft_tls_certificate(
            names, public_key, issuer, serial=at.serial, now=at.now, validity=validity, locations=locations
        )
    return draft_ra_certificate(
        subject,
        public_key,
        role=_RA_ROLES[step.makes],
        issuer=issuer,
        serial=at.serial,
        now=at.now,
        validity=validity,
        locations=locations,
    )


def makes_certificate(step: Step) -> bool:
    """Return whether the step ends with a certificate that a key of ours signs."""
    return step.makes in _KINDS


def read_general_name(text: str) -> GeneralName:
    """Read "dns:pki.example.net" or "ip:192.0.2.1". Raises `OperatorError`."""
    kind, _, value = text.partition(":")
    if kind not in {"dns", "ip"} or not value:
        raise OperatorError(f"{text!r} is no name of a TLS server", "dns:pki.example.net or ip:192.0.2.1")
    return GeneralName(kind, value.lower() if kind == "dns" else value)


def form_of(certificate_der: bytes, public_key: object) -> str:
    """Return the SHA-256 of everything in a certificate but its keys, key identifiers, serial number and times.

    A rehearsal on a scratch token and the ceremony itself have the same form, or the ceremony is not what was
    rehearsed.
    """
    fields = tbs_fields(split(certificate_der)[0])
    kept = [fields[0], fields[2], fields[3], fields[5], kind_of(public_key).encode()]
    for field in fields[7:]:
        extensions = elements(contents(contents(field)))
        kept += [one for one in extensions if not contents(one).startswith(_KEY_IDENTIFIERS)]
    return hashlib.sha256(tlv.sequence(*(tlv.octet_string(one) for one in kept))).hexdigest()

