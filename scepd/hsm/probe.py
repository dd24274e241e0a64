"""The self-test of a token and its keys, run in a child process before any worker starts."""

import json
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import attrs
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from scepd.hsm.attributes import KeyRules, Role
from scepd.hsm.attributes import check as check_attributes
from scepd.hsm.calls import Calls
from scepd.hsm.decryption import TRANSPORTS, RsaDecryptionKey
from scepd.hsm.faults import TokenFault, WrongSignature
from scepd.hsm.keys import Opening, RsaTokenKey, decrypts, find_key, open_decryption_key, open_signing_key
from scepd.hsm.module import load_module
from scepd.hsm.pin import PinMemory
from scepd.hsm.signing import sign_and_verify
from scepd.hsm.token import Session, Token, TokenSettings
from scepd.hsm.uri import parse_uri
from scepd.ports import DecryptionKey
from scepd.records import Secret
from scepd.refusal import OperatorError, Unavailable

SigningKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

_SIGNATURES = 50  # per thread in the two-thread test
_SECRET = bytes(32)  # nothing is decrypted for anybody here


@attrs.frozen
class KeyCheck:
    """One configured key: its URI, its role, its certificate (the audit key: its SubjectPublicKeyInfo), and what is excused."""

    uri: str
    role: Role
    certificate_der: bytes
    rules: KeyRules = attrs.field(factory=KeyRules)


@attrs.frozen
class Trouble:
    """One thing that keeps workers from starting."""

    problem: str
    hint: str
    token_failed: bool  # a restart may heal it; otherwise the operator must mend something first


@attrs.define
class Report:
    """What the self-test found; `to_json` is what the child hands to its parent."""

    module: str = ""
    token: dict[str, str] = attrs.field(factory=dict)
    keys: list[dict[str, Any]] = attrs.field(factory=list)
    threads: bool = False
    problems: list[Trouble] = attrs.field(factory=list)

    @property
    def ok(self) -> bool:
        """Whether workers may start."""
        return not self.problems

    @property
    def may_heal(self) -> bool:
        """Whether a restart alone may help: all that went wrong is the token's doing."""
        return all(trouble.token_failed for trouble in self.problems)

    def to_json(self) -> str:
        """Return the report as JSON, without secrets."""
        return json.dumps({**attrs.asdict(self), "ok": self.ok})

    def problem(self, error: OperatorError | TokenFault) -> None:
        """Add what went wrong."""
        if isinstance(error, OperatorError):
            self.problems.append(Trouble(error.problem, error.hint, token_failed=False))
        else:
            hint = "see whether the token answers: scepd hsm list --tokens"
            self.problems.append(Trouble(f"the token failed: {error.cause}", hint, token_failed=True))


def self_test(
    settings: TokenSettings,
    pin: Secret,
    keys: Sequence[KeyCheck],
    *,
    memory: PinMemory | None,
    lanes: int = 1,
    calls: Calls | None = None,
) -> Report:
    """Load the module, log in once, check and probe every key, and sign from two threads where lanes > 1.

    Finds all problems of all keys at once; raises nothing. A module that crashes takes the child with it, which is
    why this runs in one.
    """
    report = Report()
    try:
        module = load_module(settings.module, calls, sha256=settings.module_sha256)
        report.module = module.description
        token = Token.open(module, settings, pin, memory=memory)
        report.token = token.description
        for key in keys:
            with closing(token.session()) as session:
                _check_key(session, key, report)
        if lanes > 1:
            _check_threads(token, keys, report)
    except (OperatorError, TokenFault) as error:
        report.problem(error)
    return report


def check_keys(session: Session, keys: Sequence[KeyCheck]) -> None:
    """Find every key again: one object, its attributes, a probe held against its certificate (threats S-119, S-120).

    Raises `OperatorError` for a key that may not be used, `TokenFault`.
    """
    for key in keys:
        _open(session, key)


def probe_signing_key(key: SigningKey, data: bytes) -> None:
    """Sign and verify, for the timed probe of a lane. Raises `TokenFault`, also where the signature does not verify."""
    try:
        sign_and_verify(key, data)
    except WrongSignature as fault:
        raise TokenFault("device", fault.cause) from fault


def probe_decryption_key(key: DecryptionKey, content_key: bytes) -> None:
    """Unwrap what is encrypted to the key's own certificate, for the timed probe of a lane. Raises `TokenFault`."""
    assert isinstance(key, RsaDecryptionKey)  # a token's, as lanes have them
    transport = next(transport for transport in TRANSPORTS if key.supports(transport))
    try:
        works = decrypts(key, transport, content_key)
    except Unavailable as trouble:
        raise TokenFault("device", trouble.cause) from trouble
    if not works:
        raise TokenFault("device", "the token does not decrypt what is encrypted to its key")


def _check_key(session: Session, key: KeyCheck, report: Report) -> None:
    found: dict[str, Any] = {"uri": key.uri, "role": key.role}
    try:
        name = parse_uri(key.uri)
        found["remarks"] = list(check_attributes(find_key(session, name), str(name), key.role, key.rules))
        found.update(_open(session, key))
    except (OperatorError, TokenFault) as error:
        report.problem(error)
    else:
        report.keys.append(found)


def _open(session: Session, key: KeyCheck) -> dict[str, Any]:
    """Open the key as a worker would, probes included, and return what it can do."""
    name, opening = parse_uri(key.uri), Opening(rules=key.rules)
    if key.role == "decrypt":
        decryption = open_decryption_key(session, name, key.certificate_der, _SECRET, opening)
        transports = sorted(str(transport) for transport in decryption.transports)
        return {"kind": f"RSA {decryption.public_key.key_size} bits", "raw": decryption.raw, "transports": transports}
    signing = open_signing_key(session, name, key.certificate_der, opening)
    if isinstance(signing, RsaTokenKey):
        return {"kind": f"RSA {signing.key_size} bits", "pss": signing.supports_pss}
    return {"kind": f"EC {signing.curve.name}"}


def _check_threads(token: Token, keys: Sequence[KeyCheck], report: Report) -> None:
    """Sign from two threads with a session each: a module that cannot is found here and not in service."""
    signing = next((key for key in keys if key.role == "sign"), None)
    if signing is None or report.problems:
        return
    if not token.module.threads:
        raise OperatorError("the module grants no operating-system locking (CKF_OS_LOCKING_OK)", "[hsm] lanes = 1")
    failures: list[Exception] = []
    threads = [threading.Thread(target=_sign_many, args=(token, signing, failures.append)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise OperatorError(f"the module fails under two threads: {failures[0]}", "[hsm] lanes = 1")
    report.threads = True


def _sign_many(token: Token, key: KeyCheck, failed: Callable[[Exception], None]) -> None:
    try:
        with closing(token.session()) as session:
            signer = open_signing_key(session, parse_uri(key.uri), key.certificate_der, Opening(rules=key.rules))
            for number in range(_SIGNATURES):
                probe_signing_key(signer, number.to_bytes(4, "big"))
    except (OperatorError, TokenFault) as error:
        failed(error)
