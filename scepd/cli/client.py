"""`scepd client`: a SCEP client for any server."""

import hashlib
import os
import sys
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import TextIO

import attrs
import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepd.cli.client_choice import choose
from scepd.cli.client_http import Server
from scepd.cli.client_keys import CURVES, obtain_key
from scepd.cli.client_session import Enrolment, Session, Wish
from scepd.cli.client_trust import establish
from scepd.cli.files import create
from scepd.cli.output import show_json, show_rows
from scepd.records import GeneralName, Name, Secret
from scepd.refusal import OperatorError, Reject
from scepd.x509.names import from_text

_PATH = click.Path(path_type=Path)

_URL = click.option("--url", required=True, help="The SCEP URL, for example http://pki.example.net/scep/routers.")
_CA_FILE = click.option("--ca-file", type=_PATH, help="CA certificates (PEM) to trust for https; else the system's.")
_IDENTIFIER = click.option("--ca-identifier", default="", help="For servers that choose a CA by name.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(short_help="A SCEP client, also for other servers.")
def client() -> None:
    """Talk to a SCEP server as a device does.

    \b
    scepd client getcaps --url http://pki.example.net/scep/routers
    scepd client enroll  --url http://pki.example.net/scep/routers \\
        --fingerprint 3F9A... --challenge-file secret --cn r1.example.net --key r1.key --out r1.pem
    """  # noqa: D301 - \b is for click


@client.command(short_help="What the server can do.")
@_URL
@_CA_FILE
@_IDENTIFIER
@_JSON
def getcaps(url: str, ca_file: Path | None, ca_identifier: str, as_json: bool) -> None:
    """Print the capability words of the server (GetCACaps)."""
    words = sorted(_session(url, ca_file, ca_identifier).capabilities())
    if as_json:
        show_json(words)
    else:
        click.echo("\n".join(words) if words else "none announced")


@client.command(short_help="The server's CA and RA certificates.")
@_URL
@_CA_FILE
@_IDENTIFIER
@_JSON
@click.option("--out", type=_PATH, help="Write the certificates as PEM to this new file.")
def getca(url: str, ca_file: Path | None, ca_identifier: str, as_json: bool, out: Path | None) -> None:
    """Print the certificates of the server with their fingerprints (GetCACert).

    Compare the fingerprint of the CA with its operator, then pin it: scepd client enroll --fingerprint.
    """
    certificates = _session(url, ca_file, ca_identifier).certificates()
    rows = [
        {
            "subject": _load(der).subject.rfc4514_string(),
            "issuer": _load(der).issuer.rfc4514_string(),
            "until": f"{_load(der).not_valid_after_utc:%Y-%m-%d}",
            "sha256": hashlib.sha256(der).hexdigest(),
            "sha1": hashlib.sha1(der, usedforsecurity=False).hexdigest(),
            "md5": hashlib.md5(der, usedforsecurity=False).hexdigest(),
        }
        for der in certificates
    ]
    show_rows(rows, ("subject", "until", "sha256"), as_json=as_json, empty="no certificates")
    if out is not None:
        create(out, b"".join(_pem(der) for der in certificates))


@client.command(short_help="Get a certificate.")
@_URL
@_CA_FILE
@_IDENTIFIER
@click.option("--fingerprint", help="SHA-256 of the CA certificate, in hexadecimal: the CA to trust.")
@click.option("--insecurely-trust-first-ca", is_flag=True, help="Trust whatever CA answers; it learns the challenge.")
@click.option("--challenge", help="The challenge; other users of this machine can see it while the command runs.")
@click.option("--challenge-file", type=click.File("r"), help="Read the challenge from a file; - is standard input.")
@click.option("--no-challenge", is_flag=True, help="Send none.")
@click.option("--cn", help="Common name; the whole subject when --subject is not given.")
@click.option("--subject", help='Distinguished name, for example "CN=r1,O=Example".')
@click.option("--dns", multiple=True, help="A DNS name to ask for; may be repeated.")
@click.option("--ip", multiple=True, help="An IP address to ask for; may be repeated.")
@click.option(
    "--key", "key_file", type=_PATH, help="Private key (PEM), made when it does not exist; else OUT with .key."
)
@click.option("--bits", type=click.IntRange(1024, 8192), default=2048, show_default=True, help="Size of a new RSA key.")
@click.option(
    "--curve", type=click.Choice(list(CURVES)), help="Make an EC key; its request is signed by a passing RSA key."
)
@click.option("--out", type=_PATH, required=True, help="Write the certificate (PEM) to this new file.")
@click.option("--chain-out", type=_PATH, help="Write the certificates above it (PEM) to this new file.")
@click.option(
    "--digest", type=click.Choice(["sha256", "sha384", "sha512", "sha1", "md5"]), help="Else by the capabilities."
)
@click.option(
    "--cipher", type=click.Choice(["aes128", "aes192", "aes256", "des3", "des"]), help="Else by the capabilities."
)
@click.option("--oaep", type=click.Choice(["sha1", "sha256"]), help="Encrypt the content key with RSAES-OAEP.")
@click.option("--get", "by_get", is_flag=True, help="Send by GET even where the server takes POST.")
@click.option("--poll", type=click.IntRange(0), default=0, help="Seconds to wait where a person must approve.")
def enroll(**options: object) -> None:
    """Get a certificate (PKCSReq) and check it: signature, nonce, key and chain.

    \b
    scepd client enroll --url http://127.0.0.1:8080/scep --fingerprint 3F9A... \\
        --challenge-file - --cn r1.example.net --key r1.key --out r1.pem
    """  # noqa: D301 - \b is for click
    order = Order(**options)  # type: ignore[arg-type]
    issued = order.fulfil()
    create(order.out, _pem(issued.certificate_der))
    if order.chain_out is not None:
        create(order.chain_out, b"".join(_pem(der) for der in issued.chain))
    certificate = _load(issued.certificate_der)
    click.echo(f"certificate  {order.out}  {certificate.subject.rfc4514_string()}")
    click.echo(f"serial       {certificate.serial_number:x}")
    click.echo(f"valid until  {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")


@attrs.frozen(kw_only=True)
class Order:
    """The options of one `scepd client enroll`."""

    url: str
    ca_file: Path | None
    ca_identifier: str
    fingerprint: str | None
    insecurely_trust_first_ca: bool
    challenge: str | None
    challenge_file: TextIO | None
    no_challenge: bool
    cn: str | None
    subject: str | None
    dns: tuple[str, ...]
    ip: tuple[str, ...]
    key_file: Path | None
    bits: int
    curve: str | None
    out: Path
    chain_out: Path | None
    digest: str | None
    cipher: str | None
    oaep: str | None
    by_get: bool
    poll: int

    def fulfil(self) -> Enrolment:
        """Check the options, then enrol."""
        self._check()
        wish = Wish(self._name(), self._alternative_names(), self._challenge())
        session = _session(self.url, self.ca_file, self.ca_identifier)
        choice = choose(session.capabilities(), digest=self.digest, cipher=self.cipher, oaep=self.oaep, get=self.by_get)
        authority = establish(session.certificates(), self.fingerprint, session.now())
        key_file = self.key_file or self.out.with_suffix(".key")
        key, is_new = obtain_key(key_file, bits=self.bits, curve=self.curve)
        click.echo(f"key          {key_file}{'  (new)' if is_new else ''}")
        return session.enrol(key, wish, authority, choice, patience=float(self.poll))

    def _check(self) -> None:
        if self.fingerprint is None and not self.insecurely_trust_first_ca:
            raise click.UsageError(
                "--fingerprint is missing: the CA to trust (scepd client getca shows what is served)"
            )
        if not self.cn and not self.subject:
            raise click.UsageError("--cn or --subject is missing")
        if sum((self.challenge is not None, self.challenge_file is not None, self.no_challenge)) > 1:
            raise click.UsageError("only one of --challenge, --challenge-file and --no-challenge")
        for path in (self.out, self.chain_out):
            if path is not None and path.exists():
                raise OperatorError(f"{path} exists already", f"mv {path} {path}.old")

    def _name(self) -> Name:
        return _parsed_name(self.subject) if self.subject else _parsed_name("CN=" + _escaped(self.cn or ""))

    def _alternative_names(self) -> tuple[GeneralName, ...]:
        return tuple(GeneralName("dns", name) for name in self.dns) + tuple(
            GeneralName("ip", _address(text)) for text in self.ip
        )

    def _challenge(self) -> Secret | None:
        if self.no_challenge:
            return None
        if self.challenge is not None:
            return Secret(self.challenge)
        if self.challenge_file is not None:
            return Secret(self.challenge_file.read().rstrip("\r\n"))
        if not sys.stdin.isatty():
            raise click.UsageError("--challenge-file is missing (--no-challenge sends none)")
        return Secret(click.prompt("Challenge", hide_input=True, err=True))


def _session(url: str, ca_file: Path | None, identifier: str) -> Session:
    return Session(Server(url, ca_file), lambda: datetime.now(UTC), os.urandom, identifier=identifier)


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


def _load(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


def _pem(der: bytes) -> bytes:
    return _load(der).public_bytes(Encoding.PEM)
