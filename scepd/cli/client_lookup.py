"""`scepd client getcert`, `getcrl` and `getnextca`: what a device can ask a CA about certificates."""

import hashlib
from pathlib import Path
from typing import Any

import attrs
import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepd.cli.client_answers import next_certificates, take_certificate, take_crl
from scepd.cli.client_http import CRL_LIMITS
from scepd.cli.client_keys import held, make_passing_signer
from scepd.cli.client_options import (
    CHALLENGE,
    JSON,
    LINK,
    PATH,
    TRUSTING,
    Link,
    fields_of,
    load,
    pem,
    refuse_existing,
    take_challenge,
)
from scepd.cli.client_session import Asker, Session
from scepd.cli.files import create
from scepd.cli.output import show_fields, show_rows
from scepd.message.names import MessageType
from scepd.records import Secret

_CERT = click.option("--cert", "cert_file", type=PATH, help="A certificate of ours (PEM); else a throw-away one asks.")
_KEY = click.option("--key", "key_file", type=PATH, help="Its private key (PEM).")
_OUT = click.option("--out", type=PATH, help="Write what comes (PEM) to this new file.")


class _Serial(click.ParamType[int]):
    name = "serial"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return int(str(value).replace(":", ""), 16)
        except ValueError:
            self.fail(f"{value!r} is no serial number in hexadecimal", param, ctx)


@attrs.frozen
class _Who:
    """Who asks, by the options."""

    cert_file: Path | None
    key_file: Path | None
    challenge: Secret | None

    def __attrs_post_init__(self) -> None:
        if (self.cert_file is None) != (self.key_file is None):
            raise click.UsageError("--cert and --key go together")

    def asker(self, session: Session) -> Asker:
        if self.cert_file is None or self.key_file is None:
            return Asker(make_passing_signer(session.random, session.now()), self.challenge)
        return Asker(held(self.cert_file, self.key_file), self.challenge)


@click.command(short_help="Get a certificate by its serial number.")
@click.argument("serial", type=_Serial())
@LINK
@CHALLENGE
@_CERT
@_KEY
@_OUT
@JSON
def getcert(**options: Any) -> None:
    """Get the certificate with that SERIAL, hexadecimal (GetCert).

    \b
    scepd client getcert 5c7eb4e635ba... --url http://127.0.0.1:8080/scep --fingerprint 3F9A... \\
        --cert r1.pem --key r1.key --out again.pem

    Many servers give a certificate to its own key alone: --cert and --key.
    """  # noqa: D301 - \b is for click
    link = Link.take(options)
    who = _Who(options["cert_file"], options["key_file"], take_challenge(options))
    refuse_existing(options["out"])
    session = link.session()
    choice, authority = link.choice(session.capabilities()), link.authority(session)
    serial: int = options["serial"]
    inner = session.look_up(MessageType.GetCert, serial, who.asker(session), authority, choice)
    certificate, _chain = take_certificate(inner, serial, authority)
    if options["out"] is not None:
        create(options["out"], pem(certificate))
    show_fields(fields_of(certificate), as_json=options["as_json"])


@click.command(short_help="Get the CRL.")
@LINK
@CHALLENGE
@_CERT
@_KEY
@_OUT
@JSON
def getcrl(**options: Any) -> None:
    """Get the newest CRL of the CA through SCEP (GetCRL) and check it: signature and time.

    \b
    scepd client getcrl --url http://127.0.0.1:8080/scep --fingerprint 3F9A... --out devices.crl
    """  # noqa: D301 - \b is for click
    link = Link.take(options)
    who = _Who(options["cert_file"], options["key_file"], take_challenge(options))
    refuse_existing(options["out"])
    session = link.session()
    choice, authority = link.choice(session.capabilities()), link.authority(session)
    asker = who.asker(session)
    serial = load(asker.signer.certificate_der).serial_number  # the CRL does not depend on it
    roomy = attrs.evolve(session, server=attrs.evolve(session.server, limits=CRL_LIMITS))
    inner = roomy.look_up(MessageType.GetCRL, serial, asker, authority, choice)
    crl = take_crl(inner, authority, session.now())
    if options["out"] is not None:
        create(options["out"], crl.public_bytes(Encoding.PEM))
    show_fields(_fields_of_crl(crl), as_json=options["as_json"])


@click.command(short_help="The CA to come.")
@TRUSTING
@_OUT
@JSON
def getnextca(**options: Any) -> None:
    """Print the certificates of the next CA (GetNextCACert), announced by the CA of today.

    \b
    scepd client getnextca --url http://127.0.0.1:8080/scep --fingerprint 3F9A... --out next.pem
    """  # noqa: D301 - \b is for click
    link = Link.take(options)
    refuse_existing(options["out"])
    session = link.session()
    found = next_certificates(session, link.authority(session))
    rows = [{**fields_of(der), "sha256": hashlib.sha256(der).hexdigest()} for der in found]
    show_rows(rows, ("subject", "valid until", "sha256"), as_json=options["as_json"], empty="no certificates")
    if options["out"] is not None:
        create(options["out"], b"".join(map(pem, found)))


def _fields_of_crl(crl: x509.CertificateRevocationList) -> dict[str, Any]:
    number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    until = crl.next_update_utc
    return {
        "issuer": crl.issuer.rfc4514_string(),
        "number": number,
        "since": f"{crl.last_update_utc:%Y-%m-%d %H:%M} UTC",
        "until": None if until is None else f"{until:%Y-%m-%d %H:%M} UTC",
        "entries": len(crl),
    }
