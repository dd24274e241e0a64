"""The drill (threats S-105): a backup under load, a life after it, the old store back, read-only, recovered, and on."""

import json
import subprocess
import threading
import time
import urllib.request

import pytest
from cryptography import x509

from scepd.app import service
from tests.live.device import Fleet, get, post, running
from tests.live.killing import wait_ready, wait_until
from tests.live.server import BIN, copy_of

pytestmark = pytest.mark.live
WORKERS = 2
PATIENCE = 120.0  # seconds on a machine that has other work too


class Drill:
    """One installation, its devices, and what happened to them before and after the backup."""

    def __init__(self, server, place):
        self.server, self.place, self.fleet = server, place, Fleet(server)

    @property
    def crl(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.server.http}/crl/devices.crl", timeout=5) as reply:
            return x509.load_der_x509_crl(reply.read())

    @property
    def number(self):
        return self.crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number

    def lists(self, *devices):
        crl = self.crl
        return all(crl.get_revoked_certificate_by_serial_number(serial_of(device)) for device in devices)

    def is_everywhere_above(self, number):
        return all(self.number > number for _ in range(6 * WORKERS))

    def enrol(self):
        device = self.fleet.device()
        self.fleet.enrol(device)
        return device

    def revoke(self, device, reason="superseded"):
        self.server.scepd("cert", "revoke", f"{serial_of(device):x}", "--reason", reason)

    def back_up_under_load(self):
        """Take the backup while devices enrol; return those who began before it."""
        over, enrolled = threading.Event(), []

        def enrol_until():
            while not over.is_set():
                enrolled.append(self.enrol())

        load = threading.Thread(target=enrol_until)
        load.start()
        try:
            wait_until(lambda: len(enrolled) > 2, what="the load", patience=PATIENCE)
            self.server.scepd("backup", self.place, "--with-store-key")
        finally:
            over.set()
            load.join()
        assert len(enrolled) > 2

    def put_back(self):
        """Stop, move the store away, restore the old one, start: it is read-only."""
        self.server.stop()
        old = self.server.directory / "state/old"
        old.mkdir()
        for path in (self.server.directory / "state").glob("scepd.sqlite*"):
            path.rename(old / path.name)
        done = subprocess.run(
            [BIN / "scepd", "restore", "--yes", "--directory", self.server.directory, self.place],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "wrote" in done.stdout
        with self.server.log.open("ab") as log:
            self.server.process = subprocess.Popen(
                [BIN / "twistd", "--nodaemon", "--pidfile=", "scepd", "--config", self.server.config],
                stdout=log,
                stderr=log,
                cwd=self.server.directory,
            )
        wait_until(lambda: said(self.server).get("read_only"), what="read-only", patience=PATIENCE)
        wait_until(lambda: all(row["state"] == "ready" for row in said(self.server)["workers"]), what="the workers", patience=PATIENCE)


def serial_of(device):
    return x509.load_der_x509_certificate(device.certificate_der).serial_number


def said(server):
    try:
        return service.status(running(server))
    except service.NotRunning:
        return {"workers": []}


@pytest.fixture(scope="module")
def drill(template, place):
    server = copy_of(template, place / "drill")
    server.edit(r"^workers = \d+", f"workers = {WORKERS}")
    server.edit(r"^\[audit\]$", '[audit]\nseal_every = "1m"')
    server.start(wait=120.0)
    made = Drill(server, place / "backup")
    yield made
    server.stop()
    server.check_store()


def test_S105_the_drill(drill, tmp_path):
    server, fleet = drill.server, drill.fleet
    before, compromised = drill.enrol(), drill.enrol()
    unspent, spent_later = fleet.device(), fleet.device()
    drill.back_up_under_load()
    assert json.loads(server.scepd("restore-check", drill.place, "--json").stdout)["ok"]

    # What the backup does not know of.
    fleet.enrol(spent_later)
    gone = drill.enrol()
    drill.revoke(compromised, "cessationOfOperation")
    drill.revoke(gone)
    wait_until(lambda: drill.lists(compromised, gone), what="the revocations on the CRL", patience=PATIENCE)
    log = tmp_path / "audit.jsonl"
    server.scepd("audit", "export", "--output", log)
    time.sleep(6)  # a duty raises the marks every five seconds
    marks = json.loads((server.directory / "state/high-water.json").read_text())
    published = marks["crls"]["devices"]
    assert published > 1

    drill.put_back()
    require_read_only(drill, spent_later, published)
    lost = json.loads(server.scepd("restore-check", drill.place, "--json").stdout)["lost"]
    assert any("certificates" in one for one in lost)

    plan = json.loads(server.scepd("recover", "--plan", "--json", "--audit-log", log).stdout)
    assert f"{serial_of(gone):x}" in plan["revocations"]
    assert said(server)["read_only"]
    done = json.loads(server.scepd("recover", "--yes", "--json", "--audit-log", log).stdout)
    assert done["revocations"] == 2
    assert done["certificates"] >= 2
    assert done["challenges"] >= 2
    wait_ready(server, patience=PATIENCE)
    require_recovered(drill, (before, compromised, gone, spent_later, unspent), published)


def require_read_only(drill, device, published):
    server = drill.server
    result = server.scepd("status", check=False)
    assert result.returncode == 1
    assert "READ-ONLY    an older store was restored: it lacks" in result.stdout
    assert "next: scepd recover --plan" in result.stdout
    checked = server.scepd("check", check=False)
    assert checked.returncode == 1
    assert "the store is read-only: an older store was restored" in checked.stderr
    assert len(server.log_lines("read_only")) == 1
    assert b"SCEPStandard" in get(server, "GetCACaps").body
    assert get(server, "GetCACert").status == 200
    assert {drill.number for _ in range(6 * WORKERS)} == {published}  # not the older one of the backup
    for _ in range(4 * WORKERS):
        reply = post(server, device.body)
        assert (reply.status, reply.retry_after) == (503, "300")
    for command in (("challenge", "new", "default"), ("cert", "revoke", f"{serial_of(drill.fleet.devices[0]):x}")):
        refused = server.scepd(*command, check=False)
        assert refused.returncode == 1
        assert "read-only until scepd recover" in refused.stderr


def require_recovered(drill, devices, published):
    server, fleet = drill.server, drill.fleet
    before, compromised, gone, spent_later, unspent = devices
    assert server.scepd("status", check=False).returncode == 0
    assert fleet.is_refused(spent_later), "a spent challenge is free again"
    assert fleet.is_refused(unspent), "nobody knows that it was not spent"
    fleet.accept(before, fleet.send(before))  # redelivery goes on
    assert drill.lists(compromised, gone)
    assert f"{serial_of(spent_later):x}" in server.scepd("cert", "show", f"{serial_of(spent_later):x}").stdout
    drill.revoke(spent_later)
    wait_until(lambda: drill.lists(compromised, gone, spent_later), what="the next CRL", patience=PATIENCE)
    wait_until(lambda: drill.is_everywhere_above(published), what="the next CRL of every worker", patience=PATIENCE)
    verified = server.scepd("audit", "verify", check=False)
    assert verified.returncode == 0, verified.stdout
    assert server.scepd("check").returncode == 0
    assert len(server.log_lines("read_write")) == 1
    newcomer = fleet.stranger((0, server.challenge()))
    fleet.enrol(newcomer)
    assert "nothing to recover" in server.scepd("recover", "--yes").stdout
