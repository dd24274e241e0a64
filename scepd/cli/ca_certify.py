"""`scepd ca certify`: certificates of the service's own keys: RA, OCSP responder, TLS server."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from scepd.ca.performance import read_certificate
from scepd.ca.plan import KINDS, Plan, PlannedKey, PlannedSigner, Purpose, Step, kind_of, write_moment
from scepd.cli import ca_tables
from scepd.cli.ca_keys import located, responder_subject
from scepd.cli.ca_options import as_duration, file_option, key_uri, location_options, locations_of, read_pem
from scepd.cli.ceremony import Manner, ceremony_options, hold, manner_of
from scepd.cli.configured import load_token
from scepd.cli.init_ceremony import ra_subject
from scepd.config.load import load_locations
from scepd.hsm.attributes import Roles
from scepd.records import Name
from scepd.refusal import OperatorError
from scepd.x509.certificate import Locations
from scepd.x509.issuer import IssuerCertificate
from scepd.x509.names import from_text, from_x509, to_text

_ROLES: dict[str, Roles] = {"ra": "both", "ra-sign": "sign", "ra-decrypt": "decrypt", "ocsp": "sign", "tls": "sign"}
_TITLES = {
    "ra": "the RA key",
    "ra-sign": "the RA signing key",
    "ra-decrypt": "the RA decryption key",
    "ocsp": "the OCSP responder",
    "tls": "the TLS server",
}
# An OCSP certificate cannot be revoked in effect (RFC 6960 section 4.2.2.2.1): it is short instead.
_VALIDITIES = {"ocsp": timedelta(days=30), "tls": timedelta(days=398)}


@click.command(short_help="Certify a key of the service: RA, OCSP responder, TLS server.")
@click.argument("issuer")
@click.option("--as", "purpose", type=click.Choice(list(_ROLES)), required=True, help="What the certificate is for.")
@click.option("--key", help="The key in the token: its label or URI; made, unless --existing.")
@click.option("--existing", is_flag=True, help="The key is there already: scepd hsm keygen.")
@click.option(
    "--type", "kind", type=click.Choice(KINDS), help="The key's kind; rsa:2048 for RA keys, ec:P-256 unless said."
)
@file_option("--request", help="In place of --key: a PKCS#10 or a public key (PEM), for a key outside the token.")
@click.option("--subject", help="The subject; beside the CA's own unless said.")
@click.option(
    "--name", "names", multiple=True, help="Of a TLS server: dns:pki.example.net, ip:192.0.2.1; may be repeated."
)
@click.option(
    "--validity",
    callback=lambda c, o, v: None if v is None else as_duration(c, o, v),
    help="RA: as long as the CA; OCSP: 30d; TLS: 398d.",
)
@file_option("--output", help="Where the certificate goes.", required=True)
@location_options
@ceremony_options
def certify(issuer: str, purpose: Purpose, output: str, **wishes: Any) -> None:
    """Certify a key with the CA key of ISSUER; the certificate goes on record and can be revoked like any other.

    It says where CRL, OCSP and CA certificate are as a device's certificate does, by the issuer's configuration.

    \b
    scepd ca certify devices --as ra-sign --key devices-ra-sign-9 --output devices-ra-sign-9.pem
    scepd ca certify devices --as ocsp --key devices-ocsp --type ec:P-256 --output devices-ocsp.pem
    scepd ca certify devices --as tls --request pki.csr --name dns:pki.example.net --output tls.pem
    """  # noqa: D301 - \b is for click
    manner = manner_of(wishes)
    load_token(manner.config)  # what is wrong there is said first
    signer, ca = _signer(issuer, manner)
    locations = _locations(issuer, purpose, wishes, manner)
    if (wishes["key"] is None) == (wishes["request"] is None):
        raise OperatorError("one key is certified: in the token, or by a request", "--key LABEL or --request FILE")
    key = None
    if wishes["key"] is not None:
        kind = wishes["kind"] or ("rsa:2048" if purpose.startswith("ra") else "ec:P-256")
        uri = key_uri(wishes["key"], manner)
        key = PlannedKey(uri=uri, kind=kind, role=_ROLES[purpose], fresh=not wishes["existing"])
    validity = wishes["validity"] or _VALIDITIES.get(purpose)
    end = ca.not_after if validity is None else min(datetime.now(UTC) + validity, ca.not_after)
    step = Step(
        makes=purpose,
        key=key,
        request="" if wishes["request"] is None else read_pem(Path(wishes["request"])),
        subject=_subject(purpose, from_x509(ca.certificate.subject), wishes["subject"]),
        names=wishes["names"],
        not_after=write_moment(end),
        signer=signer,
        issuer=issuer,
        output=output,
    )
    steps = (located(step, locations),)
    hold(Plan(title=f"Certify {_TITLES[purpose]} of the issuer {issuer}", steps=steps), manner)


def _locations(issuer: str, purpose: Purpose, wishes: dict[str, Any], manner: Manner) -> Locations:
    if purpose != "ocsp":
        return locations_of(wishes, load_locations(manner.config, issuer))
    if locations_of(wishes, Locations()) != Locations():
        raise OperatorError(
            "an OCSP responder's certificate says nowhere to ask about it (id-pkix-ocsp-nocheck)", "leave out the URLs"
        )
    return Locations()


def _signer(issuer: str, manner: Manner) -> tuple[PlannedSigner, IssuerCertificate]:
    """Return who signs, from the lines of [issuer.NAME] alone: an issuer that waits for its RA keys has no settings yet."""
    _, table = ca_tables.find_table(manner.config, issuer)
    if not isinstance(table.get("key"), str) or not isinstance(table.get("certificate"), str):
        raise OperatorError(f"[issuer.{issuer}] names no key and certificate", "scepd ca create; scepd ca import")
    path = (manner.config.parent / table["certificate"]).absolute()
    ca = IssuerCertificate.load(read_certificate(path))
    kind = kind_of(ca.public_key)
    both = ca_tables.is_own_ra(table, kind)
    return PlannedSigner(uri=table["key"], certificate=str(path), kind=kind, both_roles=both), ca


def _subject(purpose: Purpose, ca: Name, written: str | None) -> str:
    if purpose == "tls":
        if written is not None:
            raise OperatorError("the subject of a TLS server is its first name", "--name dns:pki.example.net")
        return ""  # its first name, where that is short enough
    if written is not None:
        return to_text(from_text(written))
    if purpose == "ocsp":
        return to_text(responder_subject(ca))
    return to_text(ra_subject(ca, {"ra": "both", "ra-sign": "sign"}.get(purpose, "decrypt")))  # type: ignore[arg-type]
