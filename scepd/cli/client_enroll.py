"""`scepd client enroll`, `renew` and `poll`: a certificate, its successor, and what became of a request."""

import hashlib
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import attrs
import click

from scepd.cli.client_application import Application, Wish, enrolment, renewal
from scepd.cli.client_choice import Choice
from scepd.cli.client_exchange import Refused, StillPending
from scepd.cli.client_keys import KEY_TYPES, held, obtain_key
from scepd.cli.client_options import (
    CHALLENGE,
    EXACT,
    LINK,
    PATH,
    PATIENCE,
    Link,
    load,
    open_session,
    pem,
    refuse_existing,
    server_of,
    take_challenge,
    take_patience,
)
from scepd.cli.client_pending import Waiting, forget, keep, recall, state_file
from scepd.cli.client_session import Enrolment, Patience, Session
from scepd.cli.client_trust import Authority, establish
from scepd.cli.files import create
from scepd.cli.output import Failure
from scepd.records import GeneralName, Name
from scepd.refusal import OperatorError, Reject
from scepd.x509.names import from_text

PENDING = 3  # exit status, as the pkiStatus

_KEY_TYPE = click.option(
    "--key-type", type=click.Choice(list(KEY_TYPES)), default="rsa:2048", show_default=True, help="Of a new key."
)
_OUT = click.option("--out", type=PATH, required=True, help="Write the certificate (PEM) to this new file.")
_CHAIN_OUT = click.option("--chain-out", type=PATH, help="Write the certificates above it (PEM) to this new file.")


@click.command(short_help="Get a certificate.")
@LINK
@CHALLENGE
@click.option("--no-challenge", is_flag=True, help="Send none.")
@click.option("--cn", help="Common name; the whole subject when --subject is not given.")
@click.option("--subject", help='Distinguished name, for example "CN=r1,O=Example".')
@click.option("--dns", multiple=True, help="A DNS name to ask for; may be repeated.")
@click.option("--ip", multiple=True, help="An IP address to ask for; may be repeated.")
@click.option(
    "--key", "key_file", type=PATH, help="Private key (PEM), made when it does not exist; else OUT with .key."
)
@_KEY_TYPE
@click.option("--passing-signer", is_flag=True, help="Have a throw-away RSA key sign for an EC key.")
@_OUT
@_CHAIN_OUT
@EXACT
@PATIENCE
def enroll(**options: Any) -> None:
    """Get a certificate (PKCSReq) and check it: signature, nonce, key and chain.

    \b
    scepd client enroll --url http://127.0.0.1:8080/scep --fingerprint 3F9A... \\
        --challenge-file - --cn r1.example.net --key r1.key --out r1.pem

    An EC key signs its request itself; the reply is then protected by the challenge alone (RFC 8894 section 3.1).
    Where a person must approve, the command leaves with status 3 and keeps the request beside the key, as
    KEY.pending: scepd client poll goes on with it.
    """  # noqa: D301 - \b is for click
    link, patience = Link.take(options), take_patience(options)
    wish = _wish(options)
    refuse_existing(options["out"], options["chain_out"])
    session = link.session()
    choice, authority = link.choice(session.capabilities()), link.authority(session)
    key_file = options["key_file"] or options["out"].with_suffix(".key")
    key, is_new = obtain_key(key_file, options["key_type"])
    click.echo(f"key          {key_file}{'  (new)' if is_new else ''}")
    application = enrolment(
        key, wish, digest=choice.digest, now=session.now(), random=session.random, passing=options["passing_signer"]
    )
    signer_key = key_file if application.transaction.signer.key is key else None
    order = Order(link, choice, authority, key_file, options["out"], options["chain_out"])
    order.submit(session, application, signer_key, patience)


@click.command(short_help="Get the successor of a certificate.")
@LINK
@CHALLENGE
@click.option("--cert", "cert_file", type=PATH, required=True, help="The certificate to renew (PEM).")
@click.option("--key", "key_file", type=PATH, required=True, help="Its private key (PEM).")
@click.option(
    "--new-key", "new_key_file", type=PATH, help="The new key, made when it does not exist; else OUT with .key."
)
@click.option("--same-key", is_flag=True, help="Keep the key.")
@_KEY_TYPE
@click.option("--as-pkcsreq", is_flag=True, help="Send a PKCSReq (19), for servers without Renewal among their words.")
@_OUT
@_CHAIN_OUT
@EXACT
@PATIENCE
def renew(**options: Any) -> None:
    """Get a new certificate of the same names, with the old one as the credential (RenewalReq).

    \b
    scepd client renew --url http://127.0.0.1:8080/scep --fingerprint 3F9A... \\
        --cert r1.pem --key r1.key --out r1-2.pem

    A challenge is sent only when one is given; the certificate of an EC key needs one to protect the reply.
    """  # noqa: D301 - \b is for click
    link, patience = Link.take(options), take_patience(options)
    challenge = take_challenge(options)
    if options["same_key"] and options["new_key_file"]:
        raise click.UsageError("only one of --same-key and --new-key")
    refuse_existing(options["out"], options["chain_out"])
    old = held(options["cert_file"], options["key_file"])
    session = link.session()
    capabilities = session.capabilities()
    if capabilities and "Renewal" not in capabilities and not options["as_pkcsreq"]:
        raise OperatorError("the server does not announce Renewal", "--as-pkcsreq sends the form of the drafts")
    choice, authority = link.choice(capabilities), link.authority(session)
    key_file = options["new_key_file"] or options["out"].with_suffix(".key")
    if options["same_key"]:
        key_file = options["key_file"]
    key, is_new = obtain_key(key_file, options["key_type"])
    click.echo(f"key          {key_file}{'  (new)' if is_new else ''}")
    application = renewal(old, key, digest=choice.digest, challenge=challenge, as_pkcsreq=options["as_pkcsreq"])
    order = Order(link, choice, authority, key_file, options["out"], options["chain_out"])
    order.submit(session, application, options["key_file"], patience)


@click.command(short_help="Ask what became of a request that waits for a person.")
@click.option("--key", "key_file", type=PATH, required=True, help="The key of the request; its state is KEY.pending.")
@CHALLENGE
@click.option("--out", type=PATH, help="Write the certificate (PEM) to this new file, not where enroll was told to.")
@EXACT
@PATIENCE
def poll(**options: Any) -> None:
    """Go on with a request that is pending (CertPoll), now or days later.

    \b
    scepd client poll --key r1.key
    scepd client poll --key r1.key --poll-timeout 3600 --poll-interval 30

    The challenge is needed again only where an EC key makes it protect the messages; it is not kept.
    """  # noqa: D301 - \b is for click
    patience, challenge = take_patience(options), take_challenge(options)
    key_file: Path = options["key_file"]
    waiting = recall(key_file)
    out = options["out"] or waiting.out
    refuse_existing(out, waiting.chain_out)
    server = server_of(waiting.url, waiting.ca_file, waiting.tls_certificate, waiting.tls_key)
    session = open_session(server, waiting.ca_identifier, exact=options["exact"])
    authority = _authority(session, waiting)
    issued = _settle(
        key_file,
        lambda: session.poll(waiting.transaction, authority, waiting.choice, patience, challenge=challenge),
    )
    _deliver(issued, out, waiting.chain_out)
    forget(key_file)


@attrs.frozen
class Order:
    """Where a request goes to and where its certificate is put."""

    link: Link
    choice: Choice
    authority: Authority
    key_file: Path
    out: Path
    chain_out: Path | None

    def submit(self, session: Session, application: Application, signer_key: Path | None, patience: Patience) -> None:
        """Keep what a poll needs, ask, write what comes; `signer_key` None: the signer's key has no file."""
        keep(self._waiting(application, signer_key), self.key_file)
        issued = _settle(self.key_file, lambda: session.apply(application, self.authority, self.choice, patience))
        _deliver(issued, self.out, self.chain_out)
        forget(self.key_file)

    def _waiting(self, application: Application, signer_key: Path | None) -> Waiting:
        return Waiting(
            url=self.link.url,
            ca_file=_absolute(self.link.ca_file),
            tls_certificate=_absolute(self.link.tls_certificate),
            tls_key=_absolute(self.link.tls_key),
            ca_identifier=self.link.ca_identifier,
            certificates=self.authority.certificates,
            fingerprint=hashlib.sha256(self.authority.anchor).hexdigest(),
            choice=self.choice,
            transaction=application.transaction,
            signer_key=_absolute(signer_key),
            out=self.out.absolute(),
            chain_out=_absolute(self.chain_out),
        )


def _settle(key_file: Path, ask: Callable[[], Enrolment]) -> Enrolment:
    """Return the certificate; the state stays while the request is pending or its answer was not seen."""
    try:
        return ask()
    except StillPending as error:
        raise Failure(
            error.problem,
            where=str(state_file(key_file)),
            hint=f"scepd client poll --key {key_file}",
            exit_code=PENDING,
        ) from error
    except Refused:
        forget(key_file)
        raise


def _authority(session: Session, waiting: Waiting) -> Authority:
    # The RA may have changed since, and so may the CA, whose old RA then still answers for a while.
    try:
        return establish(session.certificates(), waiting.fingerprint, session.now())
    except OperatorError:
        return establish(waiting.certificates, waiting.fingerprint, session.now())


def _deliver(issued: Enrolment, out: Path, chain_out: Path | None) -> None:
    create(out, pem(issued.certificate_der))
    if chain_out is not None:
        create(chain_out, b"".join(map(pem, issued.chain)))
    certificate = load(issued.certificate_der)
    click.echo(f"certificate  {out}  {certificate.subject.rfc4514_string()}")
    click.echo(f"serial       {certificate.serial_number:x}")
    click.echo(f"valid until  {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    for difference in issued.differences:
        click.echo(f"note         {difference}")


def _wish(options: dict[str, Any]) -> Wish:
    if not options["cn"] and not options["subject"]:
        raise click.UsageError("--cn or --subject is missing")
    challenge = take_challenge(options, ask=True, none=options["no_challenge"])
    subject = _parsed_name(options["subject"] or "CN=" + _escaped(options["cn"]))
    names = [GeneralName("dns", name) for name in options["dns"]]
    names += [GeneralName("ip", _address(text)) for text in options["ip"]]
    return Wish(subject, tuple(names), challenge)


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.absolute()


def _parsed_name(text: str) -> Name:
    try:
        return from_text(text)
    except (ValueError, Reject) as error:
        raise click.UsageError(f"{text!r} is no distinguished name: {error}") from error


def _escaped(text: str) -> str:
    # RFC 4514 section 2.4.
    escaped = "".join(f"\\{character}" if character in ',+"\\<>;=' else character for character in text)
    return f"\\{escaped}" if escaped.startswith(("#", " ")) else escaped


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError as error:
        raise click.UsageError(f"--ip {text!r} is no IP address") from error
