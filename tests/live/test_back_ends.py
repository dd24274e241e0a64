"""Every service outside, in every way that it can fail, under both policies: nobody gets in, nothing is lost, nothing stalls."""

import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import attrs
import pytest

from scepd.app.service import ask_desk
from scepd.message.names import PkiStatus
from scepd.records import CertificateState, TransactionState
from tests import make
from tests.emulators.https import BlackHole, HttpsServer, Reply
from tests.emulators.intune import CLIENT, TENANT, IntuneEmulator
from tests.emulators.intune import SECRET as CLIENT_SECRET
from tests.emulators.webhook import SECRET, WebhookReceiver
from tests.live.device import EVERYTHING, certificate, running
from tests.live.killing import wait_until
from tests.live.opened import WallClock, opened
from tests.live.server import STATIC, copy_of
from tests.live.test_methods import Device

pytestmark = pytest.mark.live

TIMEOUT = 1.0  # seconds that a service has
STALL, WAITED = 50, 500  # milliseconds
ALLOW = {"webhook": b'{"decision": "allow"}', "intune": b'{"code": "Success", "errorDescription": ""}'}
MEMBER = {"webhook": '"decision": "deny"', "intune": '"code": "ChallengeDecryptionError"'}
PROFILES = {
    f"{back_end}-{policy}": (back_end, policy)
    for back_end in ("webhook", "compliance", "intune")
    for policy in ("refuse", "pending")
}
CONFIG = """
[profile.{name}]
issuer = "devices"
challenge = [{challenge}]
{more}
"""
STATIC_METHOD = '{ method = "static", secret = { file = "static-challenge" } }'


@attrs.frozen
class Fault:
    """What a service does in place of its answer, which would let everybody in."""

    reply: object = None  # (kind, its good answer, address of somebody else) -> Reply
    closed: bool = False
    unreachable: bool = False
    authority: bool = True  # the one that the profile trusts


FAULTS = {
    "down": Fault(closed=True),
    "unreachable": Fault(closed=True, unreachable=True),
    "somebody else in its place": Fault(authority=False),
    "error": Fault(lambda *_: Reply(status=500)),
    "busy": Fault(lambda *_: Reply(status=503, headers={"Retry-After": "7"})),
    "hanging up": Fault(lambda *_: Reply(silent=True)),
    "slow": Fault(lambda _kind, good, _: Reply(body=good, wait=TIMEOUT + 0.5)),
    "dripping": Fault(lambda _kind, good, _: Reply(body=good, drip=0.1)),
    "cut": Fault(lambda _kind, good, _: Reply(body=good, cut=len(good) - 3)),
    "saying both": Fault(lambda kind, good, _: Reply(body=b"{" + MEMBER[kind].encode() + b", " + good[1:])),
    "another type": Fault(lambda kind, good, _: Reply(body=re.sub(rb': "(allow|Success)"', b": true", good))),
    "no JSON": Fault(lambda *_: Reply(body=b"<html>allow Success</html>")),
    "nothing": Fault(lambda *_: Reply(body=b"")),
    "oversized": Fault(lambda _kind, good, _: Reply(body=good + b" " * 70_000)),
    "endless": Fault(lambda *_: Reply(endless=3)),
    "compressed": Fault(lambda _kind, good, _: Reply(body=good, headers={"Content-Encoding": "gzip"})),
    "redirecting": Fault(lambda _kind, _good, other: Reply(status=307, headers={"Location": other})),
}


class Service:
    """One service: an emulator that can be closed and come back, with its place and its certificate's authority."""

    def __init__(self, kind, make_emulator):
        self.kind, self._make = kind, make_emulator
        self.emulators = [make_emulator()]
        self.hole = None

    @property
    def emulator(self):
        return self.emulators[-1]

    def fail(self, fault, elsewhere):
        old = self.emulator
        if fault.closed or not fault.authority:
            old.close()
            if not fault.closed:
                self.emulators.append(self._make(port=old.port))
            elif fault.unreachable:
                self.hole = BlackHole(old.port)
            return
        reply = fault.reply(self.kind, ALLOW[self.kind], elsewhere.url("/"))
        if self.kind == "intune":
            old.lies.replies["validateRequest"] = reply
        else:
            old.reply = reply

    def mend(self, fault):
        if fault.closed or not fault.authority:
            if not fault.closed:
                self.emulator.close()
            elif fault.unreachable:
                self.hole.close()
            true = self.emulators[0]
            self.emulators.append(self._make(authority=true.authority, port=true.port))
        elif self.kind == "intune":
            self.emulator.lies.replies.clear()
        else:
            self.emulator.reply = None


class Site:
    """A server with a profile for each back end and policy."""

    def __init__(self, server):
        self.server = server
        clock = WallClock()
        self.services = {
            "webhook": Service("webhook", lambda **given: WebhookReceiver(clock, **given)),
            "compliance": Service("webhook", lambda **given: WebhookReceiver(clock, **given)),
            "intune": Service("intune", IntuneEmulator),
        }
        # It would let everybody in, with a certificate of the very authority that a profile trusts.
        webhook = self.services["webhook"].emulator
        self.elsewhere = HttpsServer(lambda _received: Reply(body=ALLOW["webhook"]), authority=webhook.authority)
        self.sign, self.decrypt = (certificate(server, f"devices-ra-{role}") for role in ("sign", "decrypt"))
        self.devices = []
        self._configure()

    def _configure(self):
        directory = self.server.directory
        for name, text in (("hook-secret", SECRET), ("intune-secret", CLIENT_SECRET)):
            (directory / name).touch(mode=0o600)
            (directory / name).write_text(text)
        for name, service in self.services.items():
            (directory / f"{name}-trust.pem").write_bytes(service.emulator.trust_pem)
        with self.server.config.open("a") as config:
            for name, (back_end, policy) in PROFILES.items():
                config.write(CONFIG.format(name=name, **self._words(back_end, policy)))

    def _words(self, back_end, policy):
        emulator = self.services[back_end].emulator
        common = f'trust = "{back_end}-trust.pem", timeout = "{TIMEOUT:.0f}s", on_failure = "{policy}"'
        hook = f'url = "{emulator.url()}", secret = {{ file = "hook-secret" }}, {common}'
        if back_end == "webhook":
            return {"challenge": f'{{ method = "webhook", {hook} }}', "more": ""}
        if back_end == "compliance":
            return {"challenge": STATIC_METHOD, "more": f"compliance = {{ {hook} }}"}
        where = f'authority = "{emulator.url("")}", graph = "{emulator.url("")}"'
        who = f'tenant = "{TENANT}", client_id = "{CLIENT}", secret = {{ file = "intune-secret" }}'
        return {"challenge": f'{{ method = "intune", {who}, {where}, {common} }}', "more": ""}

    def log_of(self, device):
        return [line for line in self.server.log_lines() if device.transaction_id in line]

    def device(self, profile):
        made = Device(self, profile, STATIC if profile.startswith("compliance") else "whatever the service knows")
        self.devices.append(made)
        return made

    def approve_all(self):
        """Approve whatever waits, as a person does."""
        status, rows = ask_desk(running(self.server), "GET", "/api/v1/requests?state=pending&limit=1000", {})
        assert status == 200, rows
        for row in rows:
            status, said = ask_desk(running(self.server), "POST", f"/api/v1/requests/{row['id']}/approve", {})
            assert status == 200, said
        return len(rows)

    def close(self):
        for service in self.services.values():
            service.emulator.close()
        self.elsewhere.close()


@pytest.fixture(scope="module")
def site(template, place):
    server = copy_of(template, place / "backends")
    server.edit(r"^workers = \d+", "workers = 2")
    site = Site(server)
    try:
        server.start()
        yield site
        settle_account(site)
    finally:
        status = server.stop()
        site.close()
    assert status in {0, -signal.SIGTERM}
    assert "unexpected" not in server.log.read_text()
    assert stalls(server) == []
    server.check_store()


def settle_account(site):
    """One certificate for each device and none beside; nobody waits any more."""
    with opened(site.server) as (repository, _issuers):
        transactions = {row.key.transaction_id: row for row in repository.transactions(limit=EVERYTHING)}
        certificates = repository.certificates(limit=EVERYTHING)
    assert transactions.keys() == {device.transaction_id for device in site.devices}
    assert {row.state for row in transactions.values()} == {TransactionState.ISSUED}
    assert [row.state for row in certificates] == [CertificateState.ISSUED] * len(site.devices)


def stalls(server):
    """The lines of stalls for which scepd is to blame: it worked, or waited for a service, in one piece."""
    found = []
    for line in server.log_lines("reactor_stall"):
        took, cpu = (int(re.search(rf" {word}=(\d+)", line)[1]) for word in ("ms", "cpu_ms"))
        if cpu > STALL or took > WAITED:  # a busy machine keeps every reactor waiting, but not for that long
            found.append(line)
    return found


def together(act, devices):
    with ThreadPoolExecutor(len(devices)) as pool:
        return list(pool.map(act, devices))


def enrolled(device):
    """Return the serial number of what a device gets that comes again after a 503, as on a busy machine it may have to."""
    wait_until(lambda: device.send().status == 200, pause=0.2, what=device.profile)
    return device.enrol().serial_number


@pytest.mark.parametrize("name", FAULTS)
def test_S83_S84_a_service_that_fails_lets_nobody_in_and_nothing_is_lost(site, name):
    fault, devices = FAULTS[name], [site.device(profile) for profile in PROFILES]
    for service in site.services.values():
        service.fail(fault, site.elsewhere)
    begun = time.monotonic()
    replies = together(Device.send, devices)
    assert time.monotonic() - begun < 10 * TIMEOUT
    for service in site.services.values():
        service.mend(fault)
    for device, reply in zip(devices, replies, strict=True):
        if device.profile.endswith("refuse"):
            assert (reply.status, int(reply.headers["retry-after"]) >= 1) == (503, True), (device.profile, reply)
        else:
            assert device.read(reply).status is PkiStatus.PENDING, device.profile
    assert site.elsewhere.received == []
    # The service's return decides nothing of what waits for a person.
    waiting = [device for device in devices if device.profile.endswith("pending")]
    assert {device.read(device.send()).status for device in waiting} == {PkiStatus.PENDING}
    assert site.approve_all() == len(waiting)
    serials = together(enrolled, devices)
    assert together(enrolled, devices) == serials
    assert len(set(serials)) == len(devices)


def test_S84_requests_that_wait_for_a_slow_service_keep_no_lane(site):
    fault = FAULTS["slow"]
    waiting = [site.device(profile) for profile in PROFILES if profile.endswith("refuse") for _ in range(6)]
    others = [Device(site, "static", STATIC, party=make.party("other")) for _ in range(4)]
    site.devices += others
    for service in site.services.values():
        service.fail(fault, site.elsewhere)
    before = {name: len(service.emulator.received) for name, service in site.services.items()}
    with ThreadPoolExecutor(len(waiting)) as pool:
        sent = [pool.submit(device.send) for device in waiting]
        wait_until(lambda: all(len(one.emulator.received) > before[name] for name, one in site.services.items()))
        enrolled_beside = [(bool(other.enrol()), all(future.done() for future in sent)) for other in others]
        replies = [future.result().status for future in sent]
    for service in site.services.values():
        service.mend(fault)
    assert set(replies) == {503}
    assert len(set(together(enrolled, waiting))) == len(waiting)
    assert (True, False) in enrolled_beside  # somebody enrolled while others waited


def test_S84_intune_hears_of_every_certificate(site):
    mine = {device.transaction_id for device in site.devices if device.profile.startswith("intune")}

    def told():
        return {one["transactionId"] for emulator in site.services["intune"].emulators for one in emulator.successes}

    wait_until(lambda: told() >= mine, patience=60, pause=0.2, what="notices to Intune")
    assert told() == mine
