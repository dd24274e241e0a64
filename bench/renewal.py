"""What enrolled devices ask for: `python -m bench.renewal URL --challenge SECRET`.

It enrols `--count` devices, then times, at each number of `--clients`: their renewals (RenewalReq, same key), polls of
their issued transactions, GetCRL, GetNextCACert while one is announced, and polls of pending requests where
`--waiting-url` names a profile in which a person decides. Everything is built before the clock starts; every reply is
judged after it has stopped.
"""

import argparse
import asyncio
import json
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
from cryptography.hazmat.primitives.asymmetric import rsa

from bench.connections import Run, drive
from bench.http import serving
from bench.installation import CHALLENGE, announce_next_ca, pids, url, waiting_url
from bench.keys import key_pool
from bench.load import add_options, pids_of, tls_of
from bench.report import Broken, say
from bench.request import ANYTHING, COMMON_NAME, OK, Prepared, recipient, verify
from bench.target import Target
from scepd.message.algorithms import PKCS1V15, Cipher, Digest
from scepd.message.certificate import load_certificate
from scepd.message.certrep import read_certrep, read_certs_only, read_crls_only
from scepd.message.csr import build_csr
from scepd.message.enveloped import decrypt, encrypt
from scepd.message.errors import MessageError
from scepd.message.lookup import build_issuer_and_serial, build_issuer_and_subject
from scepd.message.names import MessageType, PkiStatus
from scepd.message.next_ca import read_next_ca
from scepd.message.signed import build_message
from scepd.records import Attribute
from scepd.refusal import Reject
from tests.live.server import Server

Judge = Callable[[Prepared, int, bytes, Sequence[bytes]], str | None]

_WORKERS = 2
_CLIENTS = (1, 16)


@attrs.frozen
class Device:
    """An enrolled device: its request, and the certificate that came."""

    request: Prepared
    certificate_der: bytes

    @property
    def issuer_der(self) -> bytes:
        """The name of the CA."""
        return load_certificate(self.certificate_der).issuer_der


def enrolled(target: Target, keys: Sequence[rsa.RSAPrivateKey], count: int, *, clients: int = 4) -> list[Device]:
    """Enrol that many devices and return them; raises `Broken`."""
    run = drive_judged(target, target.requests(keys, count), clients, verify)
    return [Device(request, _issued(request, body, target)) for request, _status, body in run.replies]


def _issued(request: Prepared, body: bytes, target: Target) -> bytes:
    reply = read_certrep(body, trusted=target.ca, policy=ANYTHING)
    return read_certs_only(decrypt(reply.content, request.certificate_der, request.key, ANYTHING))[0]


def renewals(target: Target, devices: Sequence[Device]) -> list[Prepared]:
    """Return a RenewalReq of each device, with its own key, signed with its certificate."""
    return [_renewal(target, device) for device in devices]


def _renewal(target: Target, device: Device) -> Prepared:
    subject = ((Attribute(COMMON_NAME, device.request.name),),)
    csr = build_csr(subject=subject, private_key=device.request.key, challenge=None)
    held = attrs.evolve(device.request, certificate_der=device.certificate_der, transaction_id=secrets.token_hex(16))
    return _message(target, held, MessageType.RenewalReq, csr)


def polls(target: Target, requests: Sequence[Prepared], issuer_der: bytes) -> list[Prepared]:
    """Return a CertPoll for each request that was sent before."""
    return [
        _message(
            target,
            request,
            MessageType.CertPoll,
            build_issuer_and_subject(issuer_der, load_certificate(request.certificate_der).subject_der),
        )
        for request in requests
    ]


def crl_lookups(target: Target, devices: Sequence[Device]) -> list[Prepared]:
    """Return a GetCRL of each device."""
    found = []
    for device in devices:
        own = load_certificate(device.certificate_der)
        held = attrs.evolve(
            device.request, certificate_der=device.certificate_der, transaction_id=secrets.token_hex(16)
        )
        found.append(_message(target, held, MessageType.GetCRL, build_issuer_and_serial(own.issuer_der, own.serial)))
    return found


def _message(target: Target, signer: Prepared, message_type: MessageType, content: bytes) -> Prepared:
    """Return a PKIMessage with a fresh nonce by the key and certificate of another."""
    nonce = secrets.token_bytes(16)
    to = recipient(target.ca)
    envelope = encrypt(content, to, cipher=Cipher.AES128, transport=PKCS1V15, random=secrets.token_bytes)
    body = build_message(
        message_type=message_type,
        transaction_id=signer.transaction_id,
        sender_nonce=nonce,
        content=envelope,
        signer=(signer.certificate_der, signer.key),
        digest=Digest.SHA256,
        signing_time=datetime.now(UTC),
    )
    return attrs.evolve(signer, body=body, nonce=nonce)


def is_pending(request: Prepared, status: int, body: bytes, ca: Sequence[bytes]) -> str | None:
    """Return what is wrong with a reply that should be PENDING."""
    return _status_fault(request, status, body, ca, PkiStatus.PENDING)


def has_crl(request: Prepared, status: int, body: bytes, ca: Sequence[bytes]) -> str | None:
    """Return what is wrong with a reply that should carry a small CRL."""
    fault = _status_fault(request, status, body, ca, PkiStatus.SUCCESS)
    if fault is not None:
        return fault
    content = read_certrep(body, trusted=ca, policy=ANYTHING).content
    crls = read_crls_only(decrypt(content, request.certificate_der, request.key, ANYTHING))
    return None if len(crls) == 1 else f"{len(crls)} CRLs"


def has_next_ca(_request: Prepared, status: int, body: bytes, ca: Sequence[bytes]) -> str | None:
    """Return what is wrong with an answer to GetNextCACert, which today's CA must have signed."""
    if status != OK:
        return f"HTTP {status}"
    try:
        return None if read_next_ca(body, trusted=ca) else "no next CA"
    except (MessageError, Reject) as error:
        return f"unreadable: {error!r}"


def _status_fault(request: Prepared, status: int, body: bytes, ca: Sequence[bytes], wanted: PkiStatus) -> str | None:
    if status != OK:
        return f"HTTP {status}: {body[:80]!r}"
    try:
        reply = read_certrep(body, trusted=ca, policy=ANYTHING)
    except (MessageError, Reject) as error:
        return f"unreadable: {error!r}"
    if reply.recipient_nonce != request.nonce:
        return "the answer to another request"
    return None if reply.status is wanted else f"{reply.status.name}, {reply.fail_info_text or 'no words'}"


def drive_judged(
    target: Target,
    prepared: Sequence[Prepared],
    clients: int,
    judge: Judge,
    *,
    pids: Sequence[int] = (),
    head: bytes | None = None,
) -> Run:
    """Drive one run and judge its replies; raises `Broken`."""
    run = asyncio.run(drive(target, prepared, clients, pids, head=head))
    wrong = [fault for request, status, body in run.replies if (fault := judge(request, status, body, target.ca))]
    if wrong:
        raise Broken(f"{len(wrong)} of {len(run.replies)} failed; the first: {wrong[0]}")
    return run


@attrs.frozen
class Load:
    """A server, and what is asked of it."""

    target: Target
    keys: Sequence[rsa.RSAPrivateKey]
    count: int
    pids: Sequence[int] = ()
    waiting: Target | None = None

    def rows(self, clients: int) -> Iterator[dict[str, Any]]:
        """Yield a row for each kind of request."""
        devices = enrolled(self.target, self.keys, self.count)
        issuer_der = devices[0].issuer_der
        kinds: list[tuple[str, Target, list[Prepared], Judge]] = [
            ("renewal", self.target, renewals(self.target, devices), verify),
            ("poll_issued", self.target, polls(self.target, [one.request for one in devices], issuer_der), verify),
            ("get_crl", self.target, crl_lookups(self.target, devices), has_crl),
        ]
        if self.waiting is not None:
            asked = self.waiting.requests(self.keys, self.count)
            drive_judged(self.waiting, asked, 4, is_pending)
            kinds.append(("poll_pending", self.waiting, polls(self.waiting, asked, issuer_der), is_pending))
        for name, target, prepared, judge in kinds:
            run = drive_judged(target, prepared, clients, judge, pids=self.pids)
            yield {"kind": name, "clients": clients, **run.figures()}
        yield from self._next_ca(devices, clients)

    def _next_ca(self, devices: Sequence[Device], clients: int) -> Iterator[dict[str, Any]]:
        parts = urlsplit(self.target.url)
        head = (
            f"GET {parts.path or '/'}?operation=GetNextCACert HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            "Content-Length: %d\r\n\r\n"
        ).encode()
        asked = [attrs.evolve(one.request, body=b"") for one in devices]
        try:
            drive_judged(self.target, asked[:1], 1, has_next_ca, head=head)
        except Broken:
            say("no next CA is announced")
            return
        run = drive_judged(self.target, asked, clients, has_next_ca, pids=self.pids, head=head)
        yield {"kind": "get_next_ca", "clients": clients, **run.figures()}


def measure(template: Server, place: Path, keys: Sequence[rsa.RSAPrivateKey], count: int) -> list[dict[str, Any]]:
    """Return a row for each kind of request and number of clients, served by two workers; raises `Broken`."""
    rows: list[dict[str, Any]] = []
    with serving(template, place, _WORKERS, announce_next_ca) as server:
        waiting = Target.find(waiting_url(server), CHALLENGE)
        load = Load(Target.find(url(server), CHALLENGE), keys, count, pids(server), waiting)
        for clients in _CLIENTS:
            for row in load.rows(clients):
                rows.append(row)
                say("  " + "  ".join(f"{name}={value}" for name, value in row.items()))
    return rows


def main() -> None:
    """Run once at each number of clients and print a table."""
    parser = argparse.ArgumentParser(prog="bench.renewal", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument(
        "url", help="for example http://127.0.0.1:8080/scep/static; its renewal must take earliest = 0.0"
    )
    parser.add_argument("--challenge", required=True, help="a challenge that may be used many times")
    parser.add_argument("--waiting-url", help="a profile with the same challenge where a person decides")
    parser.add_argument("--clients", default="1,4,16", help="numbers of concurrent clients, rows for each")
    parser.add_argument("--count", type=int, default=300, help="devices a row")
    add_options(parser)
    options = parser.parse_args()
    try:
        rows = _rows(options)
    except Broken as broken:
        sys.exit(f"bench.renewal: {broken}")
    if options.json:
        print(json.dumps(rows, indent=2))


def _rows(options: argparse.Namespace) -> list[dict[str, Any]]:
    tls = tls_of(options)
    load = Load(
        target=Target.find(options.url, options.challenge, tls),
        keys=key_pool(options.keys),
        count=options.count,
        pids=pids_of(options),
        waiting=Target.find(options.waiting_url, options.challenge, tls) if options.waiting_url else None,
    )
    rows = []
    for clients in (int(text) for text in options.clients.split(",")):
        for row in load.rows(clients):
            rows.append(row)
            if not options.json:
                print("  ".join(f"{name}={value}" for name, value in row.items()), flush=True)
    return rows


if __name__ == "__main__":
    main()
