"""The first run's token: made in SoftHSM or found by label, with four keys of one role each."""

import os
import secrets
import shutil
from pathlib import Path

import attrs

from scepd.cli.files import PRIVATE, PUBLIC, create, make_directory, read_pin_file
from scepd.cli.init_answers import Answers
from scepd.cli.init_layout import AUDIT_LABEL, CA_LABEL, RA_DECRYPT_LABEL, RA_SIGN_LABEL, Layout
from scepd.hsm.generate import can_make_ec, generate_ec, generate_rsa
from scepd.hsm.keys import PublicKey, signing_key_for
from scepd.hsm.module import Module, load_module
from scepd.hsm.public import public_key
from scepd.hsm.softhsm import configuration, initialise_token
from scepd.hsm.token import Session, Token, TokenSettings
from scepd.hsm.uri import KeyName
from scepd.ports import SigningKey
from scepd.records import Secret
from scepd.refusal import OperatorError

_CURVES = {"ec-p256": "P-256", "ec-p384": "P-384", "ec-p521": "P-521"}
_RA_BITS = 2048
_LABELS = (CA_LABEL, RA_SIGN_LABEL, RA_DECRYPT_LABEL, AUDIT_LABEL)
_PIN_OCTETS = 12


@attrs.frozen
class Keys:
    """The four keys: the CA key ready to sign, the public keys of the RA pair and of the audit key."""

    ca: SigningKey
    ra_sign: PublicKey
    ra_decrypt: PublicKey
    audit: PublicKey


def prepare_token(answers: Answers, layout: Layout) -> Token:
    """Return the token, logged in; where no PIN file is given it is made in SoftHSM first, once."""
    os.environ.update(answers.variables)
    if answers.pin_file is not None:
        pin = read_pin_file(Path(answers.pin_file))
    else:
        pin = _own_pin(layout.pin)
        _make_softhsm_token(answers, layout, pin, _own_pin(layout.so_pin))
        os.environ["SOFTHSM2_CONF"] = str(layout.softhsm2_conf)
    module = load_module(answers.module)
    return Token.open(module, TokenSettings(answers.module, answers.token), pin)


def prepare_keys(token: Token, answers: Answers) -> Keys:
    """Return the keys, each generated in the token unless an interrupted first run made it already."""
    session = token.session(writable=True)
    found = {label: public_key(session, label) for label in _LABELS}
    ca = found[CA_LABEL] or _generate_ca(session, answers.ca_key)
    ra_sign = found[RA_SIGN_LABEL] or generate_rsa(session, RA_SIGN_LABEL, _RA_BITS, "sign")
    ra_decrypt = found[RA_DECRYPT_LABEL] or generate_rsa(session, RA_DECRYPT_LABEL, _RA_BITS, "decrypt")
    audit = found[AUDIT_LABEL] or _generate_audit_key(session)
    return Keys(signing_key_for(session, KeyName(label=CA_LABEL), ca), ra_sign, ra_decrypt, audit)


def refuse_taken_labels(token: Token) -> None:
    """Raise `OperatorError` where a token that we did not make has keys of our names: they are somebody's."""
    session = token.session()
    for label in _LABELS:
        if public_key(session, label) is not None:
            raise OperatorError(
                f"the token '{token.settings.token_label}' has a key '{label}' already; init makes its own",
                "another token; or write scepd.toml by hand for the keys that are there",
            )


def _generate_ca(session: Session, kind: str) -> PublicKey:
    if kind in _CURVES:
        return generate_ec(session, CA_LABEL, _CURVES[kind])
    return generate_rsa(session, CA_LABEL, int(kind.removeprefix("rsa-")), "sign")


def _generate_audit_key(session: Session) -> PublicKey:
    """Make the small key that seals the audit trail; some tokens have RSA keys alone."""
    if can_make_ec(session):
        return generate_ec(session, AUDIT_LABEL, "P-256")
    return generate_rsa(session, AUDIT_LABEL, _RA_BITS, "sign")


def _own_pin(path: Path) -> Secret:
    if not path.exists():
        create(path, secrets.token_hex(_PIN_OCTETS).encode() + b"\n", PRIVATE)
    return read_pin_file(path)


def _make_softhsm_token(answers: Answers, layout: Layout, pin: Secret, so_pin: Secret) -> None:
    """Make the token in a passing directory, which gets its name when the token is whole."""
    if not layout.softhsm2_conf.exists():
        create(layout.softhsm2_conf, configuration(layout.tokens).encode(), PUBLIC)
    if layout.tokens.exists():
        return
    passing = layout.tokens.with_name("tokens.new")
    passing_conf = layout.state / "softhsm2.new.conf"
    shutil.rmtree(passing, ignore_errors=True)
    passing_conf.unlink(missing_ok=True)
    make_directory(passing)
    create(passing_conf, configuration(passing).encode(), PRIVATE)
    os.environ["SOFTHSM2_CONF"] = str(passing_conf)
    module = load_module(answers.module)
    try:
        _refuse_other_modules(module)
        initialise_token(module, answers.token, pin=pin, so_pin=so_pin)
    finally:
        module.finalise()
    passing.rename(layout.tokens)
    passing_conf.unlink()


def _refuse_other_modules(module: Module) -> None:
    if "softhsm" not in str(module.library.manufacturer_id).lower():
        raise OperatorError(
            f"init makes tokens in SoftHSM only, and {module.path} is {module.description}",
            "--token LABEL --pin-file FILE for a token that exists",
        )
