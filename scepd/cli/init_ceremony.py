"""The first run's certificates (CA, RA pair, TLS listener) and the audit key's public key; each made once, and checked against its key when found."""

import os
import socket
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from scepd.ca.ceremony import Ceremony
from scepd.cli.files import PRIVATE, PUBLIC, create
from scepd.cli.init_answers import Answers
from scepd.cli.init_layout import AUDIT_LABEL, CA_LABEL, RA_DECRYPT_LABEL, RA_SIGN_LABEL, Layout
from scepd.cli.init_token import Keys
from scepd.config.scalars import read_address
from scepd.hsm.keys import PublicKey
from scepd.records import GeneralName, Name
from scepd.refusal import OperatorError
from scepd.x509.certificate import IssuerCertificate, RaRole
from scepd.x509.names import ORGANIZATIONAL_UNIT, from_text
from scepd.x509.strings import is_host_name

# Nobody renews it yet; the longest that Apple's clients accept.
_TLS_VALIDITY = timedelta(days=825)
_YEAR = timedelta(days=365)
_RA_UNITS: dict[RaRole, str] = {
    "sign": "SCEP RA signature",
    "decrypt": "SCEP RA encryption",
    "both": "SCEP RA",
}


def publish_audit_key(keys: Keys, layout: Layout) -> None:
    """Write the audit key's public key, with which the seals are verified."""
    path = layout.certificate(AUDIT_LABEL)
    pem = keys.audit.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    if not path.exists():
        create(path, pem, PUBLIC)
    elif path.read_bytes() != pem:
        raise OperatorError(f"{path} is another key than the token's", f"mv {path} {path}.old")


def certify(keys: Keys, answers: Answers, layout: Layout) -> bytes:
    """Make every certificate that is not there yet; return the CA certificate's DER."""
    ceremony = Ceremony(keys.ca, datetime.now(UTC), os.urandom)
    subject = from_text(answers.ca_name)
    ca_der = made_once(
        layout.certificate(CA_LABEL),
        keys.ca.public_key(),
        lambda: ceremony.found_ca(subject, answers.ca_years * _YEAR),
    )
    issuer = IssuerCertificate.load(ca_der)
    pair: Sequence[tuple[str, PublicKey, RaRole]] = (
        (RA_SIGN_LABEL, keys.ra_sign, "sign"),
        (RA_DECRYPT_LABEL, keys.ra_decrypt, "decrypt"),
    )
    for label, public_key, role in pair:
        made_once(
            layout.certificate(label),
            public_key,
            lambda public_key=public_key, role=role: ceremony.certify_ra(  # type: ignore[misc]
                issuer,
                ra_subject(subject, role),
                public_key,
                role,
            ),
        )
    if answers.https:
        tls_key = _tls_key(layout.tls_key).public_key()
        names = tls_names(answers)
        made_once(layout.tls, tls_key, lambda: ceremony.certify_tls(issuer, names, tls_key, _TLS_VALIDITY))
    return ca_der


def tls_names(answers: Answers) -> list[GeneralName]:
    """Return the names under which the TLS listener is reached: public URL, addresses, this machine, loopback."""
    names: dict[GeneralName, None] = {}
    hosts = [urlsplit(answers.public_url).hostname or ""] if answers.public_url else []
    addresses = [read_address(text)[0] for text in answers.https]
    hosts += [host for host in addresses if not ip_address(host).is_unspecified]
    if any(ip_address(host).is_unspecified for host in addresses):
        hosts.append(socket.getfqdn())
    for host in (*hosts, "localhost", "127.0.0.1"):
        name = _general_name(host)
        if name is not None:
            names[name] = None
    return list(names)


def _general_name(host: str) -> GeneralName | None:
    try:
        return GeneralName("ip", str(ip_address(host)))
    except ValueError:
        return GeneralName("dns", host.lower()) if is_host_name(host) else None


def ra_subject(ca: Name, role: RaRole) -> Name:
    """Return the name of an RA: beside the CA's own, so that the certificates of an issuer sort together and differ."""
    unit = from_text(f"OU={_RA_UNITS[role]}")
    assert unit[0][0].oid == ORGANIZATIONAL_UNIT
    return (*ca, *unit)


def made_once(path: Path, public_key: object, make: Callable[[], bytes]) -> bytes:
    """Return the certificate in the file, made and kept there when there is none."""
    if not path.exists():
        der = make()
        create(path, x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM), PUBLIC)
        return der
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    if certificate.public_key() != public_key:
        raise OperatorError(f"{path} certifies another key than the token's", f"mv {path} {path}.old")
    return certificate.public_bytes(Encoding.DER)


def _tls_key(path: Path) -> ec.EllipticCurvePrivateKey:
    if not path.exists():
        fresh = ec.generate_private_key(ec.SECP256R1())
        create(path, fresh.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), PRIVATE)
    key = load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise OperatorError(f"{path} holds no EC key", f"mv {path} {path}.old")
    return key
