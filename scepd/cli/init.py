"""`scepd init`: the first run, from nothing to a configuration that serves."""

import json
import secrets
import sys
from pathlib import Path
from typing import Any

import click
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from scepd.ca.ceremony import Fingerprints
from scepd.cli.files import PRIVATE, create, make_directory, remove_passing
from scepd.cli.init_answers import CA_KEYS, Answers, ask_the_rest, default_module, read_answers
from scepd.cli.init_ceremony import certify, publish_audit_key
from scepd.cli.init_layout import AUDIT_LABEL, CA_LABEL, RA_DECRYPT_LABEL, RA_SIGN_LABEL, Layout, write_configuration
from scepd.cli.init_token import prepare_keys, prepare_token, refuse_taken_labels
from scepd.cli.init_user import Owner, find_owner, give
from scepd.config.load import load
from scepd.config.settings import Settings
from scepd.hsm.faults import TokenFault
from scepd.hsm.keys import PublicKey
from scepd.refusal import OperatorError
from scepd.store.migrate import upgrade

_LONGEST_RUNTIME = 85  # octets; a Unix socket's whole path has room for 107
_STORE_KEY = 32  # octets


@click.command(short_help="Guided first run: token, keys, CA, configuration.")
@click.option("--directory", type=click.Path(path_type=Path), help="Put everything under this directory.")
@click.option("--answers", "answers_file", type=click.Path(path_type=Path), help="A TOML file with the answers.")
@click.option("--if-needed", is_flag=True, help="Do nothing where a configuration is there already.")
@click.option("--name", help="The name of this installation.")
@click.option("--ca-name", help='The CA\'s subject, for example "CN=Example Devices CA,O=Example".')
@click.option("--ca-key", type=click.Choice(CA_KEYS), help="The CA's key; rsa-3072 unless said.")
@click.option("--ca-years", type=int, help="How long the CA is valid; 10 unless said.")
@click.option("--module", help="The PKCS#11 module; SoftHSM unless said.")
@click.option("--token", help="The token's label; made, unless --pin-file is given.")
@click.option("--pin-file", help="The PIN of a token that exists (mode 0600).")
@click.option("--environment", multiple=True, help="NAME=VALUE that the module reads to find its token; may be repeated.")
@click.option("--http", multiple=True, help="Address of a plain listener, for example 127.0.0.1:8080; may be repeated.")
@click.option("--https", multiple=True, help="Address of a TLS listener; may be repeated; none with --http alone.")
@click.option("--public-url", help="The URL under which clients reach it, for example https://pki.example.net.")
@click.option("--profile", help="The name of the first profile.")
@click.option("--user", help="As root: the user who runs the service and owns all this; scepd, where it exists.")
@click.option("--workers", type=int, help="Worker processes; else one for each core.")
def init(
    directory: Path | None,
    answers_file: Path | None,
    if_needed: bool,
    user: str | None,
    **flags: Any,
) -> None:
    """Make a token with its four keys, a CA, a store and a configuration; then scepd run serves.

    Asks at a terminal; takes flags, answers and defaults otherwise. Interrupted, it goes on where it was.

    \b
    scepd init --directory var --http 127.0.0.1:8080 --https 127.0.0.1:8443
    scepd init --ca-key ec-p256 --answers site.toml
    """  # noqa: D301 - \b is for click
    layout = Layout.of_the_system() if directory is None else Layout.under(directory.absolute())
    if layout.toml.exists():
        if not if_needed:
            raise OperatorError(f"{layout.toml} exists already", "scepd run; scepd init --if-needed; or another --directory")
        _reuse(layout, flags)
        return
    owner = find_owner(user, fallback="scepd" if directory is None else None)
    answers = _resume(layout)
    try:
        if answers is None:
            answers = _ask(answers_file, flags, with_prompts=directory is None and sys.stdin.isatty())
            _begin(layout, answers)
        _perform(answers, layout, owner)
    except TokenFault as fault:
        raise OperatorError(f"the token failed: {fault.cause}", "the same command again goes on from here") from fault


def _ask(answers_file: Path | None, flags: dict[str, Any], *, with_prompts: bool) -> Answers:
    known = {} if answers_file is None else read_answers(answers_file)
    known |= {key: value for key, value in flags.items() if value not in (None, ())}
    if with_prompts and answers_file is None:
        known = ask_the_rest(known)
    if "http" in known and "https" not in known:
        known["https"] = ()
    if not known.get("module"):
        known["module"] = default_module()
    if not known["module"]:
        raise OperatorError("SoftHSM is not installed", "apt-get install softhsm2; or --module for another token")
    if "name" in known and "ca_name" not in known:
        known["ca_name"] = f"CN={known['name']} Devices CA"
    return Answers.from_mapping(known, "init" if answers_file is None else str(answers_file))


def _resume(layout: Layout) -> Answers | None:
    """Return the answers of a first run that was interrupted here."""
    if not layout.unfinished.exists():
        return None
    click.echo(f"going on with the first run that was interrupted; its answers hold: {layout.unfinished}", err=True)
    remove_passing(layout.configuration)
    return Answers.from_mapping(json.loads(layout.unfinished.read_bytes()), str(layout.unfinished))


def _begin(layout: Layout, answers: Answers) -> None:
    """Check that nothing would be overwritten, make the directories, keep the answers."""
    taken = [path for path in layout.products if path.exists()]
    if taken:
        listed = ", ".join(str(path) for path in taken)
        raise OperatorError(f"these exist already, and init overwrites nothing: {listed}", "another --directory")
    if len(str(layout.runtime).encode()) > _LONGEST_RUNTIME:
        raise OperatorError(f"{layout.runtime} is too long a path for the sockets in it", "a shorter --directory")
    if answers.pin_file is not None:
        refuse_taken_labels(prepare_token(answers, layout))
    for path in (layout.configuration, layout.state, layout.runtime):
        make_directory(path)
    create(layout.unfinished, answers.to_json(), PRIVATE)


def _perform(answers: Answers, layout: Layout, owner: Owner | None) -> None:
    """Take the five steps; each leaves what an earlier, interrupted run did as it is."""
    token = prepare_token(answers, layout)
    click.echo(f" 1/5 HSM        {token.description['model']}, token '{answers.token}'")
    keys = prepare_keys(token, answers)
    click.echo(
        f" 2/5 Keys       {CA_LABEL} {answers.ca_key}, {RA_SIGN_LABEL} and {RA_DECRYPT_LABEL} rsa-2048,"
        f" {AUDIT_LABEL} {_kind(keys.audit)}, made in the token"
    )
    ca_der = certify(keys, answers, layout)
    publish_audit_key(keys, layout)
    click.echo(f" 3/5 CA         {answers.ca_name}, {answers.ca_years} years, signed by itself")
    if not layout.store_key.exists():
        create(layout.store_key, secrets.token_bytes(_STORE_KEY), PRIVATE)
    settings = _finish(answers, layout, owner)
    listeners = [*(f"https {one}" for one in answers.https), *(f"http {one}" for one in answers.http)]
    click.echo(f" 4/5 Listeners  {', '.join(listeners) or 'none'}")
    click.echo(f" 5/5 Profile    {answers.profile}: one-time challenges, automatic")
    _show_result(settings, layout, ca_der)


def _kind(key: PublicKey) -> str:
    return f"rsa-{key.key_size}" if isinstance(key, rsa.RSAPublicKey) else f"ec-p{key.key_size}"


def _finish(answers: Answers, layout: Layout, owner: Owner | None) -> Settings:
    """Write the configuration under a passing name, prove that it loads, make the store; then give it its name."""
    passing = layout.toml.with_name(".scepd.new.toml")
    passing.unlink(missing_ok=True)
    text = write_configuration(answers, layout).encode()
    create(passing, text, PRIVATE)
    try:
        settings = load(passing)
        upgrade(settings.store.url, settings.appliance.state)
    finally:
        passing.unlink()
    if owner is not None:
        give((layout.configuration, layout.state, layout.runtime), owner)
    create(layout.toml, text, PRIVATE, owner)
    layout.unfinished.unlink()
    return settings


def _reuse(layout: Layout, flags: dict[str, Any]) -> None:
    """Say what is there; flags that ask for something else are pointed out, since the file is the operator's."""
    settings = load(layout.toml)
    layout.unfinished.unlink(missing_ok=True)  # a run that was cut off after its last step
    addresses = {
        f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        for one in settings.listeners
        for host, port in one.addresses
    }
    asked = {address for key in ("http", "https") for address in flags.get(key, ())}
    click.echo(f"{layout.toml} is there already: nothing to do")
    if asked - addresses:
        click.echo(
            f"note: it listens on {', '.join(sorted(addresses))}, not on {', '.join(sorted(asked - addresses))}; "
            f"change [listener] in {layout.toml}",
            err=True,
        )


def _show_result(settings: Settings, layout: Layout, ca_der: bytes) -> None:
    found = Fingerprints.of(ca_der)
    subject = x509.load_der_x509_certificate(ca_der).subject.rfc4514_string()
    profile = settings.default_profile.name
    option = "" if layout == Layout.of_the_system() else f" --config {layout.toml}"
    click.echo("")
    click.echo(f" Wrote {layout.toml}  {settings.store.url.removeprefix('sqlite:///')}")
    click.echo(f" CA    {subject}  ({layout.certificate(CA_LABEL)})")
    click.echo(f"       SHA-256  {found.sha256}")
    click.echo(f"       SHA-1    {found.sha1}")
    click.echo(f"       MD5      {found.md5}")
    click.echo(f" Next: scepd check --hsm{option}")
    click.echo(f"       scepd run --welcome{option}")
    click.echo(f"       scepd challenge new {profile} --cn r1.example.net{option}")
    click.echo(" Keep safe: the token, its PIN and the store key; no copy of them exists elsewhere.")
