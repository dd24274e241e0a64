"""The rehearsal: from empty tokens to a two-tier PKI, its rotations, revocations and an old store; by a moving clock.

Clients enrol all the time, some with what they fetched when the stage began. After each stage openssl verifies every
certificate, CRL and OCSP answer, and scepd its own audit trail.
"""

import json
import os
import secrets
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key

from scepd.app import service
from scepd.ca.record import verify_record
from scepd.message.algorithms import CryptoPolicy
from scepd.message.certrep import read_certrep, read_certs_only
from scepd.message.enveloped import decrypt
from scepd.message.names import PkiStatus
from scepd.records import CertificateState
from scepd.store.engines import open_engine
from scepd.store.repository import Repository
from scepd.x509.ocsp_request import MOST_CERTIFICATES
from tests import make
from tests.live.http_wire import exchange, request
from tests.live.killing import wait_until
from tests.live.server import STATIC, Server, run
from tests.ports import free_port

pytestmark = pytest.mark.live
PATIENCE = 200.0  # seconds on a machine that has other work too
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
ENROLMENTS = 20
DAY = timedelta(days=1)


def batched(things, size):
    return [things[start : start + size] for start in range(0, len(things), size)]


def says(told, wanted):
    return all(words in told for words in wanted)


class MovingClock:
    """The time in which every process of the rehearsal lives, its clients and openssl included."""

    def __init__(self, file):
        self.file, self.ahead = file, timedelta()
        self.file.write_text("+0")

    def now(self):
        return datetime.now(UTC) + self.ahead

    def advance(self, span):
        self.ahead += span
        passing = self.file.with_suffix(".new")
        passing.write_text(f"+{int(self.ahead.total_seconds())}")
        passing.replace(self.file)


@pytest.fixture(scope="module")
def clock(place):
    """Put libfaketime before every process that this module starts; timers go on by the monotonic clock."""
    clock = MovingClock(place / "now")
    added = {
        "LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(clock.file), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    os.environ.update(added)
    yield clock
    for name in added:
        del os.environ[name]


class Pki:
    """An installation that grows from nothing; `issuer` serves now."""

    def __init__(self, directory, clock):
        self.directory, self.clock = directory, clock
        self.server = Server(directory, free_port(), free_port())
        self.issuers, self.revoked = ["devices"], set()

    def scepd(self, *arguments):
        return self.server.scepd(*arguments, timeout=PATIENCE, cwd=self.directory)

    def lines(self, *lines):
        with self.server.config.open("a") as config:
            config.write("\n".join(lines) + "\n")

    def write(self, name, text, mode=0o600):
        path = self.directory / name
        path.touch(mode=mode)
        path.write_text(text)

    def found(self):
        """Tokens, audit key, root, issuing CA below it, RA pair, OCSP and TLS certificates: the operator's first day."""
        self.directory.mkdir(mode=0o700)
        for name in ("state", "run", "state/tokens"):
            (self.directory / name).mkdir(mode=0o700)
        self.write(
            "softhsm2.conf",
            f"directories.tokendir = {self.directory}/state/tokens\nobjectstore.backend = file\nlog.level = ERROR\n",
            0o644,
        )
        for label in ("root", "issuing"):
            self.write(f"{label}-pin", f"{label}-4711\n")
            run(
                "softhsm2-util", "--init-token", "--free", "--label", label, "--pin", f"{label}-4711", "--so-pin", "12345678",
                env={**os.environ, "SOFTHSM2_CONF": str(self.directory / "softhsm2.conf")},
            )  # fmt: skip
        (self.directory / "store-key").write_bytes(secrets.token_bytes(32))
        (self.directory / "store-key").chmod(0o600)
        self.write("static-challenge", STATIC)
        self.write("scepd.toml", "workers = 2\n")
        self.lines(
            "[appliance]", f'state = "{self.directory}/state"', f'runtime = "{self.directory}/run"', "[hsm]",
            'module = "/usr/lib/softhsm/libsofthsm2.so"', 'token = "issuing"', 'pin = { file = "issuing-pin" }',
            'softhsm2_conf = "softhsm2.conf"', "[store]", 'key = { file = "store-key" }',
        )  # fmt: skip
        made = self.scepd("hsm", "keygen", "scepd-audit", "--role", "sign", "--type", "ec:P-256")
        self.write("scepd-audit.pem", made.stdout[made.stdout.index("-----BEGIN") :], 0o644)
        self.lines("[audit]", 'key = "pkcs11:token=issuing;object=scepd-audit"', 'public_key = "scepd-audit.pem"')
        self.scepd(
            "ca",
            "create",
            "pkcs11:token=root;object=root-ca",
            "--subject",
            "CN=Root,O=Example",
            "--type",
            "ec:P-256",
            "--output",
            "root-ca.pem",
            "--pin-file",
            "root-pin",
            "--yes",
        )
        self.scepd("ca", "request", "devices-ca", "--subject", "CN=Devices,O=Example", "--type", "ec:P-256", "--yes")
        self.scepd("ca", "sign", "devices-ca.csr", *self.root, "--output", "devices-ca.signed.pem", "--yes")
        self.scepd("ca", "import", "devices-ca", "devices-ca.signed.pem", "--chain", "root-ca.pem", "--yes")
        base = f"http://127.0.0.1:{self.server.http}"
        self.lines(
            "[issuer.devices]", 'key = "pkcs11:token=issuing;object=devices-ca"', 'certificate = "devices-ca.pem"',
            'chain = ["root-ca.pem"]', f'crl_urls = ["{base}/crl/devices.crl"]', f'ocsp_urls = ["{base}/ocsp"]',
        )  # fmt: skip
        for role in ("ra-sign", "ra-decrypt", "ocsp"):
            key = (f"devices-{role}", "--output", f"devices-{role}.pem")
            self.scepd("ca", "certify", "devices", "--as", role, "--key", *key, "--yes")
            word, uri = role.replace("-", "_"), f"pkcs11:token=issuing;object=devices-{role}"
            self.lines(f'{word} = {{ key = "{uri}", certificate = "devices-{role}.pem" }}')
        run(
            "openssl",
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "tls.key",
            "-subj",
            "/CN=x",
            "-out",
            "tls.csr",
            cwd=self.directory,
        )
        (self.directory / "tls.key").chmod(0o600)
        self.scepd(
            "ca",
            "certify",
            "devices",
            "--as",
            "tls",
            "--request",
            "tls.csr",
            "--name",
            "ip:127.0.0.1",
            "--validity",
            "90d",
            "--output",
            "tls.pem",
            "--yes",
        )
        self.lines(
            "[listener.plain]", f'address = "127.0.0.1:{self.server.http}"', 'serves = ["scep", "publication"]',
            "[listener.tls]", f'address = "127.0.0.1:{self.server.https}"', 'serves = ["scep"]',
            'tls = { certificate = "tls.pem", key = { file = "tls.key" }, issuer = "devices" }',
            "[profile.static]", 'issuer = "devices"', 'validity = "2y"', 'names = { dns = ["*"] }',
            'challenge = [{ method = "static", secret = { file = "static-challenge" } }]',
        )  # fmt: skip

    def advance(self, span):
        """Move the clock ahead while the service runs: it signs nothing until the operator says that the time is right."""
        self.clock.advance(span)
        wait_until(lambda: "jumped ahead" in said(self).get("read_only", ""), what="a doubt", patience=PATIENCE)
        assert said(self)["read_only_hint"].endswith("scepd recover --clock")
        self.scepd("recover", "--clock", "--yes")
        wait_until(lambda: said(self).get("ready"), what="ready by the new time", patience=PATIENCE)

    @property
    def root(self):
        return ("--key", "pkcs11:token=root;object=root-ca", "--pin-file", "root-pin", "--certificate", "root-ca.pem")

    def get(self, path):
        return exchange(self.server.http, request("GET", path)).body

    # What is verified after each stage.

    def verify(self, stage):
        """Verify everything there is with openssl, and the trail with scepd."""
        work = self.directory / f"verify-{stage}"
        work.mkdir()
        rows = self.rows()
        for name in self.issuers:
            (work / f"{name}.crl.der").write_bytes(self.fresh_crl(name))
            run(
                "openssl",
                "crl",
                "-inform",
                "DER",
                "-in",
                work / f"{name}.crl.der",
                "-out",
                work / f"{name}.crl",
                "-CAfile",
                self.pem(name),
                "-verify",
            )
            own = [row for row in rows if row.issuer == name]
            self.verify_certificates(work, name, own)
            self.verify_answers(name, own)
        run(
            "openssl",
            "verify",
            "-x509_strict",
            "-CAfile",
            "root-ca.pem",
            *[self.pem(name) for name in self.issuers],
            cwd=self.directory,
        )
        said = self.scepd("audit", "verify")
        assert said.returncode == 0, said.stdout
        self.scepd("fsck")
        key = load_pem_public_key((self.directory / "scepd-audit.pem").read_bytes())
        for record in (self.directory / "state" / "ceremonies").glob("2*.json"):
            proven, faults = verify_record(record.read_text(), record.name, key)
            assert proven
            assert faults == []
        return len(rows)

    def rows(self, *, whole=True):
        """Every certificate of the store that has its bytes, or of which the serial alone came back; the configuration itself lives in another time."""
        engine = open_engine(f"sqlite:///{self.directory}/state/scepd.sqlite", self.directory / "state")
        repository = Repository(engine, owner="test/check", clock=self.clock)
        try:
            rows = repository.certificates(limit=100_000)
            return [row for row in rows if (row.der is not None) == whole]
        finally:
            repository.close()
            engine.dispose()

    def fresh_crl(self, name):
        """Return a CRL that is valid and lists whatever was revoked; each worker hears of it in its own time."""
        wanted, found = {serial for issuer, serial in self.revoked if issuer == name}, []

        def is_there():
            found[:] = [self.get(f"/crl/{name}.crl")]
            crl = x509.load_der_x509_crl(found[0])
            return crl.next_update_utc > self.clock.now() and wanted <= {entry.serial_number for entry in crl}

        wait_until(is_there, what=f"a CRL of {name} that is valid", patience=PATIENCE)
        return found[0]

    def verify_certificates(self, work, name, rows):
        live = [row for row in rows if row.not_after > self.clock.now()]
        files = {row.serial: work / f"{name}-{row.serial:x}.pem" for row in live}
        for row in live:
            files[row.serial].write_bytes(x509.load_der_x509_certificate(row.der).public_bytes(Encoding.PEM))
        told = run(
            "openssl", "verify", "-crl_check", "-CRLfile", work / f"{name}.crl", "-CAfile", "root-ca.pem",
            "-untrusted", self.pem(name), *files.values(), cwd=self.directory, check=False,
        )  # fmt: skip
        for row in live:
            is_good = f"{files[row.serial]}: OK" in told.stdout
            assert is_good == ((name, row.serial) not in self.revoked), (row, told.stderr)
            assert (row.state is CertificateState.REVOKED) == ((name, row.serial) in self.revoked)

    def verify_forgotten(self):
        """Of a certificate whose bytes are gone nothing good is said; return how many there are."""
        forgotten = [row for row in self.rows(whole=False) if row.state is CertificateState.RESERVED]
        for row in forgotten:
            told = self.ocsp(row.issuer, [("-serial", f"0x{row.serial:x}")])
            assert "Response verify OK" in told
            assert ": good" not in told
        listed = json.loads(self.scepd("fsck", "--json").stdout)["known_by_serial_alone"]
        assert (listed or 0) >= len(forgotten)
        return len(forgotten)

    def verify_answers(self, name, rows):
        for batch in batched(rows, MOST_CERTIFICATES):
            serials = [("-serial", f"0x{row.serial:x}") for row in batch]
            states = {row.serial: "revoked" if (name, row.serial) in self.revoked else "good" for row in batch}
            wanted = ["Response verify OK", *(f"0x{serial:x}: {state}" for serial, state in states.items())]
            wait_until(
                lambda serials=serials, wanted=wanted: says(self.ocsp(name, serials), wanted),
                what=f"an OCSP answer that says {wanted}",
                patience=PATIENCE,
            )

    def ocsp(self, name, serials):
        done = run(
            "openssl", "ocsp", "-issuer", self.pem(name), *[part for one in serials for part in one], "-url", f"http://127.0.0.1:{self.server.http}/ocsp",
            "-CAfile", "root-ca.pem", "-verify_other", self.pem(name), cwd=self.directory, check=False,
        )  # fmt: skip
        return done.stdout + done.stderr

    def pem(self, name):
        return self.directory / f"{name}-ca.pem"


class Client(threading.Thread):
    """Enrols again and again; fetches the CA's certificates when told to, and else keeps what it has."""

    def __init__(self, pki):
        super().__init__(daemon=True)
        self.pki, self.party = pki, make.party("client")
        self.enrolled, self.failed, self.over = 0, [], threading.Event()
        self.fetch()

    def fetch(self):
        certificates = read_certs_only(self.pki.get("/scep/static?operation=GetCACert"))
        usages = [
            x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.KeyUsage).value
            for der in certificates
        ]
        pair = list(zip(certificates, usages, strict=True))
        sign = next(der for der, usage in pair if usage.digital_signature)
        self.trusted = (sign, next(der for der, usage in pair if usage.key_encipherment))

    def run(self):
        while not self.over.is_set():
            try:
                self.enrol()
            except Exception as error:  # noqa: BLE001 - counted: there must be none
                self.failed.append(f"{self.pki.clock.now()} {error!r}")
            time.sleep(0.6)

    def enrol(self):
        sign, encipher = self.trusted
        now = self.pki.clock.now()
        body = make.pkcs_req(
            challenge=STATIC, subject=make.name(CN=f"device-{secrets.token_hex(4)}"), signer=self.party,
            recipient=make.Party(None, encipher), transaction_id=secrets.token_hex(16), signing_time=now,
        )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                answer = exchange(self.pki.server.http, request("POST", "/scep/static?operation=PKIOperation", body))
            except OSError:
                answer = None  # the service is down, as in the restoration: a device comes back
            if answer is not None and answer.status == 200:
                break
            assert answer is None or answer.status == 503, answer
            if self.over.is_set():
                return
            assert time.monotonic() < deadline, answer
            time.sleep(0.3)
        reply = read_certrep(answer.body, trusted=[sign])
        assert reply.status is PkiStatus.SUCCESS, reply
        read_certs_only(decrypt(reply.content, self.party.certificate_der, self.party.key, CryptoPolicy()))
        self.enrolled += 1

    def more(self, count=3):
        """Wait until so many more have succeeded."""
        wanted = self.enrolled + count
        wait_until(lambda: self.enrolled >= wanted or self.failed, what="enrolments", patience=PATIENCE)
        assert self.failed == []


@pytest.fixture(scope="module")
def pki(place, clock):
    made = Pki(place / "rehearse", clock)
    made.found()
    made.server.start(wait=PATIENCE)
    yield made
    made.server.stop()


@pytest.fixture
def clients(pki):
    """One that keeps what it fetched, one that is told to fetch anew."""
    found = Client(pki), Client(pki)
    for client in found:
        client.start()
    yield found
    for client in found:
        client.over.set()
    for client in found:
        client.join(PATIENCE)


def counted(server):
    """Return what status counts the days of, by its name."""
    return {row["what"]: row for row in server.status()["certificates"]}


def test_E7_C6_N1_the_rehearsal(pki, clients):
    keeping, fetching = clients
    server, clock = pki.server, pki.clock
    keeping.more(ENROLMENTS // 2)
    fetching.more(ENROLMENTS // 2)
    assert pki.verify("founded") >= ENROLMENTS + 4  # and the RA pair, OCSP and TLS certificates

    # The RA pair changes: both pairs are served and accepted, each answered in its own name; then the old one goes.
    pki.scepd("ca", "ra", "devices", "--pair", "--write", "--yes")
    pki.scepd("reload")
    fetching.fetch()
    assert fetching.trusted[0] != keeping.trusted[0]
    assert fetching.trusted[1] != keeping.trusted[1]
    pki.advance(30 * DAY)
    keeping.more()
    fetching.more()
    pki.verify("overlap")
    keeping.fetch()
    pki.scepd("ca", "retire-ra", "devices", "--write")
    pki.scepd("reload")
    keeping.more()
    pki.scepd("backup", pki.directory / "backup", "--with-store-key")

    # Revocations, in CRL and OCSP.
    victims = [row for row in pki.rows() if row.profile == "static"][:3]
    for victim in victims:
        pki.scepd("cert", "revoke", f"{victim.serial:x}", "--reason", "superseded")
        pki.revoked.add(("devices", victim.serial))
    pki.verify("revoked")
    renewed = x509.load_pem_x509_certificate((pki.directory / "tls.pem").read_bytes())

    # The next CA, signed by the root too: announced, serving, alone; the old one still signs its CRL.
    takeover = clock.now() + 40 * DAY
    pki.scepd(
        "ca",
        "rollover",
        "devices",
        "--from",
        f"{takeover:%Y-%m-%dT%H:%M:%SZ}",
        "--overlap",
        "30d",
        *pki.root,
        "--write",
        "--yes",
    )
    pki.issuers.append("devices-2")
    pki.scepd("reload")
    assert b"GetNextCACert" in pki.get("/scep/static?operation=GetCACaps")
    pki.advance(41 * DAY)
    keeping.more()
    fetching.fetch()
    fetching.more()
    pki.verify("rolled-over")
    wait_until(lambda: not is_same(pki, renewed), what="the TLS certificate's renewal", patience=PATIENCE)
    keeping.fetch()
    keeping.more(2)  # what it asked before is answered: within the doubt it would be asked again, and after the overlap
    pki.advance(31 * DAY)
    keeping.more()
    assert "its key signs their CRL" in counted(server)["issuer devices CA (retired)"]["do"]
    # The newest: the configured one ended long ago, and the jump outran the one before.
    wait_until(
        lambda: counted(server)["issuer devices OCSP"]["days"] > 0, what="the OCSP certificate's renewal", patience=PATIENCE
    )
    pki.verify("retired")

    restore(pki)
    keeping.more()
    fetching.more()
    pki.verify("recovered")
    assert pki.verify_forgotten() > 0
    assert [client.failed for client in clients] == [[], []]
    assert sum(client.enrolled for client in clients) > ENROLMENTS


def is_same(pki, certificate):
    return x509.load_pem_x509_certificate((pki.directory / "tls.pem").read_bytes()) == certificate


def restore(pki):
    """Put the store of the old backup in place: it is read-only until it is recovered from the exported trail."""
    log = pki.directory / "audit.jsonl"
    pki.scepd("audit", "export", "--output", log)
    pki.server.stop()
    old = pki.directory / "state/old"
    old.mkdir()
    for path in (pki.directory / "state").glob("scepd.sqlite*"):
        path.rename(old / path.name)
    saved = next((pki.directory / "backup").rglob("scepd.sqlite"))
    store = pki.directory / "state/scepd.sqlite"
    store.write_bytes(saved.read_bytes())
    store.chmod(0o600)
    with pki.server.log.open("ab") as out:
        pki.server.process = subprocess.Popen(
            [Path(os.sys.executable).parent / "twistd", "--nodaemon", "--pidfile=", "scepd", "--config", pki.server.config],
            stdout=out, stderr=out, cwd=pki.directory,
        )  # fmt: skip
    wait_until(lambda: said(pki).get("read_only"), what="read-only", patience=PATIENCE)
    pki.scepd("recover", "--yes", "--audit-log", log)
    wait_until(lambda: said(pki).get("ready"), what="ready again", patience=PATIENCE)


def said(pki):
    try:
        return service.status(pki.directory / "run")
    except service.NotRunning:
        return {}
