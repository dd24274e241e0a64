"""A device that says the same bytes until it has its certificate, and the account of many such devices at the end."""

import http.client
import secrets
import socket
import threading
import time
from datetime import UTC, datetime

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepd.app.service import ask_desk
from scepd.message.algorithms import CryptoPolicy
from scepd.message.certrep import read_certrep, read_certs_only
from scepd.message.enveloped import decrypt
from scepd.message.names import PkiStatus
from scepd.records import CertificateState, ChallengeState, TransactionState
from scepd.refusal import Reason
from tests import make
from tests.live.opened import opened

EVERYTHING = 1_000_000  # rows
_KEYS = 12
_BATCH = 200


@attrs.frozen
class Reply:
    """What came back over HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    @property
    def retry_after(self):
        return self.headers.get("retry-after")


@attrs.define
class Device:
    """One enrolment: its bytes never change, however often they are sent."""

    party: make.Party
    name: str
    challenge: tuple[int, str]  # its number in the store, its text
    transaction_id: str
    nonce: bytes
    body: bytes
    certificate_der: bytes | None = None
    attempts: int = 0


def running(server):
    """The directory of the server's sockets."""
    return server.directory / "run"


class Fleet:
    """Devices for one server: their keys and the RA's certificates are there before anything breaks."""

    def __init__(self, server):
        self.server = server
        self.devices = []
        self._parties = [make.party(f"device-{number}") for number in range(_KEYS)]
        self._sign, self._decrypt = (certificate(server, f"devices-ra-{role}") for role in ("sign", "decrypt"))
        self._challenges = []
        self._lock = threading.Lock()

    @property
    def issued(self):
        """How many devices have their certificate."""
        return sum(device.certificate_der is not None for device in self.devices)

    def stock(self, count=_BATCH):
        """Have the desk make that many one-time challenges."""
        status, made = ask_desk(
            running(self.server), "POST", "/api/v1/challenges", {"profile": "default", "count": count}
        )
        assert status == 200, made
        self._challenges.extend((row["id"], row["challenge"]) for row in made)

    def device(self):
        """Return a new device with a one-time challenge of its own."""
        with self._lock:
            if not self._challenges:
                self.stock()
            challenge = self._challenges.pop()
        device = self.stranger(challenge)
        with self._lock:
            self.devices.append(device)
        return device

    def stranger(self, challenge):
        """Return a device that the account does not know, with a challenge (id, text)."""
        party, name = secrets.choice(self._parties), f"device-{secrets.token_hex(6)}"
        transaction_id, nonce = secrets.token_hex(16), secrets.token_bytes(16)
        body = make.pkcs_req(
            challenge=challenge[1],
            subject=make.name(CN=name),
            signer=party,
            recipient=make.Party(None, self._decrypt),
            transaction_id=transaction_id,
            sender_nonce=nonce,
            signing_time=datetime.now(UTC),
        )
        return Device(party, name, challenge, transaction_id, nonce, body)

    def send(self, device, *, timeout=20.0):
        """Send the device's message once; raises OSError or HTTPException where the connection breaks."""
        device.attempts += 1
        return post(self.server, device.body, timeout=timeout)

    def enrol(self, device, *, patience=40.0, pause=0.1):
        """Send the same bytes until they are answered with SUCCESS; 503 and broken connections are no answer."""
        deadline = time.monotonic() + patience
        seen = []
        while time.monotonic() < deadline:
            try:
                reply = self.send(device)
            except (OSError, http.client.HTTPException) as error:
                seen.append(repr(error))
            else:
                if reply.status == 200:
                    return self.accept(device, reply)
                assert reply.status == 503, (reply, device)
                assert reply.retry_after, reply
                seen.append("503")
            time.sleep(pause)
        raise AssertionError(f"no certificate after {patience} s: {seen[-10:]}\n{tail(self.server)}")

    def accept(self, device, reply):
        """Judge a SUCCESS and return its certificate; a second one must be the same."""
        answer = read_certrep(reply.body, trusted=[self._sign])
        assert answer.status is PkiStatus.SUCCESS, f"{answer}\n{tail(self.server)}"
        assert (answer.transaction_id, answer.recipient_nonce) == (device.transaction_id, device.nonce)
        plain = decrypt(answer.content, device.party.certificate_der, device.party.key, CryptoPolicy())
        der = read_certs_only(plain)[0]
        found = x509.load_der_x509_certificate(der)
        assert found.public_key() == device.party.key.public_key()
        assert found.subject.rfc4514_string() == f"CN={device.name}"
        assert device.certificate_der in (None, der), "a repeated message got another certificate"
        device.certificate_der = der
        return der

    def is_refused(self, device):
        """Send once and return whether the answer is a signed FAILURE."""
        reply = self.send(device)
        return reply.status == 200 and read_certrep(reply.body, trusted=[self._sign]).status is PkiStatus.FAILURE

    def settle_account(self, *, token_lies=False):
        """Prove: one certificate per device and none beside, each challenge spent once or still free, the store clean.

        Where the token lies, a draft that it has not signed may have been given up, its serial failed, and the device
        begun anew.
        """
        self.server.check_store()
        with opened(self.server) as (repository, _issuers):
            rows = repository.transactions(limit=EVERYTHING)
            certificates = repository.certificates(limit=EVERYTHING)
            challenges = {row.id: row for row in repository.challenges(limit=EVERYTHING)}
        if token_lies:
            rows = [row for row in rows if row.reason is not Reason.interrupted]
            certificates = [row for row in certificates if row.state is not CertificateState.FAILED]
        transactions = {row.key.transaction_id: row for row in rows}
        assert len(transactions) == len(rows), [row for row in rows if row is not transactions[row.key.transaction_id]]
        assert transactions.keys() == {device.transaction_id for device in self.devices}
        for device in self.devices:
            _check_device(device, transactions[device.transaction_id], challenges[device.challenge[0]])
        assert sorted(row.der or b"" for row in certificates) == sorted(d.certificate_der for d in self.devices)
        assert {row.state for row in certificates} <= {CertificateState.ISSUED}
        for number in challenges.keys() - {device.challenge[0] for device in self.devices}:
            assert (challenges[number].state, challenges[number].uses_left) == (ChallengeState.FREE, 1)


def certificate(server, name):
    """The DER of one of the installation's certificates."""
    return x509.load_pem_x509_certificate((server.directory / f"{name}.pem").read_bytes()).public_bytes(Encoding.DER)


def tail(server):
    """The end of the server's log, for the words of a failure."""
    return server.log.read_text()[-3000:]


def _check_device(device, transaction, challenge):
    assert transaction.state is TransactionState.ISSUED
    assert transaction.certificate_der == device.certificate_der
    assert transaction.identity.challenge_id == device.challenge[0]
    assert (challenge.state, challenge.uses_left) == (ChallengeState.SPENT, 0)
    assert challenge.transaction == transaction.id


def post(server, body, *, timeout=20.0):
    """Send one PKIOperation on a connection of its own."""
    begun = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=timeout)
    try:
        connection.request("POST", "/scep?operation=PKIOperation", body, {"Content-Type": "application/x-pki-message"})
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, headers, answer.read(), time.monotonic() - begun)
    finally:
        connection.close()


def get(server, operation, *, timeout=20.0):
    """Ask for GetCACaps or GetCACert on a connection of its own."""
    begun = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=timeout)
    try:
        connection.request("GET", f"/scep?operation={operation}")
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, headers, answer.read(), time.monotonic() - begun)
    finally:
        connection.close()


def opened_connection(server):
    """Return a connection that has said nothing yet."""
    return socket.create_connection(("127.0.0.1", server.http), timeout=20)


def say(connection, server, body):
    """Send one PKIOperation over a raw connection."""
    head = (
        f"POST /scep?operation=PKIOperation HTTP/1.1\r\nHost: 127.0.0.1:{server.http}\r\nConnection: close\r\n"
        f"Content-Type: application/x-pki-message\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)


def hear(connection):
    """Return the reply on a raw connection."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    headers = {name.lower(): value for name, value in answer.getheaders()}
    return Reply(answer.status, headers, answer.read(), 0.0)
