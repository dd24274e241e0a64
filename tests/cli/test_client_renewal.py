"""`scepd client renew`, `poll`, `getcert`, `getcrl` and `getnextca`, as a person types them."""

import json
import stat
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from scepd.cli.client_keys import key_pem
from scepd.cli.main import program
from scepd.message.algorithms import Digest
from scepd.message.csr import parse_csr
from scepd.message.names import MessageType
from scepd.message.next_ca import build_next_ca
from scepd.message.scan import LIMITS
from tests.cli.responder import CHALLENGE, Responder, authority, rsa_key, serving

PENDING = 3


@attrs.frozen
class Desk:
    """A directory, a server, and commands between them."""

    directory: object
    responder: Responder
    url: str

    def run(self, verb, *more, trusted=True):
        ours = ("--url", self.url, "--fingerprint", self.responder.authority.fingerprint) if trusted else ()
        arguments = ("client", verb, *ours, *more)
        return CliRunner().invoke(program, [str(argument) for argument in arguments])

    def enroll(self, *more, name="r1", challenge=("--challenge", CHALLENGE)):
        return self.run("enroll", "--cn", name, "--out", self.at(f"{name}.pem"), *challenge, *more)

    def renew(self, *more, old="r1", new="r1-2"):
        held = ("--cert", self.at(f"{old}.pem"), "--key", self.at(f"{old}.key"))
        return self.run("renew", *held, "--out", self.at(f"{new}.pem"), *more)

    def poll(self, *more, name="r1"):
        return self.run("poll", "--key", self.at(f"{name}.key"), *more, trusted=False)

    def at(self, name):
        return self.directory / name

    def certificate(self, name):
        return x509.load_pem_x509_certificate(self.at(f"{name}.pem").read_bytes())

    def key(self, name):
        return load_pem_private_key(self.at(f"{name}.key").read_bytes(), None)

    @property
    def types(self):
        return [message.message_type for _method, message in self.responder.requests]


@pytest.fixture
def desk(tmp_path):
    responder = Responder()
    with serving(responder) as url:
        yield Desk(tmp_path, responder, url)


def done(result):
    assert result.exit_code == 0, result.output
    return result


# Renewal ------------------------------------------------------------------------------------------------------


def test_C170_renew_sends_a_renewal_req_signed_by_the_old_certificate_for_a_new_key(desk):
    done(desk.enroll())
    result = done(desk.renew())
    assert desk.types == [MessageType.PKCSReq, MessageType.RenewalReq]
    message = desk.responder.requests[-1][1]
    assert message.signer.der == desk.certificate("r1").public_bytes(Encoding.DER)
    new = desk.certificate("r1-2")
    assert new.subject == desk.certificate("r1").subject
    assert new.public_key() == desk.key("r1-2").public_key() != desk.key("r1").public_key()
    assert stat.S_IMODE(desk.at("r1-2.key").stat().st_mode) == 0o600
    assert parse_csr(desk.responder.opened[-1]).challenge is None
    assert f"{new.serial_number:x}" in result.output
    assert not list(desk.directory.glob("*.pending"))


def test_C184_as_pkcsreq_sends_the_form_of_the_drafts(desk):
    done(desk.enroll())
    done(desk.renew("--as-pkcsreq"))
    assert desk.types == [MessageType.PKCSReq, MessageType.PKCSReq]
    assert desk.responder.requests[-1][1].signer.der == desk.certificate("r1").public_bytes(Encoding.DER)


def test_the_same_key_may_be_kept_and_is_another_transaction(desk):
    done(desk.enroll())
    before = desk.at("r1.key").read_bytes()
    done(desk.renew("--same-key"))
    assert desk.certificate("r1-2").public_key() == desk.certificate("r1").public_key()
    assert desk.at("r1.key").read_bytes() == before
    assert not desk.at("r1-2.key").exists()
    first, second = (message.transaction_id for _method, message in desk.responder.requests)
    assert first != second


def test_a_renewal_that_is_repeated_is_the_same_transaction(desk):
    done(desk.enroll())
    done(desk.renew())
    done(desk.renew("--new-key", desk.at("r1-2.key"), new="again"))
    assert len({message.transaction_id for _method, message in desk.responder.requests[1:]}) == 1


def test_names_of_the_old_certificate_are_asked_for_again(desk):
    key, own = rsa_key("named"), authority()
    name = x509.Name(
        [x509.NameAttribute(x509.NameOID.COMMON_NAME, "r9"), x509.NameAttribute(x509.NameOID.SERIAL_NUMBER, "7")]
    )
    old = (
        x509.CertificateBuilder(name, name, key.public_key(), 77)
        .not_valid_before(x509.load_der_x509_certificate(own.ca_der).not_valid_before_utc)
        .not_valid_after(x509.load_der_x509_certificate(own.ca_der).not_valid_after_utc)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("r9.example.net")]), critical=True)
        .sign(key, hashes.SHA256())
    )
    desk.responder.certificates[77] = old.public_bytes(Encoding.DER)
    desk.at("r9.pem").write_bytes(old.public_bytes(Encoding.PEM))
    desk.at("r9.key").write_bytes(key_pem(key))
    done(desk.renew(old="r9", new="r9-2"))
    csr = parse_csr(desk.responder.opened[-1])
    assert csr.subject_der == name.public_bytes()
    (extension,) = csr.extensions
    assert (extension.oid, extension.critical) == ("2.5.29.17", True)
    assert b"r9.example.net" in extension.value_der


def test_an_rsa_certificate_is_renewed_for_a_key_of_another_kind(desk):
    done(desk.enroll())
    for kind, expected in (("ec:P-384", ec.EllipticCurvePublicKey), ("ed25519", ed25519.Ed25519PublicKey)):
        done(desk.renew("--key-type", kind, new=kind[:2]))
        assert isinstance(desk.certificate(kind[:2]).public_key(), expected)


def test_C257_an_ec_certificate_is_renewed_with_a_challenge_that_protects_the_reply(desk):
    done(desk.enroll("--key-type", "ec:P-256"))
    refused = desk.renew("--new-key", desk.at("new.key"))
    assert refused.exit_code == 1
    assert "--challenge-file" in refused.output
    done(desk.renew("--new-key", desk.at("new.key"), "--challenge", CHALLENGE))


def test_a_server_that_does_not_announce_renewal_is_not_asked_for_one(desk):
    done(desk.enroll())
    desk.responder.capabilities = b"AES\nSHA-256\nPOSTPKIOperation"
    result = desk.renew()
    assert result.exit_code == 1
    assert "--as-pkcsreq" in result.output
    assert desk.types == [MessageType.PKCSReq]
    done(desk.renew("--as-pkcsreq"))


def test_a_refused_renewal_says_why_and_leaves_nothing_but_the_key(desk):
    done(desk.enroll())
    desk.responder.certificates.clear()
    result = desk.renew()
    assert result.exit_code == 1
    assert "signer certificate not known" in result.output
    assert not desk.at("r1-2.pem").exists()
    assert not list(desk.directory.glob("*.pending"))


def test_renew_wants_certificate_and_key_that_belong_together(desk):
    done(desk.enroll())
    done(desk.enroll(name="r2"))
    mixed = desk.run("renew", "--cert", desk.at("r1.pem"), "--key", desk.at("r2.key"), "--out", desk.at("x.pem"))
    assert (mixed.exit_code, "is not the key of" in mixed.output) == (1, True)
    lost = desk.run("renew", "--cert", desk.at("no.pem"), "--key", desk.at("r2.key"), "--out", desk.at("x.pem"))
    assert (lost.exit_code, "holds no PEM certificate" in lost.output) == (1, True)
    both = desk.renew("--same-key", "--new-key", desk.at("x.key"))
    assert both.exit_code == 2
    taken = desk.renew(new="r2")
    assert (taken.exit_code, "exists already" in taken.output) == (1, True)
    assert len(desk.types) == 2


# Pending and polling --------------------------------------------------------------------------------------------


def test_C200_pending_leaves_with_3_and_a_state_that_another_process_polls_with(desk):
    desk.responder.pending = 2
    waiting = desk.enroll("--chain-out", desk.at("chain.pem"))
    assert waiting.exit_code == PENDING
    assert f"scepd client poll --key {desk.at('r1.key')}" in waiting.output
    state = desk.at("r1.key.pending")
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert CHALLENGE not in state.read_text()
    assert "PRIVATE KEY" not in state.read_text()
    assert desk.poll().exit_code == PENDING
    done(desk.poll())
    assert desk.certificate("r1").public_key() == desk.key("r1").public_key()
    assert desk.at("chain.pem").exists()
    assert not state.exists()
    assert desk.types == [MessageType.PKCSReq, MessageType.CertPoll, MessageType.CertPoll]
    assert len({message.transaction_id for _method, message in desk.responder.requests}) == 1
    assert len({message.signer.der for _method, message in desk.responder.requests}) == 1


def test_enroll_waits_as_long_as_it_is_told(desk):
    desk.responder.pending = 2
    done(desk.enroll("--poll-timeout", "30", "--poll-interval", "0.1"))
    assert desk.types == [MessageType.PKCSReq, MessageType.CertPoll, MessageType.CertPoll]


def test_poll_writes_elsewhere_when_told_and_overwrites_nothing(desk):
    desk.responder.pending = 1
    assert desk.enroll().exit_code == PENDING
    desk.at("r1.pem").write_text("mine")
    taken = desk.poll()
    assert (taken.exit_code, "exists already" in taken.output) == (1, True)
    done(desk.poll("--out", desk.at("other.pem")))
    assert desk.at("r1.pem").read_text() == "mine"


def test_a_renewal_that_is_pending_is_polled_with_the_old_certificate(desk):
    done(desk.enroll())
    desk.responder.pending = 1
    assert desk.renew().exit_code == PENDING
    done(desk.poll(name="r1-2"))
    assert desk.certificate("r1-2").public_key() == desk.key("r1-2").public_key()
    assert desk.responder.requests[-1][1].signer.der == desk.certificate("r1").public_bytes(Encoding.DER)


def test_a_throw_away_signer_is_kept_for_the_poll(desk):
    desk.responder.pending = 1
    assert desk.enroll("--key-type", "ec:P-256", "--passing-signer").exit_code == PENDING
    done(desk.poll())
    assert isinstance(desk.responder.requests[-1][1].signer.public_key(), rsa.RSAPublicKey)
    assert isinstance(desk.certificate("r1").public_key(), ec.EllipticCurvePublicKey)


def test_C252_an_ec_key_polls_with_its_challenge_which_is_not_kept(desk):
    desk.responder.pending = 1
    assert desk.enroll("--key-type", "ec:P-256").exit_code == PENDING
    without = desk.poll()
    assert (without.exit_code, "--challenge-file" in without.output) == (1, True)
    assert desk.at("r1.key.pending").exists()
    done(desk.poll("--challenge", CHALLENGE))


def test_what_was_chosen_by_name_is_kept(desk):
    desk.responder.pending = 1
    chosen = ("--digest", "sha512", "--cipher", "aes256", "--transport", "oaep-sha1", "--signature", "pss", "--get")
    assert desk.enroll(*chosen).exit_code == PENDING
    done(desk.poll())
    method, message = desk.responder.requests[-1]
    assert (method, message.digest, message.pss) == ("GET", Digest.SHA512, True)


def test_a_refused_poll_ends_the_request(desk):
    desk.responder.pending = 1
    assert desk.enroll(challenge=("--no-challenge",)).exit_code == PENDING
    desk.responder.issuer = authority("strangers")
    stranger = desk.poll()
    assert "does not lead to the pinned CA" in stranger.output
    assert desk.at("r1.key.pending").exists()  # nothing is lost by what nobody believes


def test_an_answer_that_is_lost_is_polled_for(desk):
    desk.responder.status = 503
    lost = desk.enroll()
    assert lost.exit_code == 1
    desk.responder.status = 200
    done(desk.enroll("--key", desk.at("r1.key")))


def test_poll_without_a_request_says_so(desk):
    result = desk.poll()
    assert result.exit_code == 1
    assert "nothing is pending for" in result.output


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2}', "\xff"])
def test_a_state_that_is_none_is_said(desk, text):
    desk.at("r1.key.pending").write_text(text)
    result = desk.poll()
    assert result.exit_code == 1
    assert "cannot be read" in result.output


def test_a_poll_believes_a_new_ra_of_the_pinned_ca_and_the_old_one_when_the_ca_is_gone(desk):
    desk.responder.pending = 2
    assert desk.enroll().exit_code == PENDING
    desk.responder.served = [authority("strangers").ca_der, authority("strangers").sign_der]
    assert desk.poll().exit_code == PENDING
    done(desk.poll())


# Look-ups -------------------------------------------------------------------------------------------------------


def own(desk):
    return ("--cert", desk.at("r1.pem"), "--key", desk.at("r1.key"))


def test_C225_getcert_gets_the_certificate_of_a_serial(desk):
    done(desk.enroll())
    serial = f"{desk.certificate('r1').serial_number:x}"
    result = done(desk.run("getcert", serial, *own(desk), "--out", desk.at("again.pem")))
    assert desk.at("again.pem").read_bytes() == desk.at("r1.pem").read_bytes()
    assert serial in result.output
    assert desk.types[-1] == MessageType.GetCert
    with_colons = ":".join(serial.zfill(36)[i : i + 2] for i in range(0, 36, 2)).upper()
    assert json.loads(done(desk.run("getcert", with_colons, "--json")).stdout)["serial"] == serial


def test_C227_getcert_of_an_unknown_serial_is_refused_readably(desk):
    result = desk.run("getcert", "77")
    assert result.exit_code == 1
    assert "badCertId: no such certificate" in result.output


def test_getcert_does_not_take_another_certificate_than_it_asked_for(desk):
    done(desk.enroll())
    done(desk.enroll(name="r2"))
    desk.responder.shown = desk.certificate("r2").public_bytes(Encoding.DER)
    result = desk.run("getcert", f"{desk.certificate('r1').serial_number:x}")
    assert (result.exit_code, "no certificate with serial" in result.output) == (1, True)


def test_getcert_does_not_take_a_certificate_of_another_ca(desk):
    done(desk.enroll())
    own_serial = desk.certificate("r1").serial_number
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "r1")])
    forged = (
        x509.CertificateBuilder(name, name, rsa_key("thief").public_key(), own_serial)
        .not_valid_before(desk.certificate("r1").not_valid_before_utc)
        .not_valid_after(desk.certificate("r1").not_valid_after_utc)
        .sign(rsa_key("thief"), hashes.SHA256())
    )
    desk.responder.shown = forged.public_bytes(Encoding.DER)
    result = desk.run("getcert", f"{own_serial:x}")
    assert (result.exit_code, "does not lead to the pinned CA" in result.output) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["getcert", "xyz"], "no serial number"),
        (["getcert", "12", "--cert", "x.pem"], "go together"),
        (["getcrl", "--key", "x.key"], "go together"),
    ],
)
def test_wrong_usage_of_look_ups_leaves_with_2(desk, arguments, words):
    result = desk.run(*arguments)
    assert (result.exit_code, words in result.output) == (2, True), result.output
    assert desk.types == []


def test_C229_getcrl_gets_the_crl_and_checks_it(desk):
    done(desk.enroll())
    result = done(desk.run("getcrl", *own(desk), "--out", desk.at("devices.crl")))
    assert "number" in result.output
    assert x509.load_pem_x509_crl(desk.at("devices.crl").read_bytes()).issuer == desk.certificate("r1").issuer
    desk.responder.crls = [desk.responder.authority.crl(5, 6)]
    assert json.loads(done(desk.run("getcrl", "--json")).stdout)["entries"] == 2


def test_C229_getcrl_takes_a_crl_that_is_larger_than_any_other_reply(desk):
    done(desk.enroll())
    desk.responder.crls = [desk.responder.authority.crl(*range(1 << 150, (1 << 150) + 8_000))]
    assert len(desk.responder.crls[0]) > LIMITS.size
    assert json.loads(done(desk.run("getcrl", *own(desk), "--json")).stdout)["entries"] == 8_000


@pytest.mark.parametrize(
    ("crls", "words"),
    [
        (lambda ours: [ours.crl(key=rsa_key("thief"))], "not signed by the CA"),
        (lambda ours: [ours.crl(until=-timedelta(days=1))], "ended at"),
        (lambda _: [], "carries 0 CRLs"),
        (lambda ours: [ours.crl()] * 2, "carries 2 CRLs"),
        (lambda _: [b"\x30\x00"], "cannot be read"),
    ],
)
def test_C232_a_crl_that_is_wrong_is_not_taken(desk, crls, words):
    desk.responder.crls = crls(desk.responder.authority)
    result = desk.run("getcrl", "--out", desk.at("devices.crl"))
    assert (result.exit_code, words in result.output) == (1, True), result.output
    assert not desk.at("devices.crl").exists()


def test_an_ec_key_looks_up_with_a_challenge(desk):
    done(desk.enroll("--key-type", "ec:P-256"))
    assert "--challenge-file" in desk.run("getcrl", *own(desk)).output
    done(desk.run("getcrl", *own(desk), "--challenge", CHALLENGE))


def test_C060_getnextca_shows_what_todays_ca_announces(desk):
    ours, following = authority(), authority("devices-2")
    coming = [following.ca_der, following.sign_der, following.decrypt_der]
    desk.responder.next_ca = build_next_ca(coming, signer=(ours.ca_der, ours.ca_key), digest=Digest.SHA256)
    result = done(desk.run("getnextca", "--out", desk.at("next.pem")))
    assert following.fingerprint in result.output
    found = x509.load_pem_x509_certificates(desk.at("next.pem").read_bytes())
    assert [one.public_bytes(Encoding.DER) for one in found] == coming


def test_C060_a_next_ca_that_another_announces_is_not_believed(desk):
    thief, following = authority("strangers"), authority("devices-2")
    coming = [following.ca_der]
    desk.responder.next_ca = build_next_ca(coming, signer=(thief.ca_der, thief.ca_key), digest=Digest.SHA256)
    result = desk.run("getnextca")
    assert (result.exit_code, "not announced by the pinned one" in result.output) == (1, True)
    desk.responder.next_ca = b"nonsense"
    assert desk.run("getnextca").exit_code == 1
    desk.responder.next_ca = build_next_ca([], signer=(authority().ca_der, authority().ca_key), digest=Digest.SHA256)
    assert "names no next CA" in desk.run("getnextca").output


def test_C037_without_a_next_ca_it_says_so(desk):
    result = desk.run("getnextca")
    assert (result.exit_code, "announces no next CA" in result.output) == (1, True)


def test_a_working_directory_may_change_between_enroll_and_poll(desk, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(desk.directory)
    desk.responder.pending = 1
    assert (
        desk.run("enroll", "--cn", "r1", "--key", "r1.key", "--out", "r1.pem", "--challenge", CHALLENGE).exit_code
        == PENDING
    )
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    done(desk.poll())
    assert desk.at("r1.pem").exists()
    assert list(Path.cwd().iterdir()) == []
