"""`scepd networks`: the file of trusted proxies, refreshed from what a provider publishes."""

import http.client
import os
import ssl
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import click

from scepd.profile.networks import read_networks
from scepd.refusal import OperatorError

CLOUDFLARE = ("https://www.cloudflare.com/ips-v4", "https://www.cloudflare.com/ips-v6")
_LARGEST = 262_144  # octets of one list
_PATIENCE = 20.0  # seconds
_TRY = "curl -sS URL; the old file was kept"


@click.group()
def networks() -> None:
    """Keep the file of trusted proxies."""


@networks.command()
@click.option(
    "--cloudflare",
    "file",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write Cloudflare's networks to (trusted_proxies of a listener).",
)
@click.option("--url", "urls", multiple=True, help="Where a list is published, in place of Cloudflare's own addresses.")
@click.option(
    "--trust", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="CAs, in place of the system's."
)
def refresh(file: Path, urls: tuple[str, ...], trust: Path | None) -> None:
    """Download the lists and replace the file in one step; a running service reads it again by itself."""
    lists = [_download(url, trust) for url in urls or CLOUDFLARE]
    for url, data in zip(urls or CLOUDFLARE, lists, strict=True):
        try:
            read_networks(data)
        except OperatorError as problem:
            raise OperatorError(f"{url}: {problem.problem}", _TRY.replace("URL", url)) from None
    lines = sorted({line.strip() for data in lists for line in data.decode("ascii").splitlines()} - {""})
    text = "".join(f"{line}\n" for line in lines).encode("ascii")
    if file.exists() and file.read_bytes() == text:
        click.echo(f"{file}: {len(lines)} networks, as before")
        return
    _replace(file, text)
    click.echo(f"{file}: {len(lines)} networks")


def _download(url: str, trust: Path | None) -> bytes:
    """Return a list by HTTPS; whoever could change it on its way could choose whom we believe. Redirects are refused."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise OperatorError(f"{url} is no https URL", f"--url {CLOUDFLARE[0]}")
    tls = ssl.create_default_context(cafile=trust)
    connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=_PATIENCE, context=tls)
    try:
        connection.request("GET", parts.path or "/", headers={"User-Agent": "scepd", "Accept": "text/plain"})
        answer = connection.getresponse()
        data = answer.read(_LARGEST + 1)
    except (OSError, http.client.HTTPException) as fault:
        raise OperatorError(f"{url}: {fault}", _TRY.replace("URL", url)) from None
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK or len(data) > _LARGEST:
        raise OperatorError(f"{url} answered {answer.status} with {len(data)} octets", _TRY.replace("URL", url))
    return data


def _replace(file: Path, text: bytes) -> None:
    """Write beside the file and rename: a reader sees the old list or the new one, never half of one."""
    try:
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(text)
            stream.flush()
            os.fchmod(stream.fileno(), 0o644)
            os.fsync(stream.fileno())
        Path(name).replace(file)
    except OSError as fault:
        raise OperatorError(f"{file} cannot be written: {fault.strerror}", f"ls -ld {file.parent}") from None
