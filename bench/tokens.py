"""The rates of each token: `python -m bench.tokens`, a row each for docs/hsm.md.

A signature, a decryption and a P-256 signature through one session, then enrolments over HTTP: one worker with one lane
and four clients; RSA-2048 keys. Each token is measured in a process of its own, since a module is there once in a process.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from bench.installation import CHALLENGE, install, url
from bench.keys import key_pool
from bench.load import measure
from bench.report import Broken, say
from bench.target import Target
from scepd.app.gateway import token_settings
from scepd.config.load import load
from scepd.config.pin import read_pin
from scepd.hsm.generate import can_make_ec, generate_ec
from scepd.hsm.keys import KeyName, open_decryption_key, open_signing_key, parse_uri, signing_key_for
from scepd.hsm.module import load_module
from scepd.hsm.token import Token
from scepd.message.algorithms import PKCS1V15
from tests.tokens import CHOSEN, KINDS

_CLIENTS = 4
_SECRET = bytes(32)
_COLUMNS = ("sign RSA-2048", "decrypt RSA-2048", "sign P-256", "enrolments")


def rate(operation: Callable[[], object], seconds: float) -> float:
    """Return how often the operation goes in a second."""
    operation()
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        operation()
        count += 1
    return count / (time.perf_counter() - begun)


def bare_rates(config: Path, seconds: float) -> dict[str, float]:
    """Return the rates of the bare operations, with the keys of an installation."""
    settings = load(config)
    os.environ.update(settings.hsm.variables)
    token = Token.open(load_module(str(settings.hsm.module)), token_settings(settings.hsm), read_pin(settings.hsm.pin))
    session, issuer = token.session(writable=True), settings.issuers[0]
    assert issuer.ra_decrypt is not None  # as `scepd init` makes it
    sign = open_signing_key(session, parse_uri(issuer.ra_sign.key), issuer.ra_sign.certificate_der)
    decrypt = open_decryption_key(
        session, parse_uri(issuer.ra_decrypt.key), issuer.ra_decrypt.certificate_der, _SECRET
    )
    assert isinstance(sign, rsa.RSAPrivateKey)
    encrypted = decrypt.public_key.encrypt(bytes(16), padding.PKCS1v15())
    rates = {
        "sign RSA-2048": rate(lambda: sign.sign(b"data", padding.PKCS1v15(), hashes.SHA256()), seconds),
        "decrypt RSA-2048": rate(lambda: decrypt.unwrap(encrypted, PKCS1V15, 16), seconds),
    }
    if can_make_ec(session):
        key = signing_key_for(session, KeyName(label="bench-ec"), generate_ec(session, "bench-ec", "P-256"))
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        rates["sign P-256"] = rate(lambda: key.sign(b"data", ec.ECDSA(hashes.SHA256())), seconds)
    return rates


def measure_token(directory: Path, seconds: float, count: int) -> dict[str, float]:
    """Return the rates of the token that TOKEN names."""
    server = install(directory, "rsa-2048")
    server.start(wait=120)
    try:
        target, keys = Target.find(url(server), CHALLENGE), key_pool(None)
        measure(target, keys, clients=1, count=5)
        enrolments = measure(target, keys, clients=_CLIENTS, count=count).figures()["per_second"]
    finally:
        server.stop()
    return {**bare_rates(server.config, seconds), "enrolments": enrolments}


def in_a_process(name: str, options: argparse.Namespace) -> dict[str, float]:
    """Measure one token in a child; raises `Broken`."""
    command = [
        sys.executable, "-m", "bench.tokens", "--one", "--seconds", str(options.seconds), "--count", str(options.count),
    ]  # fmt: skip
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env={**os.environ, "TOKEN": name})  # noqa: S603 - our own module
    if done.returncode != 0:
        raise Broken(f"{name} ended with {done.returncode}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def row(name: str, rates: dict[str, Any]) -> str:
    """Return a row of the table in Markdown."""
    cells = (f"{rates[column]:,.0f}" if column in rates else "none" for column in _COLUMNS)
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(prog="bench.tokens", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("tokens", nargs="*", metavar="TOKEN", help=f"which: {', '.join(KINDS)}; all unless said")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each bare operation")
    parser.add_argument("--count", type=int, default=300, help="enrolments")
    parser.add_argument("--one", action="store_true", help="the token that TOKEN names, as JSON")
    options = parser.parse_args()
    try:
        if options.one:
            with tempfile.TemporaryDirectory(prefix="scepd-", dir="/tmp") as place:
                print(json.dumps(measure_token(Path(place) / CHOSEN.name, options.seconds, options.count)))
            return
        print(f"| per second | {' | '.join(_COLUMNS)} |\n|---|" + "---:|" * len(_COLUMNS), flush=True)
        for name in options.tokens or KINDS:
            say(name)
            print(row(name, in_a_process(name, options)), flush=True)
    except Broken as broken:
        sys.exit(f"bench.tokens: {broken}")


if __name__ == "__main__":
    main()
