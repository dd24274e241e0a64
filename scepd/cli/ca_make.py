"""`scepd ca create | request | sign | cross | import`: certificates of CAs, each by a planned ceremony."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import click
from cryptography import x509

from scepd.ca.performance import read_certificate
from scepd.ca.plan import KINDS, Plan, PlannedKey, Step, kind_of, write_moment
from scepd.cli.ca_options import (
    Command,
    as_duration,
    file_option,
    key_uri,
    location_options,
    locations_of,
    read_pem,
)
from scepd.cli.ca_signer import find_above
from scepd.cli.ceremony import Manner, ceremony_options, hold, manner_of
from scepd.refusal import OperatorError
from scepd.x509.certificate import Locations
from scepd.x509.names import from_text as read_subject
from scepd.x509.names import from_x509, to_text

_type_option = click.option(
    "--type", "kind", type=click.Choice(KINDS), default="ec:P-384", show_default=True, help="The key's kind."
)
_subject_option = click.option("--subject", required=True, help='For example "CN=Example Root CA,O=Example".')


def _validity_option(default: str) -> Callable[[Command], Command]:
    return click.option(
        "--validity", callback=as_duration, default=default, show_default=True, help="How long it is valid."
    )


@click.command(short_help="Make a CA: key and certificate.")
@click.argument("label")
@_subject_option
@_type_option
@_validity_option("20y")
@click.option("--path-length", type=click.IntRange(0, 9), default=1, show_default=True, help="Levels of CAs below it.")
@click.option("--existing", is_flag=True, help="The key is there already: scepd hsm keygen.")
@click.option("--key", help="Signed by this key instead of its own: a root's, in this token or another.")
@file_option("--certificate", help="The certificate of that key.")
@file_option("--output", help="Where the certificate goes; LABEL.pem unless said.")
@location_options
@ceremony_options
def create(label: str, *, existing: bool, output: str | None, **wishes: Any) -> None:
    """Make the key LABEL in the token and a CA certificate: signed by itself, or by the CA above.

    \b
    scepd ca create root-ca --subject "CN=Example Root CA,O=Example" --plan
    scepd ca create root-ca --subject "CN=Example Root CA,O=Example" --rehearse
    scepd ca create devices-ca --subject "CN=Example Devices CA,O=Example" --path-length 0 --validity 10y --key "pkcs11:token=root;object=root-ca" --pin-file root-pin --certificate root-ca.pem
    """  # noqa: D301 - \b is for click
    manner, key = manner_of(wishes), wishes["key"]
    step = Step(
        makes="root" if key is None else "ca",
        key=PlannedKey(uri=key_uri(label, manner), kind=wishes["kind"], role="sign", fresh=not existing),
        subject=to_text(read_subject(wishes["subject"])),
        not_after=write_moment(datetime.now(UTC) + wishes["validity"]),
        path_length=wishes["path_length"],
        output=_output(output, label, ".pem"),
    )
    if key is not None:
        if wishes["certificate"] is None:
            raise OperatorError("the certificate of the key that signs is missing", "--certificate root-ca.pem")
        step = _signed(step, wishes, manner)
    elif locations_of(wishes, Locations()) != Locations():
        raise OperatorError("nobody revokes a root: its certificate says nowhere to ask", "leave out the URLs")
    hold(Plan(title=f"Found the CA {step.subject}", steps=(step,)), manner)


@click.command(short_help="Make a key and a request that another CA shall sign.")
@click.argument("label")
@_subject_option
@_type_option
@click.option("--existing", is_flag=True, help="The key is there already.")
@file_option("--output", help="Where the request goes; LABEL.csr unless said.")
@ceremony_options
def request(label: str, subject: str, kind: str, *, existing: bool, output: str | None, **wishes: Any) -> None:
    """Make the key LABEL and a PKCS#10 for a CA outside, or for scepd ca sign; its answer comes back by scepd ca import.

    \b
    scepd ca request devices-ca --subject "CN=Example Devices CA,O=Example" --type ec:P-256
    """  # noqa: D301 - \b is for click
    manner = manner_of(wishes)
    step = Step(
        makes="request",
        key=PlannedKey(uri=key_uri(label, manner), kind=kind, role="sign", fresh=not existing),
        subject=to_text(read_subject(subject)),
        output=_output(output, label, ".csr"),
    )
    hold(Plan(title=f"Ask for a CA certificate for {step.subject}", steps=(step,)), manner)


def _signing(validity: str) -> Callable[[Command], Command]:
    """Give a command what both need that certify another CA's key."""
    options = (
        click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False)),
        click.option("--key", required=True, help="The key that signs: its label, or a URI that names its token too."),
        file_option("--certificate", help="The certificate of that key.", required=True),
        _validity_option(validity),
        click.option(
            "--path-length", type=click.IntRange(0, 9), default=0, show_default=True, help="Levels of CAs below it."
        ),
        file_option("--output", help="Where the certificate goes.", required=True),
        location_options,
        ceremony_options,
    )

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@click.command(short_help="Sign the request of a CA below.")
@_signing("10y")
def sign(file: Path, **wishes: Any) -> None:
    """Certify as a CA whoever made the PKCS#10 in FILE: the subject is the request's, everything else is decided here.

    \b
    scepd ca sign devices-ca.csr --key "pkcs11:token=root;object=root-ca" --pin-file root-pin --certificate root-ca.pem --output devices-ca.signed.pem
    """  # noqa: D301 - \b is for click
    pem = read_pem(file)
    _certify_other("Certify the CA", pem, _subject_of(pem, file), None, wishes)


@click.command(short_help="Sign another CA's own certificate anew: a cross-certificate.")
@_signing("5y")
def cross(file: Path, **wishes: Any) -> None:
    """Certify the subject and key of the self-signed CA certificate in FILE, so that those who trust this CA trust that.

    \b
    scepd ca cross new-root.pem --key old-root --certificate old-root.pem --path-length 1 --output new-by-old.pem
    """  # noqa: D301 - \b is for click
    other = x509.load_der_x509_certificate(read_certificate(file))
    subject, end = to_text(from_x509(other.subject)), other.not_valid_after_utc
    _certify_other("Cross-certify the CA", read_pem(file), subject, end, wishes)


def _certify_other(words: str, pem: str, subject: str, latest: datetime | None, wishes: dict[str, Any]) -> None:
    """Hold the ceremony that certifies the CA of a request or certificate, until `latest` at the latest."""
    manner, end = manner_of(wishes), datetime.now(UTC) + wishes["validity"]
    step = Step(
        makes="ca",
        request=pem,
        subject=subject,
        not_after=write_moment(end if latest is None else min(end, latest)),
        path_length=wishes["path_length"],
        output=wishes["output"],
    )
    hold(Plan(title=f"{words} {subject}", steps=(_signed(step, wishes, manner),)), manner)


def _signed(step: Step, wishes: dict[str, Any], manner: Manner) -> Step:
    """Return the step with its signer; by a CA of the configuration it goes on record, and says where that publishes."""
    above = find_above(wishes["key"], Path(wishes["certificate"]), manner)
    return attrs.evolve(above, locations=locations_of(wishes, above.locations)).sign(step)


@click.command("import", short_help="Check and take in what another CA signed for a key of ours.")
@click.argument("label")
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@file_option("--chain", help="The certificate that signed it, and those above, nearest first.", required=True)
@click.option("--subject", help="The subject that was asked for; the certificate's own unless said.")
@file_option("--output", help="Where the certificate goes; LABEL.pem unless said.")
@ceremony_options
def take_in(label: str, file: Path, chain: str, subject: str | None, output: str | None, **wishes: Any) -> None:
    """Take in the certificate in FILE for the key LABEL: it must be a CA's, for that key, signed by the chain.

    \b
    scepd ca import devices-ca devices-ca.signed.pem --chain root-ca.pem
    """  # noqa: D301 - \b is for click
    manner = manner_of(wishes)
    answer = x509.load_der_x509_certificate(read_certificate(file))
    named = to_text(from_x509(answer.subject))
    step = Step(
        makes="install",
        key=PlannedKey(uri=key_uri(label, manner), kind=kind_of(answer.public_key()), role="sign", fresh=False),
        request=read_pem(file),
        subject=named if subject is None else to_text(read_subject(subject)),
        chain=chain,
        output=_output(output, label, ".pem"),
    )
    hold(Plan(title=f"Take in the certificate of {step.subject}", steps=(step,)), manner)


def _output(written: str | None, label: str, suffix: str) -> str:
    return written if written is not None else str(Path(f"{label}{suffix}").absolute())


def _subject_of(pem: str, file: Path) -> str:
    try:
        return to_text(from_x509(x509.load_pem_x509_csr(pem.encode()).subject))
    except ValueError as error:
        raise OperatorError(
            f"{file} is no certification request: {error}", f"openssl req -noout -text -in {file}"
        ) from error
