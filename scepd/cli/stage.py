"""Where a ceremony of the command line takes place: the tokens that it logs in to, and the scratch ones of a rehearsal."""

import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from scepd.app.gateway import token_settings
from scepd.ca.ceremony import Ceremony
from scepd.ca.keys import make_key
from scepd.ca.performance import read_certificate, to_pem
from scepd.ca.plan import Plan, PlannedKey, PlannedSigner
from scepd.cli.files import PRIVATE, create, make_directory, read_pin_file
from scepd.cli.init_answers import default_module
from scepd.cli.probe import memory_of, obtain_pin
from scepd.config.settings import Premises
from scepd.hsm.attributes import Roles
from scepd.hsm.generate import generate_ec
from scepd.hsm.keys import parse_uri, signing_key_for
from scepd.hsm.module import Module, load_module
from scepd.hsm.public import public_key
from scepd.hsm.softhsm import configuration, initialise_token
from scepd.hsm.token import Session, Token, TokenSettings
from scepd.hsm.uri import KeyName
from scepd.ports import SigningKey
from scepd.records import Secret
from scepd.refusal import OperatorError
from scepd.x509.certificate import IssuerCertificate

AUDIT_LABEL = "scepd-audit"


class Tokens:
    """The tokens of one module that a ceremony needs, each logged in to once, when it is first asked for."""

    def __init__(self, module: Module, open_token: Callable[[Module, str | None], Token], home: str) -> None:
        """Open nothing yet; `home` is the label of the configured token, which a URI without token= means."""
        self._module, self._open, self._home = module, open_token, home
        self._sessions: dict[str, Session] = {}

    def session(self, label: str | None) -> Session:
        """Return a writable session of the token with that label. Raises `OperatorError`, `TokenFault`."""
        name = label or self._home
        if name not in self._sessions:
            self._sessions[name] = self._open(self._module, name).session(writable=True)
        return self._sessions[name]

    @property
    def descriptions(self) -> list[dict[str, str]]:
        """What the tokens used so far say of themselves."""
        return [session.token.description for session in self._sessions.values()]

    @property
    def module(self) -> str:
        """The module's path and its own name."""
        return f"{self._module.path} ({self._module.description})"


def real_tokens(premises: Premises, pin_file: Path | None) -> Tokens:
    """Return the configured token and, with its PIN in a file, another of the same module."""

    def open_token(module: Module, label: str | None) -> Token:
        settings, memory = token_settings(premises.hsm), memory_of(premises)
        if label == premises.hsm.token:
            return Token.open(module, settings, obtain_pin(premises.hsm), memory=memory)
        if pin_file is None:
            raise OperatorError(f"the PIN of token '{label}' is not known", "--pin-file FILE (mode 0600)")
        return Token.open(module, TokenSettings(settings.module, label or ""), read_pin_file(pin_file), memory=memory)

    return Tokens(load_module(str(premises.hsm.module), sha256=premises.hsm.module_sha256), open_token, premises.hsm.token)


@attrs.frozen
class Scratch:
    """A rehearsal's tokens, its audit key, and where its files go."""

    tokens: Tokens
    audit: SigningKey
    directory: Path

    def place(self, path: str) -> Path:
        """Return where a file of the plan is during the rehearsal. Raises `OperatorError` where that is outside."""
        if ".." in Path(path).parts:
            raise OperatorError(f"{path} leads out of where a rehearsal writes", f"realpath -m {path}")
        return self.directory / "files" / path.lstrip("/")


@contextmanager
def scratch_tokens(plan: Plan, home: str) -> Iterator[Scratch]:
    """Make SoftHSM tokens of the plan's labels, with the keys that it expects and stand-ins for the CAs that sign in it.

    Nothing of it is left afterwards. The real token is not touched, and its PIN not asked for.
    """
    module_path = default_module()
    if not module_path:
        raise OperatorError("a rehearsal needs SoftHSM, which is not installed", "apt-get install softhsm2")
    uris = [key.uri for step in plan.steps for key in (step.key, step.signer) if key is not None]
    labels = {parse_uri(uri).token or home for uri in uris} | {home}
    with tempfile.TemporaryDirectory(prefix="scepd-rehearsal-") as name:
        directory, pin = Path(name), Secret(secrets.token_hex(12))
        make_directory(directory / "tokens")
        create(directory / "softhsm2.conf", configuration(directory / "tokens").encode(), PRIVATE)
        os.environ["SOFTHSM2_CONF"] = str(directory / "softhsm2.conf")
        module = load_module(module_path)
        for label in sorted(labels):
            initialise_token(module, label, pin=pin, so_pin=pin)
        tokens = Tokens(module, lambda at, label: Token.open(at, TokenSettings(module_path, label or ""), pin), home)
        audit_public = generate_ec(tokens.session(home), AUDIT_LABEL, "P-256")
        audit = signing_key_for(tokens.session(home), KeyName(label=AUDIT_LABEL), audit_public)
        scratch = Scratch(tokens, audit, directory)
        _furnish(plan, scratch)
        try:
            yield scratch
        finally:
            module.finalise()


def _furnish(plan: Plan, scratch: Scratch) -> None:
    promised = {step.output for step in plan.steps}
    for step in plan.steps:
        for path in (step.output, *([] if step.signer is None else [step.signer.certificate])):
            scratch.place(path).parent.mkdir(parents=True, exist_ok=True)
        if step.key is not None and not step.key.fresh:
            _make_once(step.key, scratch)
        if step.signer is not None and step.signer.certificate not in promised:
            _stand_in(step.signer, scratch)


def _make_once(key: PlannedKey, scratch: Scratch) -> None:
    name = parse_uri(key.uri)
    if public_key(scratch.tokens.session(name.token), name.label or "") is None:
        make_key(key, scratch.tokens.session)


def _stand_in(signer: PlannedSigner, scratch: Scratch) -> None:
    """Make a CA of the signer's name, kind and dates, whose key is in the scratch token."""
    path = scratch.place(signer.certificate)
    if path.exists():
        return
    real = IssuerCertificate.load(read_certificate(Path(signer.certificate)))
    role: Roles = "both" if signer.both_roles else "sign"
    _make_once(PlannedKey(uri=signer.uri, kind=signer.kind, role=role, fresh=True), scratch)
    name = parse_uri(signer.uri)
    session = scratch.tokens.session(name.token)
    public = public_key(session, name.label or "")
    assert isinstance(public, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
    ceremony = Ceremony(signing_key_for(session, name, public), real.not_before, os.urandom)
    der = ceremony.found_ca((), real.not_after - real.not_before, path_length=real.path_length, like=real)
    path.write_bytes(to_pem(der, "CERTIFICATE"))
