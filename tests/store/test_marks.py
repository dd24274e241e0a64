"""High-water marks: what they say of a store that is older than they are (threats S-105)."""

import shutil
import threading

import attrs
import pytest

from scepd.observe.audit import Head
from scepd.refusal import Unavailable
from scepd.store.marks import MarkFile, Marks, from_json, to_json
from scepd.store.position import Position
from scepd.store.published import PublishedCrl, newest_published
from scepd.store.read_only import ReadOnly, standstill
from scepd.store.standing import compare, read_pair, settle

from .building import BEGIN, Device, enrol, make_crl, open_repository

HIGH = Position({"main": 7, "other": 1}, {"n1/0": Head(9, b"\1" * 32)}, 5, 6, 7, 8)


@pytest.fixture
def marks(directory):
    return MarkFile.within(directory)


def settled(repository, marks):
    return settle(repository._connection, marks, "alpha", BEGIN)


def test_S105_marks_only_rise_and_survive_their_form(marks):
    assert marks.read() is None
    marks.raise_to(HIGH)
    marks.raise_to(Position({"main": 3}, {"n1/0": Head(4, b"\2" * 32)}, 9))
    assert marks.read().position == attrs.evolve(HIGH, certificates=9)
    assert marks.path.stat().st_mode & 0o777 == 0o600
    marks.reserve_crl("main", 12)
    marks.reserve_crl("main", 11)
    assert (marks.last_crl("main"), marks.last_crl("other"), marks.last_crl("none")) == (12, 1, 0)
    assert from_json(to_json(marks.read())) == marks.read()


@pytest.mark.parametrize("text", ["seven", "[]", '{"format": 2}', '{"format": 1}', '{"format": 1, "pair": 1}'])
def test_marks_that_cannot_be_read_are_no_marks_of_nothing(marks, text):
    marks.path.write_text(text)
    with pytest.raises(Unavailable, match="cannot be read"):
        marks.raise_to(HIGH)


def test_marks_that_cannot_be_written_say_so(tmp_path):
    with pytest.raises(Unavailable, match="cannot be written"):
        MarkFile.within(tmp_path / "nowhere").raise_to(HIGH)


def test_S105_writers_of_several_threads_lose_nothing(marks):
    def write(name):
        for number in range(1, 30):
            marks.reserve_crl(name, number)

    threads = [threading.Thread(target=write, args=(f"i{count}",)) for count in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert marks.read().reserved == {f"i{count}": 29 for count in range(4)}


def test_S105_a_store_and_its_marks_find_each_other_and_stay_together(sound, issuer, marks):
    assert settled(sound, marks) is None
    pair = read_pair(sound._connection, "alpha")
    assert pair == marks.read().pair != ""
    enrol(sound, issuer, Device.make())
    assert settled(sound, marks) is None
    assert marks.read().position == sound.position()
    assert read_pair(sound._connection, "alpha") == pair


def test_S105_who_died_between_file_and_store_finds_them_together(repository, issuer, marks):
    enrol(repository, issuer, Device.make())
    marks.replace(Marks("word", repository.position()))
    assert settled(repository, marks) is None
    assert read_pair(repository._connection, "alpha") == "word"


def restored(directory, marks, repository, change):
    """Return a store that was copied, settled, and put back after a change."""
    settled(repository, marks)
    repository._connection.connection.exec_driver_sql(f"VACUUM INTO '{directory / 'copy'}'")
    change(repository)
    settled(repository, marks)
    for path in directory.glob("scepd.sqlite*"):
        path.unlink()
    shutil.move(directory / "copy", directory / "scepd.sqlite")
    return open_repository(directory)


@pytest.mark.parametrize("what", ["an enrolment", "a CRL", "a challenge"])
def test_S105_an_older_store_is_read_only_and_says_what_it_lacks(directory, marks, repository, issuer, what):
    changes = {
        "an enrolment": lambda store: enrol(store, issuer, Device.make("CN=r2")),
        "a CRL": lambda store: store.add_crl(make_crl(issuer, 1), who="ann"),
        "a challenge": lambda store: store.add_challenge("routers", b"d", expires=BEGIN, created_by="ann"),
    }
    words = {"an enrolment": "1 certificates", "a CRL": "number 0, 1 was published", "a challenge": "1 challenges"}
    enrol(repository, issuer, Device.make())
    old = restored(directory, marks, repository, changes[what])
    before = old.generation()
    found = settled(old, marks)
    assert words[what] in " ".join(compare(old._connection, marks, "alpha").lost)
    assert "an older store was restored" in found.cause
    assert old.generation() == before + 1
    assert settled(old, marks) == found == standstill(old._connection)
    for act in (
        lambda: enrol(old, issuer, Device.make("CN=r3")),
        lambda: old.add_crl(make_crl(issuer, 9), who="ann"),
        lambda: old.add_challenge("routers", b"e", expires=BEGIN, created_by="ann"),
        lambda: old.switch_profile("routers", enabled=False, who="ann"),
    ):
        with pytest.raises(ReadOnly) as refused:
            act()
        assert refused.value.retry_after >= 60
    assert old.take_lease("crl:main", "me", BEGIN)
    old.close()


def test_S105_missing_marks_and_those_of_another_store_are_no_permission(directory, marks, repository):
    settled(repository, marks)
    kept = marks.read()
    marks.replace(attrs.evolve(kept, pair="another"))
    assert "another store" in compare(repository._connection, marks, "alpha").cause
    marks.path.write_text("damaged")
    assert "cannot be read" in compare(repository._connection, marks, "alpha").cause
    marks.path.unlink()
    assert "missing" in compare(repository._connection, marks, "alpha").cause
    assert "missing" in settled(repository, marks).cause
    assert not marks.path.exists()


def test_S105_a_store_with_another_history_shows(repository, issuer, marks):
    enrol(repository, issuer, Device.make())
    settled(repository, marks)
    kept = marks.read()
    owner, head = next(iter(kept.position.audit.items()))
    other = {owner: attrs.evolve(head, hash=b"\7" * 32)}
    marks.replace(attrs.evolve(kept, position=attrs.evolve(kept.position, audit=other)))
    (words,) = compare(repository._connection, marks, "alpha").lost
    assert words == f"audit row {head.sequence} of {owner}: the store has another in its place"


def test_S105_the_newest_crl_is_kept_beside_the_store(directory, issuer):
    file, crl = PublishedCrl.within(directory, "main"), make_crl(issuer, 3, serials=(1, 2))
    assert file.read() is None
    file.keep(crl)
    assert attrs.evolve(file.read(), this_update=crl.this_update, next_update=crl.next_update) == crl
    assert file.path.stat().st_mode & 0o777 == 0o600
    PublishedCrl.within(directory, "other").path.write_bytes(b"no CRL")
    assert list(newest_published(directory, ["main", "other", "none"])) == ["main"]
    with pytest.raises(Unavailable, match="cannot be written"):
        PublishedCrl.within(directory / "nowhere", "main").keep(crl)
