"""`scepd fsck`: everything that the store holds, verified again."""

from collections.abc import Mapping
from pathlib import Path

import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scepd.app.clock import UtcClock
from scepd.cli.audit_sources import open_store
from scepd.cli.audit_trust import STORE_FILE, Trusted, seal_lines, trusted_keys
from scepd.cli.configured import config_option, json_option, load_settings
from scepd.cli.output import Failure
from scepd.cli.progress import with_progress
from scepd.cli.verdict import Verdict
from scepd.config.certificates import read_certificate
from scepd.config.issuer_settings import IssuerSettings
from scepd.config.settings import Settings
from scepd.observe.trail import Trail
from scepd.problems import Refused
from scepd.store.check import Inspection
from scepd.store.check_certificate import Known
from scepd.x509.keys import spki_digest


@click.command(short_help="Verify everything that the store holds.")
@click.option("--store", type=STORE_FILE, help="A copy of the store, in place of the configured one.")
@click.option(
    "--issuer",
    "issuers",
    multiple=True,
    metavar="NAME=PEM",
    help="The certificate of an issuer that the configuration names no more; repeatable.",
)
@click.option("--key", "keys", type=STORE_FILE, multiple=True, help="A former audit key (PEM); repeatable.")
@click.option("--seals", type=STORE_FILE, help="The file of seals; with --store none is compared unless named.")
@config_option
@json_option
@click.pass_context
def fsck(  # noqa: PLR0917 - click passes each option as an argument
    ctx: click.Context,
    store: Path | None,
    issuers: tuple[str, ...],
    keys: tuple[Path, ...],
    seals: Path | None,
    config: Path,
    as_json: bool,
) -> None:
    """Re-verify every certificate, CRL, transaction, challenge, audit row and seal, and the tables themselves.

    Works over one state of the store, so the service may run meanwhile; reads only. Exit status: 0 nothing was found,
    1 something was, 2 usage, 78 a fault in the configuration.
    """
    settings = load_settings(config)
    trusted = trusted_keys(settings, keys, seals, elsewhere=store is not None)
    known = Known.of({**_certificates(settings.issuers), **_named(issuers)}, _own_keys(settings, trusted))
    verdict, trail = Verdict(), Trail(trusted.keys, seal_lines(trusted))
    with open_store(settings, store) as reader, reader.snapshot():
        inspection = Inspection(reader.connection, known, UtcClock().now(), trail)
        for findings in with_progress(inspection.run(), inspection.steps(), "checking"):
            verdict.add(findings)
        summary = {**inspection.numbers(), "audit_rows": trail.rows, "seals": trail.seals}
    verdict.add(trusted.missing(trail.seals))
    sound = "the store is sound" if trail.seals else "the store is sound, and nothing of its audit trail is sealed yet"
    ctx.exit(verdict.show(summary, sound=sound, as_json=as_json))


def _certificates(issuers: tuple[IssuerSettings, ...]) -> Mapping[str, bytes]:
    return {issuer.name: issuer.certificate_der for issuer in issuers}


def _named(texts: tuple[str, ...]) -> Mapping[str, bytes]:
    named = {}
    for text in texts:
        name, separator, path = text.partition("=")
        if not (name and separator and path):
            raise click.BadParameter(f"{text!r} is not NAME=PEM", param_hint="--issuer")
        try:
            named[name] = read_certificate(Path(path)).public_bytes(Encoding.DER)
        except Refused as refused:
            raise Failure(refused.reason, where="--issuer", hint=refused.hint, exit_code=2) from refused
    return named


def _own_keys(settings: Settings, trusted: Trusted) -> frozenset[bytes]:
    own = (der for issuer in settings.issuers for der in issuer.own_certificates)
    keys = (x509.load_der_x509_certificate(der).public_key() for der in own)
    certified = (key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for key in keys)
    return frozenset(map(spki_digest, (*certified, *trusted.spkis)))
