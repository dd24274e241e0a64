"""CA rollover with the real server: announced, switched, overlapping, superseded."""

import secrets
import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from scepd.message.algorithms import CryptoPolicy
from scepd.message.certrep import certs_only, read_certrep, read_certs_only
from scepd.message.enveloped import decrypt
from scepd.message.names import PkiStatus
from scepd.message.next_ca import read_next_ca
from scepd.refusal import FailInfo
from tests import make
from tests.live.http_wire import exchange, request
from tests.live.server import STATIC, copy_of, run

pytestmark = pytest.mark.live
FAR = "2030-01-01T00:00:00Z"


class Rolling:
    """A running server whose CA is being followed by another, and a device that asks it."""

    def __init__(self, server):
        self.server = server
        self.party = make.party("rollover device")

    def der(self, name):
        pem = (self.server.directory / f"{name}.pem").read_bytes()
        return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)

    def pem(self, name):
        return self.server.directory / f"{name}.pem"

    def get(self, operation):
        return exchange(self.server.http, request("GET", f"/scep/static?operation={operation}"))

    def ask(self, ra):
        """Ask with the envelope for that issuer's RA; return the reply, which that RA signs."""
        body = make.pkcs_req(
            challenge=STATIC,
            subject=make.name(CN=f"device-{secrets.token_hex(4)}"),
            signer=self.party,
            recipient=make.Party(None, self.der(f"{ra}-ra-decrypt")),
            transaction_id=secrets.token_hex(16),
            signing_time=datetime.now(UTC),
        )
        answer = exchange(self.server.http, request("POST", "/scep/static?operation=PKIOperation", body))
        assert answer.status == 200
        return read_certrep(answer.body, trusted=[self.der(f"{ra}-ra-sign")])

    def certificate(self, ra):
        """Enrol through that RA and return the certificate."""
        reply = self.ask(ra)
        assert reply.status is PkiStatus.SUCCESS, reply
        plain = decrypt(reply.content, self.party.certificate_der, self.party.key, CryptoPolicy())
        return x509.load_der_x509_certificate(read_certs_only(plain)[0])

    def is_issued_by(self, certificate, name):
        certificate.verify_directly_issued_by(x509.load_der_x509_certificate(self.der(f"{name}-ca")))
        return True

    def reload(self, *, at, overlap):
        self.server.edit(r"^next_from = .*", f"next_from = {at:%Y-%m-%dT%H:%M:%SZ}")
        self.server.edit(r"^next_overlap = .*", f'next_overlap = "{overlap}"')
        self.server.scepd("reload")


@pytest.fixture(scope="module", params=["rsa", "ec"])
def rolling(request, place):
    """Two workers; devices-2 follows in years, until a test says otherwise."""
    template = request.getfixturevalue("template" if request.param == "rsa" else "elliptic_template")
    server = copy_of(template, place / f"roll-{request.param}")
    server.edit(r"^workers = \d+", "workers = 2")
    server.scepd("ca", "rollover", "devices", "--from", FAR, "--write", "--yes")
    server.start()
    yield Rolling(server)
    server.stop()
    server.check_store()


def test_C037_C060_C061_C062_before_the_switch_the_next_ca_is_announced(rolling, tmp_path):
    assert b"GetNextCACert" in rolling.get("GetCACaps").body.split(b"\n")
    new = [rolling.der(f"devices-2-{part}") for part in ("ra-sign", "ra-decrypt", "ca")]
    old = [rolling.der(f"devices-{part}") for part in ("ra-sign", "ra-decrypt", "ca")]
    assert read_certs_only(rolling.get("GetCACert").body) == old
    answer = rolling.get("GetNextCACert")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-x509-next-ca-cert")
    assert read_next_ca(answer.body, trusted=[old[-1]]) == new
    # As an independent reader sees it: the signature is the present CA's, the content certs-only.
    (tmp_path / "next.der").write_bytes(answer.body)
    run(
        "openssl", "cms", "-verify", "-inform", "DER", "-binary", "-in", tmp_path / "next.der", "-out",
        tmp_path / "content.der", "-CAfile", rolling.pem("devices-ca"), "-purpose", "any", "-no_check_time",
    )  # fmt: skip
    assert (tmp_path / "content.der").read_bytes() == certs_only(new)
    listed = run("openssl", "pkcs7", "-inform", "DER", "-in", tmp_path / "next.der", "-print_certs", "-noout").stdout
    assert listed.count("subject=") == 4


def test_E7_our_own_client_reads_the_announcement(rolling, tmp_path):
    words = run(
        *rolling.server.client("getnextca"), "--url", rolling.server.url, "--out", tmp_path / "next.pem",
        "--fingerprint", x509.load_der_x509_certificate(rolling.der("devices-ca")).fingerprint(hashes.SHA256()).hex(),
    )  # fmt: skip
    found = x509.load_pem_x509_certificates((tmp_path / "next.pem").read_bytes())
    assert rolling.der("devices-2-ca") in [one.public_bytes(Encoding.DER) for one in found], words.stdout


def test_C066_C068_before_the_switch_either_ra_is_asked_in_its_own_name(rolling):
    early = rolling.certificate("devices-2")
    assert rolling.is_issued_by(early, "devices-2")
    next_ca = x509.load_der_x509_certificate(rolling.der("devices-2-ca"))
    assert early.not_valid_before_utc >= next_ca.not_valid_before_utc
    assert rolling.is_issued_by(rolling.certificate("devices"), "devices")


def test_C037_C065_C067_the_switch_happens_at_its_moment_without_a_restart(rolling):
    moment = datetime.now(UTC) + timedelta(seconds=8)
    rolling.reload(at=moment, overlap="1h")
    time.sleep(max(0.0, (moment - datetime.now(UTC)).total_seconds()) + 1.1)  # the configuration knows whole seconds
    assert b"GetNextCACert" not in rolling.get("GetCACaps").body
    assert read_certs_only(rolling.get("GetCACert").body)[-1] == rolling.der("devices-2-ca")
    assert rolling.get("GetNextCACert").status == 404
    assert rolling.is_issued_by(rolling.certificate("devices-2"), "devices-2")
    # Within the overlap a device that holds the old certificates is still answered in their name.
    assert rolling.is_issued_by(rolling.certificate("devices"), "devices")


def test_C067_after_the_overlap_the_old_ra_is_superseded(rolling):
    rolling.reload(at=datetime.now(UTC) - timedelta(seconds=30), overlap="1s")
    refused = rolling.ask("devices")  # signed by the RA that the device knows
    assert (refused.status, refused.fail_info) == (PkiStatus.FAILURE, FailInfo.badRequest)
    assert refused.fail_info_text == "CA certificate superseded"
    assert rolling.is_issued_by(rolling.certificate("devices-2"), "devices-2")
    assert any("reason=issuer_superseded" in line for line in rolling.server.log_lines())
