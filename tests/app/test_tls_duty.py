"""The certificate of a listener is renewed in its file by one worker, and served: a reload that was refused is asked again."""

import os
import threading
from datetime import timedelta
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepd.app import service
from scepd.app.leases import Lease
from scepd.app.tls_duty import TlsDuty
from scepd.ca.ceremony import Ceremony
from scepd.hsm.faults import TokenFault
from scepd.records import CertificateState, GeneralName
from scepd.store.check import check_store
from scepd.x509.lint import lint
from tests.x509 import material

from .town import Inline, Town, attend, log, town

__all__ = ["log", "town"]  # fixtures

DAY = 86_400
NAMES = [GeneralName("dns", "pki.example.net")]


def certify(town, key="tls", days=30):
    ceremony = Ceremony(town.issuer.key, town.clock.now(), os.urandom)
    der = ceremony.certify_tls(town.issuer.certificate, NAMES, material.ec_key(key).public_key(), timedelta(days=days))
    return x509.load_der_x509_certificate(der)


class Node:
    """A file with a certificate, the workers that serve it, and a control socket that counts who asks for reloads."""

    def __init__(self, town: Town):
        self.town, self.path = town, town.directory / "tls.pem"
        self.put(certify(town))
        self.reloads = 0

    def put(self, certificate):
        chain = (certificate, self.town.issuer.certificate.certificate)
        self.path.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in chain))

    @property
    def present(self):
        return x509.load_pem_x509_certificates(self.path.read_bytes())[0]

    def ask_for_reload(self, runtime):
        assert runtime == self.town.directory
        self.reloads += 1

    def worker(self, number=0, listener="public"):
        store = self.town.open(f"alpha/{number}.duties")
        return TlsDuty(
            listener=listener,
            issuer="main",
            path=self.path,
            served=self.present,
            runtime=self.town.directory,
            lease=Lease("tls:alpha:tls.pem", store.owner, self.town.clock),
            clerk=Inline(store),
            lanes=Inline(SimpleNamespace(issuers={"main": self.town.issuer})),
            clock=self.town.clock,
            monotonic=self.town.seconds,
        )

    def attend(self, *duties, seconds=0, step=10):
        """Let every duty have its turn now, or every `step` seconds for so long."""
        for _ in range(seconds // step or 1):
            for duty in duties:
                attend(duty)
            self.town.wait(step if seconds else 0)


@pytest.fixture
def node(town, monkeypatch):
    node = Node(town)
    monkeypatch.setattr(service, "ask_for_reload", node.ask_for_reload)
    return node


def test_S103_a_certificate_is_renewed_once_on_record_and_a_reload_is_asked_for(town, node, log):
    first, duties = node.present, [node.worker(0), node.worker(1)]
    node.attend(*duties)
    town.wait(21 * DAY)
    node.attend(*duties)
    node.attend(*duties)
    fresh = node.present
    assert (node.reloads, len(log("tls_renewed"))) == (1, 1)
    assert fresh.public_key() == first.public_key()
    assert fresh.not_valid_after_utc > first.not_valid_after_utc
    assert lint(fresh.public_bytes(Encoding.DER), town.issuer.certificate, "tls") == []
    assert node.path.read_bytes().count(b"BEGIN CERTIFICATE") == 2
    (row,) = town.store.certificates(limit=10)
    assert (row.state, row.der) == (CertificateState.ISSUED, fresh.public_bytes(Encoding.DER))
    assert check_store(town.store, {"main": town.issuer.certificate.der}) == []


def test_a_reload_that_was_refused_is_asked_for_again_until_the_certificate_is_served(town, node, log):
    duties = [node.worker(0), node.worker(1)]
    town.wait(21 * DAY)
    node.attend(*duties, seconds=50)
    assert node.reloads == 1  # it may still be going on
    node.attend(*duties, seconds=DAY // 4, step=120)
    fresh = node.present
    assert 10 <= node.reloads <= 30  # ever more seldom, by whichever worker has the lease
    told = log("tls_overdue")
    assert len(told) == node.reloads - 1
    assert (told[0]["cause"], told[0]["hint"]) == (f"the certificate in {node.path} is not served", "scepd reload")
    assert told[-1]["retry_in"] == 3_600.0
    assert len(log("tls_renewed")) == 1  # the file has it: that one stays
    assert node.present == fresh
    asked, heirs = node.reloads, [node.worker(0), node.worker(1)]  # the configuration was mended
    node.attend(*heirs, seconds=DAY // 4, step=120)
    assert node.reloads == asked


def test_whoever_takes_over_asks_for_the_reload_too(town, node):
    dying, heir = node.worker(0), node.worker(1)
    town.wait(21 * DAY)
    node.attend(dying)
    assert node.reloads == 1
    town.wait(3_600)
    node.attend(heir, seconds=70)
    assert node.reloads == 2


def test_two_listeners_of_one_file_ask_once(town, node, log):
    duties = [node.worker(0, "public"), node.worker(0, "inner")]
    town.wait(21 * DAY)
    node.attend(*duties, seconds=50)
    assert (node.reloads, log("tls_overdue")) == (1, [])


def test_a_certificate_of_another_key_is_its_operators_to_serve(town, node, log):
    duty = node.worker()
    node.put(certify(town, "other"))
    node.attend(duty, seconds=DAY // 24, step=120)
    assert (node.reloads, log("tls_overdue")) == (0, [])


def test_a_token_that_fails_leaves_the_file_alone(town, node, log):
    duty, first = node.worker(), node.present
    town.wait(21 * DAY)
    duty.lanes.fault = TokenFault("device", "gone")
    node.attend(duty, seconds=300)
    assert (node.present, node.reloads) == (first, 0)
    assert 3 <= len(log("tls_overdue")) <= 6


def test_what_is_in_the_way_of_the_file_is_told_in_words(town, node, log):
    duty, whole = node.worker(), node.path.read_bytes()
    node.path.write_text("no certificate")
    node.attend(duty)
    node.path.write_bytes(whole)
    (node.path.parent / ".tls.pem.renewed").mkdir()
    town.wait(21 * DAY)
    node.attend(duty)
    unreadable, unwritable = log("tls_overdue")
    assert unreadable["cause"].startswith(f"no certificate can be read from {node.path}: ")
    assert unreadable["hint"] == "scepd check"
    assert unwritable["cause"].startswith(f"{node.path} cannot be replaced: ")
    assert unwritable["hint"] == f"let the service's user write in {node.path.parent}"
    assert node.path.read_bytes() == whole


def test_a_supervisor_that_hears_no_reload_is_told_and_asked_again(town, node, log, monkeypatch):
    def deaf(runtime):
        raise TimeoutError("timed out")

    duty = node.worker()
    with monkeypatch.context() as patched:
        patched.setattr(service, "ask_for_reload", deaf)
        town.wait(21 * DAY)
        node.attend(duty)
    (told,) = log("tls_overdue")
    assert (told["cause"], told["hint"]) == ("the supervisor does not hear of a reload: timed out", "scepd reload")
    assert log("tls_renewed") == []
    node.attend(duty, seconds=100)
    assert node.reloads == 1


def test_the_request_for_a_reload_reaches_the_control_socket(town, monkeypatch):
    import socket

    node = Node(town)
    with socket.socket(socket.AF_UNIX) as control:
        monkeypatch.chdir(town.directory)
        control.bind(service.CONTROL_SOCKET)
        control.listen(1)
        heard = []

        def hear():
            connection, _ = control.accept()
            with connection:
                heard.append(connection.recv(1_000))

        thread = threading.Thread(target=hear)
        thread.start()
        duty = node.worker()
        town.wait(21 * DAY)
        node.attend(duty)
        thread.join(10)
    assert heard == [b'{"command": "reload"}\n']
