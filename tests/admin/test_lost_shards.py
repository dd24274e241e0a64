"""A recovery reads the CRLs of every shard, and puts what they list back into its shard."""

import shutil
from datetime import timedelta

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.task import Clock as FakeReactor

from scepd.admin.lost_crls import read_lost_crls
from scepd.admin.recover import Evidence, carry_out, make_plan
from scepd.app.halt import Halt
from scepd.app.news import Audience, News
from scepd.ca.shards import OpenShards
from scepd.ca.shelf import CrlShelf
from scepd.profile.switches import Switches
from scepd.records import Crl, Revocation, RevocationReason, RevokedEntry, crl_name
from scepd.store.copy import copy_store
from scepd.store.marks import MarkFile
from scepd.store.published import PublishedCrl, newest_published, published_names
from scepd.x509.crl import draft_crl, scope_extension, seal_crl, sign_crl
from tests.app.test_duties import Inline
from tests.ca.conftest import DAY, Town
from tests.store.building import URL, Clock, open_repository, prepare
from tests.x509.material import NOW, ca_key, issuer

ISSUERS = {"main": issuer("p256").der}


def crl(shard, serial, number=7):
    urls = [f"http://pki.example.net/crl/{crl_name('main', shard)}.crl"]
    until = NOW + timedelta(days=7)
    entries = [RevokedEntry(serial, Revocation(NOW, RevocationReason.keyCompromise))]
    draft = draft_crl(
        entries, issuer("p256"), number=number, this_update=NOW, next_update=until, scope=scope_extension(urls)
    )
    der = seal_crl(draft, sign_crl(draft, ca_key("p256")), issuer("p256"))
    return Crl(crl_name("main", shard), number, NOW, until, der, 1)


@pytest.fixture
def repository(tmp_path):
    prepare(tmp_path)
    repository = open_repository(tmp_path, Clock())
    yield repository
    repository.close()


def test_S105_what_was_published_of_each_shard_is_found(tmp_path, repository):
    for shard, serial in ((0, 5), (1, 6), (12, 7)):
        one = crl(shard, serial)
        PublishedCrl.within(tmp_path, one.issuer).keep(one)
    (tmp_path / "published" / "main.x.crl").write_bytes(b"none of ours")
    (tmp_path / "published" / "main.01.crl").write_bytes(b"nor this")
    assert list(published_names(tmp_path, ["main", "other"])) == ["main", "main.1", "main.12", "other"]
    found = read_lost_crls(tmp_path, (), ISSUERS)
    assert found.floors == {"main": 7, "main.1": 7, "main.12": 7}
    lost = {one.entry.serial: (one.issuer, one.shard) for one in found.revocations(repository, ISSUERS)}
    assert lost == {5: ("main", 0), 6: ("main", 1), 7: ("main", 12)}


@pytest.mark.parametrize("encoding", [Encoding.DER, Encoding.PEM])
@pytest.mark.parametrize("shard", [0, 3])
def test_S105_a_file_that_is_given_says_itself_which_shard_it_covers(tmp_path, repository, shard, encoding):
    path = tmp_path / "any-name.crl"
    path.write_bytes(x509.load_der_x509_crl(crl(shard, 9).der).public_bytes(encoding))
    found = read_lost_crls(tmp_path, [path], ISSUERS)
    assert list(found.crls) == [crl_name("main", shard)]
    (lost,) = found.revocations(repository, ISSUERS)
    assert (lost.issuer, lost.shard) == ("main", shard)


CRL_URL = "http://pki.example.net/crl/main.crl"


class Forgetful(Town):
    """A CA whose store is put back to a time before its second shard was opened."""

    def __init__(self, directory):
        super().__init__(directory)
        self.marks = MarkFile.within(directory)
        self.evidence = Evidence(marks=directory, node="alpha", issuers=ISSUERS)

    def deal(self):
        return self.store.deal_shards("main", 1, who="alpha/0.duties")

    def publish(self, shard):
        crl = super().publish(attrs.evolve(self.publisher, shard=shard, urls=(CRL_URL,), shelf=CrlShelf()))
        if crl is not None:
            PublishedCrl.within(self.directory, crl.issuer).keep(crl)
        self.store.settle(self.marks, "alpha")
        return crl

    def restore(self):
        self.store.close()
        for path in self.directory.glob("scepd.sqlite*"):
            path.unlink()
        shutil.copy(self.directory / "copy", self.directory / "scepd.sqlite")
        self.store = self.open()

    def recover(self):
        plan = make_plan(self.store, self.evidence)
        return carry_out(self.store, self.evidence, plan.order("root", "alpha", keep_challenges=False, keep_tokens=False))

    def served(self):
        """Return what a service that starts now tells its listeners: numbers of CRLs, and the shard that is filled."""
        told, shards = {}, OpenShards()
        audience = Audience(lambda crl: told.update({crl.issuer: crl.number}), Switches(), Halt(), shards=shards)
        shelf = CrlShelf(newest_published(self.directory, ["main"]))
        news = News(FakeReactor(), Inline(self.store), shelf, ["main"], audience)
        news.start()
        news.stop()
        return told, shards.of("main")


@pytest.fixture
def forgetful(tmp_path):
    """A backup that knows of one shard; a second one, with a certificate and an empty CRL, opened since."""
    prepare(tmp_path)
    town = Forgetful(tmp_path)
    town.enrol("r0")
    town.publish(0)
    copy_store(URL, tmp_path, tmp_path / "copy")
    town.wait(DAY)
    assert town.deal() == 1
    town.publish(0)
    town.publish(1)
    town.enrol("r1", shard=1)
    town.store.settle(town.marks, "alpha")
    town.restore()
    yield town
    town.store.close()


def test_S105_C294_the_crl_of_a_shard_that_the_store_forgot_is_served_before_and_after_its_recovery(forgetful):
    town = forgetful
    assert town.store.settle(town.marks, "alpha") is not None
    assert town.store.crl_shards("main") == (0,)
    assert town.served()[0] == {"main": 2, "main.1": 1}
    town.recover()
    assert town.served() == ({"main": 2, "main.1": 1}, 1)
    town.wait(400 * DAY)  # longer than what the store knows of
    assert town.store.crl_shards("main", ends_after=town.clock.now()) == (0, 1)
    found = [x509.load_der_x509_crl(town.publish(shard).der) for shard in (0, 1)]
    for one, url in zip(found, (CRL_URL, "http://pki.example.net/crl/main.1.crl"), strict=True):
        scope = one.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
        assert [name.value for name in scope.full_name] == [url]
    assert town.served() == ({"main": 3, "main.1": 2}, 1)


def test_S105_shards_are_dealt_out_after_those_that_came_back(forgetful):
    town = forgetful
    town.recover()
    assert town.deal() is None
    town.enrol("r2", shard=1)
    assert town.deal() == 2
    assert town.store.crl_shards("main") == (0, 1, 2)


def test_S105_a_mark_alone_tells_of_a_shard(forgetful):
    town = forgetful
    PublishedCrl.within(town.directory, "main.1").path.unlink()
    town.recover()
    assert town.store.crl_shards("main") == (0, 1)
    assert town.marks.last_crl("main.1") == 1
