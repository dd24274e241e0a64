"""The state file beside a key: what `scepd client poll` needs to go on with a request, later and in another process."""

import base64
import json
import secrets
from pathlib import Path
from typing import Any

import attrs

from scepd.cli.client_application import Transaction
from scepd.cli.client_choice import Choice
from scepd.cli.client_keys import Signer, key_pem, load_key, parse_key
from scepd.cli.files import PRIVATE, create
from scepd.message.algorithms import Cipher, Digest, KeyTransport
from scepd.refusal import OperatorError

_VERSION = 2


@attrs.frozen(kw_only=True)
class Waiting:
    """A request that was sent, and what to do with its certificate. The challenge is not kept.

    `signer_key` is the file of the key that signed the request; None keeps a throw-away key in the state file itself.
    """

    url: str
    ca_file: Path | None
    tls_certificate: Path | None
    tls_key: Path | None
    ca_identifier: str
    certificates: tuple[bytes, ...]  # of GetCACert at the time of the request
    fingerprint: str  # SHA-256 of the CA that was trusted then
    choice: Choice
    transaction: Transaction
    signer_key: Path | None
    out: Path
    chain_out: Path | None


def state_file(key_file: Path) -> Path:
    """Return where the state of a request for that key is kept."""
    return key_file.with_name(f"{key_file.name}.pending")


def keep(waiting: Waiting, key_file: Path) -> None:
    """Write the state beside the key, whole and with mode 0600; that of an older request is replaced."""
    path = state_file(key_file)
    passing = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    create(passing, json.dumps(_to_json(waiting), indent=2).encode() + b"\n", PRIVATE)
    passing.replace(path)


def recall(key_file: Path) -> Waiting:
    """Return what was kept for the key; raises `OperatorError`."""
    path = state_file(key_file)
    try:
        said = json.loads(path.read_bytes())
        return _from_json(said, path)
    except FileNotFoundError as error:
        raise OperatorError(f"nothing is pending for {key_file}", "scepd client enroll") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OperatorError(f"{path} cannot be read: {error}", f"scepd client enroll --key {key_file}") from error


def forget(key_file: Path) -> None:
    """Remove the state: the transaction is over."""
    state_file(key_file).unlink(missing_ok=True)


def _to_json(waiting: Waiting) -> dict[str, Any]:
    transaction, choice = waiting.transaction, waiting.choice
    return {
        "version": _VERSION,
        "url": waiting.url,
        "ca_file": _text(waiting.ca_file),
        "tls_certificate": _text(waiting.tls_certificate),
        "tls_key": _text(waiting.tls_key),
        "ca_identifier": waiting.ca_identifier,
        "certificates": [_encode(der) for der in waiting.certificates],
        "fingerprint": waiting.fingerprint,
        "digest": choice.digest.name,
        "cipher": choice.cipher.name,
        "transport": None
        if choice.transport is None
        else {"oaep": choice.transport.oaep and choice.transport.oaep.name},
        "pss": choice.pss,
        "post": choice.post,
        "transaction_id": transaction.id,
        "subject": _encode(transaction.subject_der),
        "names": list(transaction.names),
        "public_key": _encode(transaction.public_key_der),
        "signer": _encode(transaction.signer.certificate_der),
        "signer_key": _text(waiting.signer_key),
        "signer_key_pem": None if waiting.signer_key else key_pem(transaction.signer.key).decode(),
        "out": str(waiting.out),
        "chain_out": _text(waiting.chain_out),
    }


def _from_json(said: dict[str, Any], path: Path) -> Waiting:
    if said["version"] != _VERSION:
        raise ValueError(f"state of version {said['version']}")
    transport, signer_key = said["transport"], _path(said["signer_key"])
    key = load_key(signer_key) if signer_key else parse_key(said["signer_key_pem"].encode(), path)
    return Waiting(
        url=said["url"],
        ca_file=_path(said["ca_file"]),
        tls_certificate=_path(said["tls_certificate"]),
        tls_key=_path(said["tls_key"]),
        ca_identifier=said["ca_identifier"],
        certificates=tuple(map(base64.b64decode, said["certificates"])),
        fingerprint=said["fingerprint"],
        choice=Choice(
            digest=Digest[said["digest"]],
            cipher=Cipher[said["cipher"]],
            transport=None if transport is None else KeyTransport(transport["oaep"] and Digest[transport["oaep"]]),
            pss=said["pss"],
            post=said["post"],
        ),
        transaction=Transaction(
            id=said["transaction_id"],
            signer=Signer(key, base64.b64decode(said["signer"])),
            subject_der=base64.b64decode(said["subject"]),
            names=tuple(said["names"]),
            public_key_der=base64.b64decode(said["public_key"]),
        ),
        signer_key=signer_key,
        out=Path(said["out"]),
        chain_out=_path(said["chain_out"]),
    )


def _encode(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
