"""A recovery reads the CRLs of every shard, and puts what they list back into its shard."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepd.admin.lost_crls import read_lost_crls
from scepd.records import Crl, Revocation, RevocationReason, RevokedEntry, crl_name
from scepd.store.published import PublishedCrl, published_names
from scepd.x509.crl import draft_crl, scope_extension, seal_crl, sign_crl
from tests.store.building import Clock, open_repository, prepare
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
