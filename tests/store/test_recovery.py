"""Going on from an older store: nothing spent is free again, nothing revoked is good again, no number goes back (S-105)."""

import json
import multiprocessing
import os
import shutil
import signal
from datetime import timedelta

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepd.admin.recover import Evidence, carry_out, make_plan
from scepd.observe.audit import Action, as_record, link
from scepd.observe.export import export_lines
from scepd.observe.trail import verify
from scepd.records import CertificateState, ChallengeState, Revocation, RevocationReason, Token, TransactionState
from scepd.refusal import OperatorError, Unavailable
from scepd.store.check import check_store
from scepd.store.copy import copy_store
from scepd.store.entities import Code, NewEntity
from scepd.store.marks import MarkFile
from scepd.store.published import PublishedCrl

from .building import (
    BEGIN,
    URL,
    Clock,
    Device,
    Issuer,
    add_challenge,
    enrol,
    make_crl,
    make_petition,
    open_repository,
    sign,
)

DAY = timedelta(days=1)
FORK = multiprocessing.get_context("fork")
POINTS = ["begin", "before_commit", "after_import", "after_marks", "after_commit"]


class Town:
    """A store that goes on after a copy of it was taken, and forgets that when the copy is put back."""

    def __init__(self, directory, issuer):
        self.directory, self.issuer = directory, issuer
        self.marks = MarkFile.within(directory)
        self.store = open_repository(directory, owner="alpha/0")
        self.before = enrol(self.store, issuer, Device.make("CN=before"))
        self.held = enrol(self.store, issuer, Device.make("CN=held"))
        self.free = [add_challenge(self.store) for _ in range(3)]
        self.store.add_entities("routers", [NewEntity("r9", Code(b"code", None, None))], who="ann")
        self.store.add_token(Token(0, "mdm", b"digest", ("routers",), None, 60, None, None, BEGIN, "ann"))
        self.approved = self.approve("CN=approved")
        self.store.add_crl(make_crl(issuer, 1), who="ann")
        self.settle()
        copy_store(URL, directory, directory / "copy")

    def settle(self):
        return self.store.settle(self.marks, "alpha")

    def approve(self, name, **options):
        transaction, _ = self.store.petition(make_petition(self.issuer, Device.make(name), **options))
        return self.store.decide(transaction.id, approve=True, who="bob")

    def go_on(self):
        """Do what the copy does not know of."""
        self.after = enrol(self.store, self.issuer, Device.make("CN=after"), challenge=self.free[0].id)
        self.gone = enrol(self.store, self.issuer, Device.make("CN=gone"))
        compromised = Revocation(BEGIN, RevocationReason.keyCompromise, BEGIN - DAY)
        self.store.revoke("main", self.before.serial, compromised, who="bob")
        self.store.revoke("main", self.gone.serial, Revocation(BEGIN, RevocationReason.superseded), who="bob")
        self.store.revoke("main", self.held.serial, Revocation(BEGIN, RevocationReason.certificateHold), who="bob")
        self.store.release("main", self.held.serial, who="bob")
        self.store.cancel_challenge(self.free[1].id, cancelled_by="bob")
        crl = make_crl(self.issuer, 7, BEGIN + DAY, serials=(self.before.serial, self.gone.serial))
        self.store.add_crl(crl, who="ann")
        PublishedCrl.within(self.directory, "main").keep(crl)
        self.settle()

    def export(self):
        path = self.directory / "audit.jsonl"
        with self.store.snapshot():
            path.write_text("".join(f"{line}\n" for line in export_lines(self.store.audit_trail(), self.store.audit_heads())))
        return path

    def restore(self):
        self.store.close()
        for path in self.directory.glob("scepd.sqlite*"):
            path.unlink()
        shutil.copy(self.directory / "copy", self.directory / "scepd.sqlite")
        self.store = open_repository(self.directory, Clock(BEGIN + 2 * DAY), owner="alpha/cli")

    def evidence(self, **options):
        return Evidence(marks=self.directory, node="alpha", issuers={"main": self.issuer.der}, **options)

    def recover(self, *, store=None, keep_challenges=False, keep_tokens=False, **options):
        store, evidence = store or self.store, self.evidence(**options)
        plan = make_plan(store, evidence)
        return carry_out(store, evidence, plan.order("root", "alpha", keep_challenges=keep_challenges, keep_tokens=keep_tokens))

    def state_of(self, transaction):
        found = self.store.certificate("main", transaction.serial)
        return None if found is None else (found.state, found.revocation and found.revocation.reason)

    def require_sound(self):
        assert check_store(self.store, {"main": self.issuer.der}) == []
        assert self.store.standstill() is None
        assert self.settle() is None
        enrol(self.store, self.issuer, Device.make("CN=new"))
        assert self.settle() is None


@pytest.fixture
def town(directory, issuer):
    made = Town(directory, issuer)
    yield made
    made.store.close()


REVOKED = CertificateState.REVOKED


def test_S105_what_the_newest_crl_says_comes_back_and_nothing_is_free_again(town):
    town.go_on()
    heads = town.store.audit_heads()
    town.restore()
    plan = make_plan(town.store, town.evidence())
    assert "an older store was restored" in plan.standstill.cause
    assert any("2 certificates" in words for words in plan.lost)
    with pytest.raises(Unavailable, match="read-only"):
        add_challenge(town.store)
    done = town.recover()
    assert (done.revocations, done.certificates, done.crls, done.challenges, done.approvals) == (2, 0, 1, 3, 1)
    assert town.state_of(town.before) == (REVOKED, RevocationReason.unspecified)
    assert town.state_of(town.gone) == (REVOKED, RevocationReason.unspecified)
    assert town.state_of(town.after) is None  # the CRL says nothing of it
    assert {town.store.challenge(one.id).state for one in town.free} == {ChallengeState.CANCELLED}
    assert town.marks.last_crl("main") == town.store.latest_crl_number("main") == 7
    serials = (town.before.serial, town.gone.serial)
    assert town.store.add_crl(make_crl(town.issuer, 8, BEGIN + 2 * DAY, serials=serials), who="ann")
    assert not town.store.add_crl(make_crl(town.issuer, 7), who="ann")
    (row,) = town.store.audit(target="audit alpha/0")
    assert (row.action, row.previous) == (Action.recovered.value, heads["alpha/0"].hash)
    assert row.sequence == heads["alpha/0"].sequence + 1
    (summary,) = town.store.audit(target="store")
    assert json.loads(summary.details)["floors"] == {"main": 7}
    town.require_sound()
    assert town.store.expire_pending() == 1
    assert town.store.transaction(town.approved.id).state is TransactionState.EXPIRED


def test_S105_an_export_of_the_audit_trail_brings_rows_serials_and_revocations_back(town):
    town.go_on()
    heads, log = town.store.audit_heads(), town.export()
    town.restore()
    done = town.recover(audit_log=log)
    lost = heads["alpha/0"].sequence
    assert done.audit_rows > 8
    assert (done.certificates, done.revocations) == (2, 2)
    assert [one.action for one in town.store.audit(target="audit alpha/0")] == []  # nothing is missing in it
    assert town.store.audit_heads()["alpha/0"] == heads["alpha/0"]
    assert town.state_of(town.after) == (CertificateState.RESERVED, None)
    found = town.store.certificate("main", town.after.serial)
    assert (found.subject, found.profile, found.names) == ("CN=after", "routers", ("dns:r1.example.net",))
    assert town.state_of(town.before) == (REVOKED, RevocationReason.keyCompromise)
    assert town.store.certificate("main", town.before.serial).revocation.invalid_since == BEGIN - DAY
    assert town.state_of(town.held) == (CertificateState.ISSUED, None)
    hold = Revocation(BEGIN, RevocationReason.certificateHold)
    town.store.revoke("main", town.after.serial, hold, who="bob")
    released = town.store.release("main", town.after.serial, who="bob")
    assert released.state is CertificateState.RESERVED  # its bytes are still gone: nothing good is known of it
    town.require_sound()
    assert town.store.audit_heads()["alpha/0"].sequence == lost
    town.store.revoke("main", town.after.serial, Revocation(BEGIN, RevocationReason.superseded), who="bob")
    assert town.state_of(town.after) == (REVOKED, RevocationReason.superseded)


def pem(der):
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


def test_S105_certificates_that_devices_still_have_come_back_whole(town, tmp_path):
    town.go_on()
    log, file = town.export(), tmp_path / "found.pem"
    file.write_bytes(pem(town.after.certificate_der) + pem(town.gone.certificate_der) + pem(town.before.certificate_der))
    town.restore()
    done = town.recover(audit_log=log, certificates=(file,))
    assert (done.certificates, done.revocations) == (2, 2)  # the third was never lost
    found = town.store.certificate("main", town.after.serial)
    assert (found.state, found.der, found.profile) == (CertificateState.ISSUED, town.after.certificate_der, "routers")
    assert found.subject == "CN=after"
    assert town.state_of(town.gone) == (REVOKED, RevocationReason.superseded)
    town.require_sound()


def test_S105_certificates_of_others_do_not_come_in(town, tmp_path):
    town.go_on()
    log, stranger = town.export(), Issuer.make()
    files = [tmp_path / name for name in ("other.pem", "forged.pem", "junk.pem", "none.pem")]
    files[0].write_bytes(pem(sign(stranger, Device.make(), 5)))
    files[1].write_bytes(pem(sign(town.issuer, Device.make("CN=forged"), town.after.serial)))
    files[2].write_bytes(b"junk")
    town.restore()
    for path, words in zip(
        files, ("signed by none of the issuers", "not the one that the audit", "no PEM", "cannot be read"), strict=True
    ):
        with pytest.raises(OperatorError, match=words):
            make_plan(town.store, town.evidence(audit_log=log, certificates=(path,)))
    own = tmp_path / "own.pem"
    own.write_bytes(pem(town.after.certificate_der))
    town.recover(certificates=(own,))
    found = town.store.certificate("main", town.after.serial)
    assert (found.state, found.profile) == (CertificateState.ISSUED, "")
    town.require_sound()


def test_S105_a_recovery_is_asked_for_once(town):
    town.go_on()
    assert make_plan(town.store, town.evidence()) is None
    town.restore()
    order = make_plan(town.store, town.evidence()).order("root", "alpha", keep_challenges=False, keep_tokens=False)
    carry_out(town.store, town.evidence(), order)
    rows = town.store.audit_entries()
    assert make_plan(town.store, town.evidence()) is None
    with pytest.raises(OperatorError, match="nothing to recover"):
        carry_out(town.store, town.evidence(), order)
    assert town.store.audit_entries() == rows


def run_and_die(town, point):
    def checkpoint(name):
        if name == f"recover.{point}":
            os.kill(os.getpid(), signal.SIGKILL)

    def body():
        clock = Clock(BEGIN + 2 * DAY)
        store = open_repository(town.directory, clock, owner="alpha/cli", checkpoint=checkpoint)
        town.recover(store=store)
        os._exit(0)

    process = FORK.Process(target=body)
    process.start()
    process.join(30)
    return process.exitcode


@pytest.mark.parametrize("point", POINTS)
def test_S105_a_recovery_killed_anywhere_is_done_once_when_it_is_asked_again(town, point):
    town.go_on()
    town.restore()
    assert town.settle() is not None
    assert run_and_die(town, point) == -signal.SIGKILL
    if point == "after_commit":
        assert make_plan(town.store, town.evidence()) is None
    else:
        assert town.settle() is not None  # read-only still, whatever a start finds
        with pytest.raises(Unavailable, match="read-only"):
            add_challenge(town.store)
        done = town.recover()
        assert (done.revocations, done.crls, done.challenges) == (2, 1, 3)
    assert town.state_of(town.before) == (REVOKED, RevocationReason.unspecified)
    assert len(town.store.audit(target="store")) == 1
    assert town.marks.last_crl("main") == 7
    town.require_sound()


def test_S105_without_marks_numbers_jump_and_nothing_is_good_again(town):
    town.go_on()
    number = PublishedCrl.within(town.directory, "main")
    town.restore()
    town.marks.path.unlink()
    number.path.unlink()
    assert "marks" in town.settle().cause
    assert make_plan(town.store, town.evidence()).marks is None
    done = town.recover()
    assert (done.revocations, done.challenges) == (0, 3)
    assert town.marks.last_crl("main") == 1_000_001
    (row,) = town.store.audit(target="audit alpha/0")
    assert json.loads(row.details)["lost"] is None
    town.require_sound()


def test_S105_a_crl_from_elsewhere_is_believed_where_it_is_signed(town, tmp_path):
    town.go_on()
    newer = make_crl(town.issuer, 9, BEGIN + DAY, serials=(town.before.serial, town.after.serial))
    paths = [tmp_path / name for name in ("newer.crl", "other.crl", "junk.crl")]
    paths[0].write_bytes(newer.der)
    paths[1].write_bytes(make_crl(Issuer.make(), 99).der)
    paths[2].write_bytes(b"junk")
    town.restore()
    with pytest.raises(OperatorError, match="signed by none of the issuers"):
        make_plan(town.store, town.evidence(crls=(paths[1],)))
    with pytest.raises(OperatorError, match="is no CRL"):
        make_plan(town.store, town.evidence(crls=(paths[2],)))
    with pytest.raises(OperatorError, match="cannot be read"):
        make_plan(town.store, town.evidence(crls=(tmp_path / "none",)))
    PublishedCrl.within(town.directory, "main").keep(make_crl(Issuer.make(), 50))
    remarks = make_plan(town.store, town.evidence()).crls.remarks
    assert remarks == ("the CRL kept beside the store is not signed by issuer main",)
    PublishedCrl.within(town.directory, "main").path.write_bytes(b"junk")
    assert "cannot be read" in make_plan(town.store, town.evidence()).crls.remarks[0]
    town.recover(crls=(paths[0],))
    assert town.state_of(town.after) == (REVOKED, RevocationReason.unspecified)
    assert town.marks.last_crl("main") == 9
    town.require_sound()


def test_S105_an_export_that_was_changed_or_is_of_another_history_is_refused(town, tmp_path):
    town.go_on()
    log = town.export()
    text = log.read_text()
    changed, cut, none = tmp_path / "changed", tmp_path / "cut", tmp_path / "none"
    changed.write_text(text.replace("keyCompromise", "superseded", 1))
    cut.write_text("".join(text.splitlines(keepends=True)[:-1]))
    town.restore()
    for path, words in ((changed, "its content was changed"), (cut, "was cut off"), (none, "cannot be read")):
        with pytest.raises(OperatorError, match=words):
            make_plan(town.store, town.evidence(audit_log=path))
    marks = town.marks.read()
    heads = {owner: attrs.evolve(head, hash=b"\5" * 32) for owner, head in marks.position.audit.items()}
    town.marks.replace(attrs.evolve(marks, position=attrs.evolve(marks.position, audit=heads)))
    with pytest.raises(OperatorError, match="of another history"):
        make_plan(town.store, town.evidence(audit_log=log))


def test_S105_codes_and_tokens_end_too(town):
    town.go_on()
    town.restore()
    done = town.recover()
    assert (done.entities, done.tokens) == (1, 1)
    assert town.store.find_entity("routers", "r9").expires == BEGIN + 2 * DAY
    assert town.store.tokens()[0].revoked == BEGIN + 2 * DAY
    town.require_sound()


def test_S105_what_is_kept_insecurely_stays_good(town):
    town.go_on()
    town.restore()
    done = town.recover(keep_challenges=True, keep_tokens=True, replayable=("tablets",))
    assert (done.challenges, done.entities, done.tokens, done.profiles) == (0, 0, 0, 0)
    assert {town.store.challenge(one.id).state for one in town.free} == {ChallengeState.FREE}
    assert town.store.tokens()[0].revoked is None
    town.require_sound()


def test_S105_profiles_with_signed_challenges_are_switched_off(town):
    town.go_on()
    town.restore()
    assert town.recover(replayable=("tablets",)).profiles == 1
    assert town.store.disabled_profiles() == {"tablets"}
    assert not town.store.switch_profile("tablets", enabled=True, who="user ann", only_own=True)
    town.require_sound()


def test_S105_S09_what_somebody_else_had_switched_off_is_the_recoverys_from_then_on(town):
    town.store.switch_profile("tablets", enabled=False, who="user ann")
    (town.directory / "copy").unlink()
    copy_store(URL, town.directory, town.directory / "copy")
    town.go_on()
    town.restore()
    assert town.recover(replayable=("tablets",)).profiles == 0
    assert not town.store.switch_profile("tablets", enabled=True, who="user ann", only_own=True)
    assert town.store.disabled_profiles() == {"tablets"}
    town.require_sound()


def changed_row(rows, change):
    index = next(index for index, row in enumerate(rows) if row.target == "audit alpha/0")
    return [*rows[:index], change(rows[index]), *rows[index + 1 :]]


@pytest.mark.parametrize("field", ["kept", "lost", "action", "previous"])
def test_S124_a_gap_is_excused_only_by_a_row_that_says_truly_what_it_follows(town, field):
    town.go_on()
    town.restore()
    town.recover()
    rows, heads = list(town.store.audit_trail()), town.store.audit_heads()
    assert list(verify(rows, heads)) == []

    def forge(row):
        details = json.loads(row.details)
        if field in details:
            details[field] = [1, "00" * 32]
        row = attrs.evolve(row, details=json.dumps(details, sort_keys=True, separators=(",", ":")))
        if field == "action":
            row = attrs.evolve(row, action=Action.crl_published.value)
        if field == "previous":
            row = attrs.evolve(row, previous=bytes(32))
        return attrs.evolve(row, hash=link(row.previous, as_record(row)))

    found = [str(one) for one in verify(changed_row(rows, forge), heads)]
    assert any("rows are missing" in words for words in found)
