"""What is compared in process: raw OpenSSL, the token, the public-key operations, the path; timed by turns."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from bench.opened import Inside, answer_of
from bench.report import Broken
from bench.request import Prepared
from scepd.enroll.context import Context
from scepd.message.algorithms import PKCS1V15
from scepd.message.csr import parse_csr
from scepd.message.enveloped import choose_recipient, decrypt_content, parse_envelope
from scepd.message.request import parse_message
from scepd.x509.draft import split

BLOCK = 10  # calls of one operation before it is the next one's turn
_CONTENT_KEY = bytes(16)
_SHA256 = hashes.SHA256()
_V15 = padding.PKCS1v15()

Operation = Callable[[int], object]


@attrs.frozen
class Times:
    """Medians in milliseconds: `cpu` of the thread, `wall` as it passed."""

    cpu: float
    wall: float


def by_turns(operations: Mapping[str, Operation], count: int) -> dict[str, Times]:
    """Return the medians of each operation, called `count` times with 0, 1, 2, ..."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in operations}
    cpu, wall = time.thread_time, time.perf_counter
    for start in range(0, count, BLOCK):
        for name, operation in operations.items():
            for number in range(start, min(start + BLOCK, count)):
                wall_begun, cpu_begun = wall(), cpu()
                operation(number)
                cpu_ended, wall_ended = cpu(), wall()
                taken[name].append((cpu_ended - cpu_begun, wall_ended - wall_begun))
    return {
        name: Times(*(statistics.median(column) * 1000 for column in zip(*pairs, strict=True)))
        for name, pairs in taken.items()
    }


def raw_operations() -> dict[str, Operation]:
    """Return (a): OpenSSL's private-key operations on keys in memory, through cryptography."""
    small, large = (rsa.generate_private_key(65537, bits) for bits in (2048, 3072))
    elliptic = ec.generate_private_key(ec.SECP256R1())
    sealed = small.public_key().encrypt(_CONTENT_KEY, _V15)
    return {
        "rsa-2048 decrypt": lambda _n: small.decrypt(sealed, _V15),
        "rsa-2048 sign": lambda n: small.sign(b"%d" % n, _V15, _SHA256),
        "rsa-3072 sign": lambda n: large.sign(b"%d" % n, _V15, _SHA256),
        "ec-p256 sign": lambda n: elliptic.sign(b"%d" % n, ec.ECDSA(_SHA256)),
    }


def token_operations(inside: Inside, draft_der: bytes) -> dict[str, Operation]:
    """Return (b): the three private-key operations of an enrolment through the token."""
    issuer = inside.belongings.issuers[inside.profile.issuer]
    registration = inside.belongings.registrations[inside.profile.issuer]
    decryption: Any = registration.decryption[0]
    sealed = [decryption.public_key.encrypt(_CONTENT_KEY, _V15) for _ in range(BLOCK)]
    reply_key: Any = registration.signer.key
    return {
        "RA decrypt": lambda n: decryption.unwrap(sealed[n % BLOCK], PKCS1V15, len(_CONTENT_KEY)),
        "CA sign": lambda _n: _sign(issuer.key, split(draft_der)[0]),
        "RA sign": lambda n: reply_key.sign(b"%d" % n, _V15, _SHA256),
    }


def _sign(key: Any, data: bytes) -> bytes:
    arguments = (_V15, _SHA256) if isinstance(key, rsa.RSAPrivateKey) else (ec.ECDSA(_SHA256),)
    signature: bytes = key.sign(data, *arguments)
    return signature


def public_operations(inside: Inside, request: Prepared, certificate_der: bytes) -> dict[str, Operation]:
    """Return the public-key operations of an enrolment, with keys that are loaded already."""
    message = parse_message(request.body)
    info = message.proof.signer_info
    assert info.attributes is not None
    attributes = b"\x31" + info.attributes.der[1:]
    csr = parse_csr(_open(inside, request))
    key = request.key.public_key()
    issuer: Any = inside.belongings.issuers[inside.profile.issuer].certificate.public_key
    tbs, _, signature = split(certificate_der)
    scheme = (_V15, _SHA256) if isinstance(issuer, rsa.RSAPublicKey) else (ec.ECDSA(_SHA256),)
    return {
        "signer verify": lambda _n: key.verify(info.signature, attributes, _V15, _SHA256),
        "CSR verify": lambda _n: key.verify(csr.signature, csr.info_der, _V15, _SHA256),
        "certificate verify": lambda _n: issuer.verify(signature, tbs, *scheme),
        "RSA encrypt": lambda _n: key.encrypt(_CONTENT_KEY, _V15),
    }


def _open(inside: Inside, request: Prepared) -> bytes:
    """Return the PKCS#10 in a request."""
    registration = inside.belongings.registrations[inside.profile.issuer]
    envelope = parse_envelope(parse_message(request.body).content, inside.profile.crypto)
    _, entry = choose_recipient(envelope, registration.recipients, inside.profile.crypto)
    key = registration.decryption[0].unwrap(entry.encrypted_key, PKCS1V15, envelope.cipher.key_size)
    return decrypt_content(envelope, key)


def enrolment(inside: Inside, context: Context, requests: Sequence[Prepared]) -> Operation:
    """Return (c): the enrolment path, from the PKIMessage's octets to the CertRep's; `Broken` for a refusal."""

    def path(number: int) -> None:
        answer = answer_of(context, inside.profile, requests[number].body)
        if answer.outcome != "issued":
            raise Broken(f"{answer.outcome} {answer.reason} {answer.detail}")

    return path
