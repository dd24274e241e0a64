"""`scepd client`: a SCEP client for any server."""

import hashlib
from pathlib import Path
from typing import Any

import click

from scepd.cli.client_enroll import enroll, poll, renew
from scepd.cli.client_lookup import getcert, getcrl, getnextca
from scepd.cli.client_options import JSON, PATH, SERVER, load, open_session, pem, server_of
from scepd.cli.files import create
from scepd.cli.output import show_json, show_rows


@click.group(short_help="A SCEP client, also for other servers.")
def client() -> None:
    """Talk to a SCEP server as a device does.

    \b
    scepd client getcaps --url http://pki.example.net/scep/routers
    scepd client enroll  --url http://pki.example.net/scep/routers \\
        --fingerprint 3F9A... --challenge-file secret --cn r1.example.net --key r1.key --out r1.pem
    scepd client poll    --key r1.key
    scepd client renew   --url http://pki.example.net/scep/routers \\
        --fingerprint 3F9A... --cert r1.pem --key r1.key --out r1-2.pem

    \b
    Exit status: 0 done, 1 refused or failed, 2 usage, 3 pending: a person must approve.
    """  # noqa: D301 - \b is for click


@client.command(short_help="What the server can do.")
@SERVER
@JSON
def getcaps(ca_identifier: str, as_json: bool, **server: Any) -> None:
    """Print the capability words of the server (GetCACaps)."""
    words = sorted(open_session(server_of(**server), ca_identifier).capabilities())
    if as_json:
        show_json(words)
    else:
        click.echo("\n".join(words) if words else "none announced")


@client.command(short_help="The server's CA and RA certificates.")
@SERVER
@JSON
@click.option("--out", type=PATH, help="Write the certificates as PEM to this new file.")
def getca(ca_identifier: str, as_json: bool, out: Path | None, **server: Any) -> None:
    """Print the certificates of the server with their fingerprints (GetCACert).

    Compare the fingerprint of the CA with its operator, then pin it: scepd client enroll --fingerprint.
    """
    certificates = open_session(server_of(**server), ca_identifier).certificates()
    rows = [
        {
            "subject": load(der).subject.rfc4514_string(),
            "issuer": load(der).issuer.rfc4514_string(),
            "until": f"{load(der).not_valid_after_utc:%Y-%m-%d}",
            "sha256": hashlib.sha256(der).hexdigest(),
            "sha1": hashlib.sha1(der, usedforsecurity=False).hexdigest(),
            "md5": hashlib.md5(der, usedforsecurity=False).hexdigest(),
        }
        for der in certificates
    ]
    show_rows(rows, ("subject", "until", "sha256"), as_json=as_json, empty="no certificates")
    if out is not None:
        create(out, b"".join(pem(der) for der in certificates))


for _verb in (enroll, renew, poll, getcert, getcrl, getnextca):
    client.add_command(_verb)
