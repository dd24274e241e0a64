"""What tests run in a process of its own, since it may crash, fork or fail a login: python -m tests.hsm.children NAME ..."""

import json
import os
import sys
import threading
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from scepd.hsm.faults import TokenFault
from scepd.hsm.keys import KeyName, open_decryption_key, open_signing_key
from scepd.hsm.module import load_module
from scepd.hsm.pin import PinMemory
from scepd.hsm.probe import KeyCheck, self_test
from scepd.hsm.token import Token, TokenSettings
from scepd.message.algorithms import PKCS1V15
from scepd.records import Secret
from scepd.refusal import OperatorError

from .tokens import LABEL, PIN, SECRET, SOFTHSM


def open_token(path: str = SOFTHSM, pin: str = PIN, memory: PinMemory | None = None) -> Token:
    return Token.open(load_module(path), TokenSettings(path, LABEL), Secret(pin), memory=memory)


def threads(certificates: str) -> None:
    """Two threads with a session each, 200 signatures and 200 decryptions each; print how many were right."""
    found = {label: bytes.fromhex(der) for label, der in json.loads(certificates).items()}
    token, right = open_token(), []

    def work() -> None:
        session = token.session()
        signer = open_signing_key(session, KeyName(label="ra-sign"), found["ra-sign"])
        opener = open_decryption_key(session, KeyName(label="ra-decrypt"), found["ra-decrypt"], SECRET)
        for number in range(200):
            data = number.to_bytes(16, "big")
            signature = signer.sign(data, padding.PKCS1v15(), hashes.SHA256())
            signer.public_key().verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
            encrypted = opener.public_key.encrypt(data, padding.PKCS1v15())
            right.append(opener.unwrap(encrypted, PKCS1V15, 16) == data)
        session.close()

    working = [threading.Thread(target=work) for _ in range(2)]
    for thread in working:
        thread.start()
    for thread in working:
        thread.join()
    print(sum(right))


def fork(certificate: str) -> None:
    """Fork after loading; print what the child is told when it signs."""
    token = open_token()
    key = open_signing_key(token.session(), KeyName(label="ca"), bytes.fromhex(certificate))
    reading, writing = os.pipe()
    if os.fork() == 0:
        try:
            key._signer.sign(b"x" * 32, None)
        except TokenFault as fault:
            os.write(writing, str(fault).encode())
        os._exit(0)
    os.close(writing)
    print(os.read(reading, 1000).decode())


def logins(module: str, state: str, times: str) -> None:
    """Start so many times with a wrong PIN, each a fresh load and login."""
    memory = PinMemory(Path(state), b"k" * 32)
    for _ in range(int(times)):
        try:
            open_token(module, "wrong-pin", memory)
        except OperatorError as error:
            print(error.problem)


def selftest(keys: str, state: str, pin: str, lanes: str) -> None:
    checks = [KeyCheck(uri, role, bytes.fromhex(der)) for uri, role, der in json.loads(keys)]
    memory = PinMemory(Path(state), b"k" * 32)
    report = self_test(TokenSettings(SOFTHSM, LABEL), Secret(pin), checks, memory=memory, lanes=int(lanes))
    print(report.to_json())


if __name__ == "__main__":
    {"threads": threads, "fork": fork, "logins": logins, "selftest": selftest}[sys.argv[1]](*sys.argv[2:])
