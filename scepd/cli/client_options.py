"""The options that the verbs of `scepd client` share: where to, whom to trust, which algorithms, which challenge."""

import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path
from typing import Any, Self, TextIO

import attrs
import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepd.cli.client_choice import TRANSPORTS, Choice, choose
from scepd.cli.client_http import Server
from scepd.cli.client_session import Patience, Session
from scepd.cli.client_trust import Authority, establish
from scepd.records import Secret
from scepd.refusal import OperatorError

Command = Callable[..., Any]

PATH = click.Path(path_type=Path)
URL = click.option("--url", required=True, help="The SCEP URL, for example http://pki.example.net/scep/routers.")
CA_FILE = click.option("--ca-file", type=PATH, help="CA certificates (PEM) to trust for https; else the system's.")
_TLS = (
    click.option("--tls-certificate", type=PATH, help="Show this certificate (PEM), and those above it, to the server."),
    click.option("--tls-key", type=PATH, help="Its private key (PEM); else it is in the same file."),
)
IDENTIFIER = click.option("--ca-identifier", default="", help="For servers that choose a CA by name.")
EXACT = click.option(
    "--exact", is_flag=True, help="Refuse a certificate of another subject or other names than asked for; else it is told."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

_TRUST = (
    click.option("--fingerprint", help="SHA-256 of the CA certificate, in hexadecimal: the CA to trust."),
    click.option(
        "--insecurely-trust-first-ca", is_flag=True, help="Trust whatever CA answers; it learns the challenge."
    ),
)
_ALGORITHMS = (
    click.option(
        "--digest", type=click.Choice(["sha256", "sha384", "sha512", "sha1", "md5"]), help="Else by the capabilities."
    ),
    click.option(
        "--cipher", type=click.Choice(["aes128", "aes192", "aes256", "des3", "des"]), help="Else by the capabilities."
    ),
    click.option(
        "--transport",
        type=click.Choice(list(TRANSPORTS)),
        default="v1.5",
        show_default=True,
        help="How the content key is encrypted: with RSA PKCS#1 v1.5 or OAEP, or with the challenge (pwri).",
    ),
    click.option(
        "--signature", type=click.Choice(["v1.5", "pss"]), default="v1.5", show_default=True, help="Of an RSA key."
    ),
    click.option("--get", "by_get", is_flag=True, help="Send by GET even where the server takes POST."),
)
_CHALLENGE = (
    click.option("--challenge", help="The challenge; other users of this machine can see it while the command runs."),
    click.option("--challenge-file", type=click.File("r"), help="Read the challenge from a file; - is standard input."),
)
_PATIENCE = (
    click.option(
        "--poll-timeout",
        type=click.FloatRange(0),
        default=0.0,
        help="Seconds to wait where a person must approve; else leave with status 3.",
    ),
    click.option(
        "--poll-interval",
        type=click.FloatRange(0.1),
        default=10.0,
        show_default=True,
        help="Seconds between two polls.",
    ),
)


def _all(*options: Command) -> Callable[[Command], Command]:
    return lambda command: reduce(lambda inner, option: option(inner), reversed(options), command)


SERVER = _all(URL, CA_FILE, *_TLS, IDENTIFIER)
LINK = _all(SERVER, *_TRUST, *_ALGORITHMS)
TRUSTING = _all(SERVER, *_TRUST)
CHALLENGE = _all(*_CHALLENGE)
PATIENCE = _all(*_PATIENCE)


@attrs.frozen(kw_only=True)
class Link:
    """Where a command speaks to, whom it trusts, and how."""

    url: str
    ca_file: Path | None
    tls_certificate: Path | None
    tls_key: Path | None
    ca_identifier: str
    fingerprint: str | None
    insecurely_trust_first_ca: bool
    digest: str | None = None
    cipher: str | None = None
    transport: str = "v1.5"
    signature: str = "v1.5"
    by_get: bool = False
    exact: bool = False

    @classmethod
    def take(cls, options: dict[str, Any]) -> Self:
        """Return the link of a command's options, which are left without what it takes; raises `click.UsageError`."""
        link = cls(**{field.name: options.pop(field.name) for field in attrs.fields(cls) if field.name in options})
        if link.fingerprint is None and not link.insecurely_trust_first_ca:
            raise click.UsageError(
                "--fingerprint is missing: the CA to trust (scepd client getca shows what is served)"
            )
        return link

    def session(self) -> Session:
        """Return a session with the server."""
        server = server_of(self.url, self.ca_file, self.tls_certificate, self.tls_key)
        return open_session(server, self.ca_identifier, exact=self.exact)

    def choice(self, capabilities: frozenset[str]) -> Choice:
        """Return the algorithms for a server of these capabilities."""
        return choose(
            capabilities,
            digest=self.digest,
            cipher=self.cipher,
            transport=self.transport,
            pss=self.signature == "pss",
            get=self.by_get,
        )

    def authority(self, session: Session) -> Authority:
        """Return the CA that the server has now, if it is the pinned one."""
        return establish(session.certificates(), self.fingerprint, session.now())


def server_of(url: str, ca_file: Path | None, tls_certificate: Path | None, tls_key: Path | None) -> Server:
    """Return the server of a command's options; raises `click.UsageError` for a certificate that nobody would see."""
    if tls_key is not None and tls_certificate is None:
        raise click.UsageError("--tls-key goes with --tls-certificate")
    if tls_certificate is not None and not url.startswith("https:"):
        raise click.UsageError("--tls-certificate goes with an https URL")
    return Server(url, ca_file, tls_certificate, tls_key)


def open_session(server: Server, identifier: str, *, exact: bool = False) -> Session:
    """Return a session on this machine's clock and random source; `exact` takes no other names than asked for."""
    return Session(server, lambda: datetime.now(UTC), os.urandom, identifier=identifier, exact=exact)


def take_patience(options: dict[str, Any]) -> Patience:
    """Return how long to wait, by the options, which are left without these."""
    return Patience(options.pop("poll_timeout"), options.pop("poll_interval"))


def take_challenge(options: dict[str, Any], *, ask: bool = False, none: bool = False) -> Secret | None:
    """Return the challenge by the options, which are left without these; `ask` prompts, `none` says there is none.

    Raises `click.UsageError` where several are given, or one is due and nobody can be asked.
    """
    text, file = options.pop("challenge"), options.pop("challenge_file")
    if sum((text is not None, file is not None, none)) > 1:
        raise click.UsageError("only one of --challenge, --challenge-file and --no-challenge")
    if text is not None:
        return Secret(text)
    if file is not None:
        return _read(file)
    if none or not ask:
        return None
    if not sys.stdin.isatty():
        raise click.UsageError("--challenge-file is missing (--no-challenge sends none)")
    return Secret(click.prompt("Challenge", hide_input=True, err=True))


def _read(file: TextIO) -> Secret:
    return Secret(file.read().rstrip("\r\n"))


def refuse_existing(*paths: Path | None) -> None:
    """Raise `OperatorError` for a file that would be overwritten."""
    for path in paths:
        if path is not None and path.exists():
            raise OperatorError(f"{path} exists already", f"mv {path} {path}.old")


def load(der: bytes) -> x509.Certificate:
    """Return a certificate that was read before."""
    return x509.load_der_x509_certificate(der)


def pem(der: bytes) -> bytes:
    """Return a certificate as PEM."""
    return load(der).public_bytes(Encoding.PEM)


def fields_of(der: bytes) -> Mapping[str, str]:
    """Return what a person wants to see of a certificate."""
    certificate = load(der)
    return {
        "subject": certificate.subject.rfc4514_string(),
        "serial": f"{certificate.serial_number:x}",
        "valid until": f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
    }
